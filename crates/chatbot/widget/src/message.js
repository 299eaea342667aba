// One message on the screen.

/**
 * A message is `{ id, role, text, status, citations, suggestions, outcome, problem, rating }` with the status
 * `sending`, `generating`, `complete`, `failed` or `cancelled`. Its view follows by `update`.
 */
class MessageView {
  constructor(message, texts, actions) {
    Object.assign(this, { message, texts, actions });
    const who = { user: texts.you, assistant: texts.bot, agent: texts.agent }[message.role];
    this.bubble = el("div", { className: "bubble", dir: "auto" });
    this.extras = el("div", { className: "extras" });
    this.element = el(
      "div",
      { className: `message ${message.role}` },
      el("div", { className: message.role === "agent" ? "who" : "unseen" }, who, el("span", { className: "unseen" }, ":")),
      this.bubble,
      this.extras,
    );
    this.update();
  }

  update() {
    const { message, texts } = this;
    this.element.dataset.status = message.status;
    if (message.status === "generating") {
      // Screen readers hear that an answer is coming, and then all of it at once: not every piece.
      this.bubble.setAttribute("aria-hidden", "true");
      if (!this.announced) this.extras.replaceChildren(el("span", { className: "unseen" }, texts.thinking));
      this.announced = true;
      // Links are made when the text is all there: half an address is the wrong one.
      this.bubble.replaceChildren(message.text || dots());
      return;
    }
    this.bubble.removeAttribute("aria-hidden");
    const text = visibleText(message);
    this.bubble.hidden = text === "";
    this.bubble.replaceChildren(...linked(text, texts.newTab));
    this.extras.replaceChildren(...this.details().filter(Boolean));
  }

  details() {
    const { message, texts } = this;
    if (message.problem) return [this.failure()];
    if (message.role !== "assistant" || message.status === "sending") return [];
    if (message.status === "cancelled") return [el("div", { className: "hint" }, texts.stopped)];
    return [this.sources(), this.suggestions(), this.person(), this.feedback()];
  }

  failure() {
    const { message, texts, actions } = this;
    const { problem } = message;
    return el(
      "div",
      { className: "failure" },
      icon("alert"),
      el(
        "div",
        {},
        errorText(problem, texts),
        problem.requestId && el("div", { className: "reference" }, texts.reference(problem.requestId)),
      ),
      el("button", { type: "button", className: "pill", onclick: () => actions.resend(message) }, texts.resend),
    );
  }

  sources() {
    const { message, texts } = this;
    if (message.outcome === "did_you_mean" || !message.citations?.length) return null;
    const items = message.citations.map(({ title, url }) => {
      const anchor = url ? link(url, title, texts.newTab) : null;
      anchor?.append(icon("link"));
      return el("li", {}, anchor ?? title);
    });
    return el("div", { className: "sources" }, el("span", {}, texts.sources), el("ul", {}, ...items));
  }

  suggestions() {
    const { message, texts, actions } = this;
    if (!message.suggestions?.length) return null;
    return choices(message.suggestions, texts.suggestions, actions.choose);
  }

  person() {
    const { message, texts, actions } = this;
    if (message.outcome !== "handover" || !actions.mayCallPerson()) return null;
    const button = el("button", { type: "button", className: "pill call" }, icon("person"), texts.person);
    button.onclick = () => {
      button.disabled = true;
      actions.person();
    };
    return button;
  }

  feedback() {
    const { message, texts } = this;
    if (message.outcome !== "answer" || !message.id) return null;
    const rate = (rating, name) => {
      const button = el("button", {
        type: "button",
        className: `rate ${rating}`,
        "aria-pressed": String(message.rating === rating),
        onclick: () => this.rate(rating),
      });
      button.append(icon("up"));
      label(button, name);
      return button;
    };
    const row = el("div", { className: "rating" }, rate("up", texts.helpful), rate("down", texts.unhelpful));
    if (message.rating && !message.commenting) row.append(el("span", { className: "hint" }, texts.thanks));
    return message.commenting ? el("div", {}, row, this.commentForm()) : row;
  }

  rate(rating) {
    const { message, actions } = this;
    if (message.rating === rating) return;
    Object.assign(message, { rating, commenting: rating === "down" });
    this.update();
    (this.extras.querySelector("textarea") ?? this.extras.querySelector(`.rate.${rating}`)).focus();
    this.extras.scrollIntoView({ block: "nearest" });
    actions.feedback(message);
  }

  commentForm() {
    const { message, texts, actions } = this;
    const field = el("textarea", { rows: 2, maxLength: 1000, "aria-label": texts.comment, placeholder: texts.comment });
    const end = (comment) => {
      message.commenting = false;
      this.update();
      this.extras.querySelector(".rate.down").focus();
      if (comment) actions.feedback(message, comment);
    };
    const form = el(
      "form",
      { className: "comment" },
      field,
      el("button", { type: "submit", className: "pill" }, texts.commentSend),
      el("button", { type: "button", className: "pill quiet", onclick: () => end() }, texts.commentSkip),
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      end(field.value.trim());
    };
    return form;
  }
}

function dots() {
  return el("span", { className: "dots" }, el("i"), el("i"), el("i"));
}

/** Questions to choose from, as buttons. */
function choices(questions, name, choose) {
  const buttons = questions.map((question) =>
    el("button", { type: "button", className: "choice", onclick: () => choose(question) }, question),
  );
  return el("div", { className: "choices", role: "group", "aria-label": name }, ...buttons);
}

/** A message's text without the list of what is offered as buttons below it. */
function visibleText({ text, suggestions }) {
  const lines = text.trim().split("\n");
  while (suggestions?.includes(lines.at(-1)?.replace(/^[-・*] ?/, ""))) lines.pop();
  return lines.join("\n").trim();
}

function errorText({ code, status, retryAfter }, texts) {
  const { errors } = texts;
  if (status === 429 || status === 503) return errors.rate_limited(retryAfter);
  if (status === 401 || status === 403) return errors.unavailable;
  const name = code === "idempotency_in_flight" ? "reply_in_progress" : code;
  const text = Object.hasOwn(errors, name) ? errors[name] : errors.unknown;
  return typeof text === "function" ? text() : text;
}
