// What outlives a reload: the session, which conversation it is in, and what was under way.

/**
 * One record a service, tenant key and user, in the tab's session storage: another tenant's widget
 * or the next person who signs in finds nothing of it.
 */
class Memory {
  constructor(base, key, user) {
    this.name = `smartbot:${JSON.stringify([base, key, user ?? ""])}`;
    this.record = {};
    try {
      this.record = JSON.parse(sessionStorage.getItem(this.name)) ?? {};
    } catch {
      // Storage is blocked, or not ours: the widget works, and forgets with the page.
    }
  }

  get(field) {
    return this.record[field];
  }

  /** Keeps fields; `undefined` forgets one. */
  set(fields) {
    Object.assign(this.record, fields);
    try {
      sessionStorage.setItem(this.name, JSON.stringify(this.record));
    } catch {
      // As above.
    }
  }

  clear() {
    this.record = {};
    try {
      sessionStorage.removeItem(this.name);
    } catch {
      // As above.
    }
  }
}
