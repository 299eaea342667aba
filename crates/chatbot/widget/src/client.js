// The service's API as the widget needs it.

/** A token this close to its end is renewed before it is used. */
const RENEW_BEFORE_MS = 30_000;

/** A refusal by the service, or no answer at all (code `offline`). */
class Problem extends Error {
  constructor({ code = "unknown", status = 0, request_id: requestId, retryAfter } = {}) {
    super(code);
    Object.assign(this, { code, status, requestId, retryAfter });
  }

  static async of(response) {
    const body = await response.json().catch(() => ({}));
    const retryAfter = Number(response.headers.get("retry-after")) || undefined;
    return new Problem({ ...body, status: response.status, retryAfter });
  }
}

/** Random enough that nobody else has it; `crypto.randomUUID` would need https. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

class Client {
  constructor(base, key, memory) {
    Object.assign(this, { base, key, memory });
  }

  /** The session: `{ token, expires_at, locale, name }`, opened or renewed when necessary. */
  async session() {
    const session = this.memory.get("session");
    if (session && session.expires_at - RENEW_BEFORE_MS > Date.now()) return session;
    // Several calls at once share one renewal.
    this.opening ??= this.openSession(session).finally(() => (this.opening = undefined));
    return this.opening;
  }

  async openSession(old) {
    const response = await this.fetch("v1/widget/sessions", { body: { key: this.key, renew: old?.token } });
    if (!response.ok) throw await Problem.of(response);
    const session = await response.json();
    this.memory.set({ session });
    return session;
  }

  /** A successful response, or a `Problem`. A token that is refused is renewed once. */
  async request(path, options = {}) {
    for (let renewed = false; ; renewed = true) {
      const { token } = await this.session();
      const headers = { ...options.headers, authorization: `Bearer ${token}` };
      const response = await this.fetch(path, { ...options, headers });
      if (response.ok) return response;
      const problem = await Problem.of(response);
      if (problem.status !== 401 || renewed) throw problem;
      const session = this.memory.get("session");
      if (session?.token === token) this.memory.set({ session: { ...session, expires_at: 0 } });
    }
  }

  async fetch(path, { method, body, headers = {}, signal } = {}) {
    try {
      return await fetch(new URL(path, this.base), {
        method: method ?? (body ? "POST" : "GET"),
        headers: body ? { ...headers, "content-type": "application/json" } : headers,
        body: body && JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        signal,
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem({ code: "offline" });
    }
  }

  ask({ message, conversationId, locale, idempotencyKey, signal }) {
    return this.request("v1/chat", {
      body: { message, conversation_id: conversationId, locale, stream: true },
      headers: { accept: "text/event-stream", "idempotency-key": idempotencyKey },
      signal,
    });
  }

  /** The stream of a reply, from the event after `lastEventId` on. */
  resume(conversationId, messageId, lastEventId, signal) {
    const headers = { accept: "text/event-stream" };
    if (lastEventId) headers["last-event-id"] = lastEventId;
    return this.request(`${conversationPath(conversationId)}/messages/${messageId}/events`, { headers, signal });
  }

  /** Everything said so far, or after a message's number, and the conversation's state. */
  async messages(conversationId, cursor) {
    const all = [];
    for (;;) {
      const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : "";
      const response = await this.request(`${conversationPath(conversationId)}/messages${query}`);
      const page = await response.json();
      all.push(...page.messages);
      cursor = page.next_cursor;
      if (!cursor) return { messages: all, state: page.state ?? "bot" };
    }
  }

  cancel(conversationId, messageId) {
    return this.request(`${conversationPath(conversationId)}/messages/${messageId}/cancel`, { method: "POST" });
  }

  feedback(conversationId, messageId, body) {
    return this.request(`${conversationPath(conversationId)}/messages/${messageId}/feedback`, { body });
  }

  async handoff(conversationId) {
    const response = await this.request(`${conversationPath(conversationId)}/handoff`, { body: {} });
    return (await response.json()).state;
  }
}

function conversationPath(id) {
  return `v1/conversations/${encodeURIComponent(id)}`;
}
