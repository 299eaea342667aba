// One visitor's conversation: what the service knows of it, brought to the view.

/** How often a broken stream is taken up again before the person is asked. */
const RESUMES = 5;
/** How often a conversation that people answer is looked at: while open, and while closed. */
const LOOK_OPEN_MS = 3_000;
const LOOK_CLOSED_MS = 15_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Chat {
  /** `wished` is the language of the page, `locale` the one that answers must be in, if there is one. */
  constructor(client, memory, view, { wished, locale }) {
    Object.assign(this, { client, memory, view, wished, locale, messages: [] });
    addEventListener("pagehide", () => this.keepPartial());
  }

  get conversationId() {
    return this.memory.get("conversationId");
  }

  /** Shows what was said, and goes on with an answer that is still being written. */
  load() {
    this.loading ??= this.begin().catch((problem) => {
      this.loading = undefined;
      this.view.notice(errorText(problem, this.view.texts), this.view.texts.retry, () => this.load());
    });
    return this.loading;
  }

  async begin() {
    const { name, locale } = await this.client.session();
    this.view.named(name);
    const tenants = spoken(locale);
    if (!this.wished && tenants) this.view.localise(tenants);
    await this.history();
    this.offerUnsent();
  }

  async history() {
    const { conversationId } = this;
    if (!conversationId) return;
    let known;
    try {
      known = await this.client.messages(conversationId);
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      // It expired, or was deleted: there is nothing to go on with.
      this.memory.set({ conversationId: undefined, partial: undefined });
      return;
    }
    // Meanwhile a new conversation may have been begun.
    if (conversationId !== this.conversationId) return;
    for (const stored of known.messages) this.show(fromService(stored));
    this.seen = known.messages.at(-1)?.seq;
    this.changeState(known.state, false);
    const last = this.messages.at(-1);
    if (last?.status !== "generating") return;
    const partial = this.memory.get("partial");
    this.memory.set({ partial: undefined });
    // Without what was read before, the stream is read from its beginning.
    this.update(last, { text: "", lastEventId: "", ...(partial?.id === last.id && partial) });
    this.follow(last);
  }

  /** Something sent just before a reload that the service never confirmed. */
  offerUnsent() {
    const outbox = this.memory.get("outbox");
    if (!outbox || this.busy) return;
    if (outbox.message === this.messages.findLast(({ role }) => role === "user")?.text) {
      this.memory.set({ outbox: undefined });
      return;
    }
    const problem = new Problem({ code: "unsent" });
    this.show({ role: "user", text: outbox.message, status: "failed", idempotencyKey: outbox.idempotencyKey, problem });
  }

  show(message) {
    if (message.text === "" && message.status === "complete") return;
    this.messages.push(message);
    this.view.put(message);
  }

  /** Sends a message. The same key again can never ask twice. */
  async send(text, idempotencyKey = randomKey()) {
    // What was said before comes first.
    await this.load();
    if (this.busy) return this.view.giveBack(text);
    const asked = { role: "user", text, status: "sending", idempotencyKey };
    const reply = { role: "assistant", text: "", status: "generating", lastEventId: "", question: asked };
    this.show(asked);
    this.memory.set({ outbox: { message: text, idempotencyKey } });
    await this.follow(reply, (signal) =>
      this.client.ask({
        message: text,
        conversationId: this.conversationId,
        locale: this.locale,
        idempotencyKey,
        signal,
      }),
    );
  }

  /** Sends again what failed: the question, if it never arrived, or the question of a broken answer. */
  resend(message) {
    const question = message.role === "user" ? message : (message.question ?? this.questionBefore(message));
    if (this.busy || !question) return;
    for (const old of new Set([message, question])) {
      this.messages = this.messages.filter((other) => other !== old);
      this.view.remove(old);
    }
    this.view.settle();
    this.send(question.text, mayHaveArrived(question.problem) ? question.idempotencyKey : undefined);
  }

  questionBefore(message) {
    return this.messages.slice(0, this.messages.indexOf(message)).findLast(({ role }) => role === "user");
  }

  /** Reads a reply to its end, over as many connections as it takes. */
  async follow(reply, connect = this.resumption(reply)) {
    const following = new AbortController();
    this.following = { reply, following };
    this.setBusy(true);
    if (!this.messages.includes(reply)) this.show(reply);
    try {
      await this.read(reply, connect, following.signal);
    } catch (problem) {
      if (following.signal.aborted) return;
      this.fail(reply, problem instanceof Problem ? problem : new Problem());
    } finally {
      if (this.following?.reply === reply) this.following = undefined;
      this.setBusy(Boolean(this.following));
    }
    if (following.signal.aborted || !this.view.panel.hidden) return;
    this.view.unread = true;
    this.view.refresh();
  }

  resumption(reply) {
    return (signal) => this.client.resume(this.conversationId, reply.id, reply.lastEventId, signal);
  }

  async read(reply, connect, signal) {
    for (let failures = 0; reply.status === "generating"; ) {
      try {
        const response = await connect(signal);
        if (response.status === 204) return await this.reread(reply, signal);
        for await (const event of events(response)) {
          if (signal.aborted) return;
          failures = 0;
          this.receive(reply, event);
        }
        if (reply.status === "generating") throw new Problem({ code: "offline" });
      } catch (problem) {
        // A server that is about to stop sends us to the next one.
        const lost = !(problem instanceof Problem) || problem.code === "offline" || problem.status === 503;
        if (signal.aborted || !lost || !reply.id || failures >= RESUMES) throw problem;
        await pause(300 * 2 ** failures);
        failures += 1;
        connect = this.resumption(reply);
      }
    }
  }

  receive(reply, { id, name, data }) {
    reply.lastEventId = id || reply.lastEventId;
    if (name === "start") {
      Object.assign(reply, { id: data.message_id, text: "" });
      this.memory.set({ conversationId: data.conversation_id, outbox: undefined });
      if (reply.question) this.update(reply.question, { status: "complete" });
    } else if (name === "delta") {
      this.update(reply, { text: reply.text + data.text });
    } else if (name === "citations") {
      reply.citations = data.citations;
    } else if (name === "done") {
      this.finish(reply, data);
    } else if (name === "error") {
      throw new Problem({ code: "interrupted", request_id: data.problem.request_id });
    }
  }

  finish(reply, { outcome, suggestions, finish_reason: reason }) {
    reply.outcome = outcome;
    reply.suggestions = suggested(outcome, suggestions, reply.citations);
    const status = reason === "cancelled" ? "cancelled" : "complete";
    if (status === "complete" && reply.text === "") {
      // A person answers in this conversation, so the service kept silent.
      reply.status = status;
      this.view.remove(reply);
      this.messages = this.messages.filter((message) => message !== reply);
      this.look(true);
      return;
    }
    this.update(reply, { status });
  }

  /** Takes a reply as the service kept it. */
  async reread(reply, signal) {
    const { messages } = await this.client.messages(this.conversationId);
    if (signal.aborted) return;
    const stored = messages.find(({ id }) => id === reply.id);
    if (!stored) throw new Problem({ code: "interrupted" });
    this.update(reply, fromService(stored));
  }

  fail(reply, problem) {
    if (reply.id) {
      this.update(reply, { status: "failed", problem });
      return;
    }
    // The question itself was not taken.
    this.view.remove(reply);
    this.messages = this.messages.filter((message) => message !== reply);
    this.update(reply.question, { status: "failed", problem });
    // Sent again, it begins a conversation.
    if (["conversation_not_found", "conversation_full", "conversation_closed"].includes(problem.code)) {
      this.memory.set({ conversationId: undefined });
      this.changeState("bot", false);
    }
  }

  update(message, fields) {
    Object.assign(message, fields);
    this.view.put(message);
  }

  setBusy(busy) {
    this.busy = busy;
    this.view.busy = busy;
    this.view.refresh();
  }

  /** Stops the answer that is being written, here and at the service. */
  stop() {
    const { reply } = this.following ?? {};
    // Its stream ends with what was written; before it began there is nothing to stop.
    if (reply?.id) this.client.cancel(this.conversationId, reply.id).catch(() => {});
  }

  /** Begins a new conversation; the old one can be taken up again until something is said. */
  fresh() {
    const { conversationId: before } = this;
    this.leave();
    this.memory.set({ conversationId: undefined, partial: undefined, outbox: undefined });
    this.view.clear();
    this.changeState("bot", false);
    this.view.settle();
    if (!before) return;
    const { freshDone, undo } = this.view.texts;
    const line = this.view.notice(freshDone, undo, () => {
      this.leave();
      this.memory.set({ conversationId: before });
      this.view.clear();
      this.loading = undefined;
      this.load();
    });
    this.undo = line;
  }

  /** Lets go of the conversation on the screen. */
  leave() {
    this.following?.following.abort();
    this.following = undefined;
    clearTimeout(this.looking);
    this.undo?.remove();
    this.messages = [];
    this.seen = undefined;
    this.setBusy(false);
  }

  async person() {
    if (this.busy || this.view.state !== "bot") return;
    const { texts } = this.view;
    // There must be something for the agent to read.
    if (!this.conversationId) await this.send(texts.personMessage);
    if (!this.conversationId) return;
    try {
      this.changeState(await this.client.handoff(this.conversationId), true);
      this.view.settle();
    } catch (problem) {
      this.view.notice(errorText(problem, texts), texts.retry, () => this.person());
    }
  }

  feedback({ id, rating }, comment) {
    // An opinion that is lost is not worth an error.
    this.client.feedback(this.conversationId, id, { rating, comment }).catch(() => {});
  }

  changeState(state, tell) {
    if (state !== this.view.state) {
      this.view.state = state;
      // Replies of people arrive after a reload too, without the chat being opened.
      this.memory.set({ waiting: state === "pending_human" || state === "human" });
      if (tell) this.view.notice(this.view.texts.notice[state]);
      this.view.refresh();
      for (const message of this.messages) if (message.outcome === "handover") this.view.put(message);
    }
    this.lookLater();
  }

  lookLater() {
    clearTimeout(this.looking);
    if (this.view.state !== "pending_human" && this.view.state !== "human") return;
    this.looking = setTimeout(() => this.look(), this.view.panel.hidden ? LOOK_CLOSED_MS : LOOK_OPEN_MS);
  }

  /** Fetches what agents wrote. */
  async look(now = false) {
    const { conversationId } = this;
    try {
      if (!now && (document.hidden || this.busy)) return;
      const { messages, state } = await this.client.messages(conversationId, this.seen);
      if (conversationId !== this.conversationId) return;
      this.seen = messages.at(-1)?.seq ?? this.seen;
      const known = new Set(this.messages.map(({ id }) => id));
      const news = messages.filter(({ id, role }) => role === "agent" && !known.has(id));
      if (state === "human") this.changeState(state, true);
      for (const stored of news) this.show(fromService(stored));
      if (news.length && this.view.panel.hidden) this.view.unread = true;
      this.changeState(state, true);
      this.view.refresh();
    } catch {
      // The next look may work.
    } finally {
      this.lookLater();
    }
  }

  /** Before the page goes: what was read of the answer, so that the next page goes on after it. */
  keepPartial() {
    const { id, text, lastEventId } = this.following?.reply ?? {};
    if (id) this.memory.set({ partial: { id, text, lastEventId } });
  }

  /** Forgets the visitor: for a page whose user signs out. */
  reset() {
    this.leave();
    this.memory.clear();
    this.view.clear();
    this.changeState("bot", false);
    this.loading = undefined;
  }
}

/** A stored message as the view wants it. */
function fromService({ id, role, text, status = "complete", citations, suggestions, outcome, feedback, request_id: requestId }) {
  const problem = status === "failed" ? new Problem({ code: "interrupted", request_id: requestId }) : undefined;
  const offered = suggested(outcome, suggestions, citations);
  return { id, role, text, status, citations, suggestions: offered, outcome, rating: feedback, problem };
}

/** Whether the service may have taken a message all the same: then only the same key is safe to send it with. */
function mayHaveArrived(problem) {
  const { status } = problem ?? { status: 200 };
  return status < 200 || status >= 500 || status === 409;
}

/** What is offered instead of an answer. */
function suggested(outcome, suggestions, citations = []) {
  if (outcome !== "did_you_mean") return [];
  return suggestions ?? citations.map(({ title }) => title);
}
