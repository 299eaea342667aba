// The button, and the panel that it opens. The view knows no network: what people do goes to `actions`.

/** The log follows new text while its end is at most this far below the window. */
const NEAR_END = 60;

class View {
  constructor(root, { locale, name, starters }, actions) {
    Object.assign(this, { actions, name, starters, messages: new Map(), state: "bot", busy: false, unread: false });
    this.build();
    this.localise(locale);
    root.append(this.aside);
  }

  build() {
    const button = (className, picture, onclick) => {
      const built = el("button", { type: "button", className, onclick });
      built.append(icon(picture));
      return built;
    };
    const { actions } = this;
    this.launcher = button("launcher", "chat", () => actions.toggle());
    this.launcher.setAttribute("aria-haspopup", "dialog");
    this.title = el("h2");
    this.status = el("p");
    this.fresh = button("tool", "fresh", () => actions.fresh());
    this.shut = button("tool", "down", () => actions.toggle());
    this.log = el("div", { className: "log", role: "log", tabIndex: 0, "aria-live": "polite", onscroll: () => this.scrolled() });
    this.latest = button("latest", "down", () => this.toEnd());
    this.input = el("textarea", { rows: 1, maxLength: 4000, enterKeyHint: "send" });
    this.input.oninput = () => this.composed();
    this.submit = button("submit", "send", () => (this.busy ? actions.stop() : this.sendInput()));
    this.composer = el("div", { className: "composer" }, this.input, this.submit);
    this.disclaimer = el("span");
    this.call = el("button", { type: "button", className: "person", onclick: () => actions.person() });
    this.panel = el(
      "section",
      { className: "panel", role: "dialog", hidden: true, tabIndex: -1 },
      el("header", {}, el("div", {}, this.title, this.status), this.fresh, this.shut),
      el("div", { className: "history" }, this.log, this.latest),
      el("footer", {}, this.composer, el("div", { className: "below" }, this.disclaimer, this.call)),
    );
    this.panel.addEventListener("keydown", (event) => this.keydown(event));
    this.aside = el("aside", {}, this.launcher, this.panel);
    // The page has shortcuts of its own; what is typed here is not meant for them.
    for (const type of ["keydown", "keyup", "keypress"]) {
      this.panel.addEventListener(type, (event) => event.stopPropagation());
    }
  }

  /** Puts every fixed text into a language. */
  localise(locale) {
    const texts = TEXTS[locale];
    this.texts = texts;
    this.aside.lang = locale;
    this.named(this.name);
    this.log.setAttribute("aria-label", texts.log);
    this.input.placeholder = texts.placeholder;
    this.input.setAttribute("aria-label", texts.placeholder);
    label(this.fresh, texts.fresh);
    label(this.shut, texts.close);
    label(this.latest, texts.latest);
    this.disclaimer.textContent = texts.disclaimer;
    this.call.replaceChildren(icon("person"), texts.person);
    if (this.messages.size === 0) this.clear();
    this.refresh();
  }

  /** Shows the tenant's name. */
  named(name) {
    this.name = name;
    this.title.textContent = name;
    for (const element of [this.aside, this.panel]) element.setAttribute("aria-label", this.texts.dialog(name));
  }

  /** Brings every control in line with what is going on. */
  refresh() {
    const { texts, state, busy } = this;
    const open = !this.panel.hidden;
    this.launcher.setAttribute("aria-expanded", String(open));
    this.launcher.classList.toggle("unread", this.unread);
    label(this.launcher, open ? texts.close : this.unread ? texts.openUnread : texts.open);
    this.launcher.replaceChildren(icon(open ? "down" : "chat"));
    this.status.textContent = texts.state[state];
    this.panel.dataset.state = state;
    this.call.hidden = this.disclaimer.hidden = state !== "bot";
    this.call.disabled = busy;
    this.input.disabled = state === "closed";
    this.submit.replaceChildren(icon(busy ? "stop" : "send"));
    label(this.submit, busy ? texts.stop : texts.send);
    this.composed();
  }

  /** Opens or closes the panel; `focus` moves the keyboard along. */
  toggle(open, focus) {
    if (this.panel.hidden !== open) return;
    this.panel.hidden = !open;
    if (open) this.unread = false;
    this.panel.setAttribute("aria-modal", String(coversPage()));
    this.refresh();
    if (open) this.toEnd();
    if (focus && open) this.settle();
    else if (focus) this.launcher.focus();
  }

  /** Moves the keyboard to where one goes on; on a small screen not into the field, which would cover the log. */
  settle() {
    (this.input.disabled || coversPage() ? this.log : this.input).focus();
  }

  keydown(event) {
    // A key that an input method takes (choosing kanji, leaving the choice) is not meant for us. Safari
    // says so only by the number 229, since it ends the composition before the key.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.actions.toggle();
    } else if (event.key === "Enter" && !event.shiftKey && event.target === this.input) {
      event.preventDefault();
      if (!this.busy) this.sendInput();
    } else if (event.key === "Tab") {
      this.keepFocus(event);
    }
  }

  /** Tab goes round in the panel; Esc leaves it. */
  keepFocus(event) {
    const all = this.panel.querySelectorAll("button, textarea, a[href], [tabindex='0']");
    const reachable = [...all].filter((element) => !element.disabled && element.getClientRects().length > 0);
    const at = reachable.indexOf(this.panel.getRootNode().activeElement);
    const end = event.shiftKey ? 0 : reachable.length - 1;
    if (at !== end && at !== -1) return;
    event.preventDefault();
    reachable.at(event.shiftKey ? -1 : 0)?.focus();
  }

  sendInput() {
    const text = this.input.value.trim();
    if (!text || this.busy) return;
    this.input.value = "";
    this.composed();
    this.actions.send(text);
  }

  /** Puts a text that could not be sent back into the field. */
  giveBack(text) {
    this.input.value = text;
    this.composed();
  }

  /** The field is as high as its text, and what is empty cannot be sent. */
  composed() {
    this.input.rows = Math.min(5, this.input.value.split("\n").length);
    while (this.input.rows < 5 && this.input.scrollHeight > this.input.clientHeight) this.input.rows += 1;
    this.submit.disabled = !this.busy && (this.input.value.trim() === "" || this.input.disabled);
  }

  /** Shows a message, or what became of it. */
  put(message) {
    const known = this.messages.get(message);
    if (known) {
      known.update();
    } else {
      const view = new MessageView(message, this.texts, this.actions);
      this.messages.set(message, view);
      this.log.append(view.element);
      this.starting?.remove();
    }
    this.follow(message.role === "user" && !known);
  }

  /** Takes a message off the screen. */
  remove(message) {
    this.messages.get(message)?.element.remove();
    this.messages.delete(message);
  }

  /** A line about the conversation itself, perhaps with something to do about it. */
  notice(text, action, perform) {
    const line = el("div", { className: "notice" }, el("span", {}, text));
    if (action) {
      const button = el("button", { type: "button", className: "pill quiet" }, action);
      button.onclick = () => {
        line.remove();
        this.settle();
        perform();
      };
      line.append(button);
    }
    this.log.append(line);
    this.follow(true);
    return line;
  }

  /** Empties the log down to the greeting. */
  clear() {
    const { texts, starters, actions } = this;
    this.messages.clear();
    const greeting = el("div", { className: "message assistant" }, el("div", { className: "bubble" }, texts.greeting));
    this.starting = starters.length ? choices(starters, texts.starters, actions.choose) : null;
    this.log.replaceChildren(...[greeting, this.starting].filter(Boolean));
  }

  follow(always) {
    if (always || !this.away) this.toEnd();
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.scrolled();
  }

  scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    this.away = scrollHeight - scrollTop - clientHeight > NEAR_END;
    this.latest.hidden = !this.away;
  }
}

/** On a small screen the panel covers the page. */
function coversPage() {
  return matchMedia("(max-width: 480px)").matches;
}
