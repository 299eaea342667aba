// What may happen in the middle of a conversation, and must lose nothing.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { SESSION_SECRET, Widget, launch, openPage, startSmartbot, startWire } from "./support.js";

const QUESTION = "I forgot my password";
const ANSWER = /^Choose "Forgot password" on the sign-in page.*30 minutes\.$/s;

let browser;
let smartbot;
let wire;
let page;

before(async () => {
  [browser, smartbot] = await Promise.all([launch(), startSmartbot({ variables: { STREAM_DELTA_DELAY_MS: "60" } })]);
  wire = await startWire(smartbot.port);
});
after(async () => {
  await browser.close();
  await Promise.all([wire.stop(), smartbot.stop()]);
});
afterEach(async () => {
  assert.deepEqual(page.errors, []);
  await page.context().close();
  Object.assign(wire, { broken: false, cutAfter: Infinity, requests: [] });
});

async function demo() {
  page = await openPage(browser, `${wire.url}/demo?lang=en`);
  const widget = new Widget(page);
  await widget.open();
  return widget;
}

/** Changes what the widget keeps, as time or an accident would. */
async function change(fields) {
  await page.evaluate((fields) => {
    const [[name, text]] = Object.entries(sessionStorage);
    sessionStorage.setItem(name, JSON.stringify({ ...JSON.parse(text), ...fields }));
  }, fields);
}

async function record(widget) {
  return Object.values(await widget.stored())[0];
}

/** Requests on the wire, as `POST /v1/chat`. */
function lines() {
  return wire.requests.map((head) => head.split(" HTTP/")[0]);
}

test("a reload in the middle of an answer loses nothing", async () => {
  const widget = await demo();
  await widget.write(QUESTION);
  await widget.lastAnswer.filter({ hasText: "Choose" }).waitFor();
  await page.reload();
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  assert.ok(await widget.panel.isVisible(), "it is open again");
  assert.deepEqual(await widget.questions.allInnerTexts(), [QUESTION]);
  assert.match(await widget.answers.last().innerText(), ANSWER);
  assert.equal(lines().filter((line) => line === "POST /v1/chat").length, 1);
});

test("a connection that breaks is taken up where it broke", async () => {
  const widget = await demo();
  await widget.ask("Hello");
  wire.requests = [];
  wire.cutAfter = 900;
  assert.match(await widget.ask(QUESTION), ANSWER);
  assert.match(await widget.lastAnswer.locator(".sources").innerText(), /I forgot my password/);
  const resumed = wire.requests.filter((head) => head.includes("/events HTTP/"));
  assert.equal(resumed.length, 1);
  const [, last] = /last-event-id: (\d+)/i.exec(resumed[0]);
  assert.ok(Number(last) > 1, "it asks only for the rest");
  assert.equal(lines().filter((line) => line === "POST /v1/chat").length, 1);
});

test("without a connection the message stays, and can be sent again", async () => {
  const widget = await demo();
  await widget.ask("Hello");
  wire.broken = true;
  await widget.write(QUESTION);
  await page.getByText("There is no connection.").waitFor();
  wire.broken = false;
  await page.getByRole("button", { name: "Send again" }).click();
  await page.locator(".message.assistant[data-status=complete]").nth(1).waitFor();
  assert.deepEqual(await widget.questions.allInnerTexts(), ["Hello", QUESTION]);
  assert.match(await widget.answers.last().innerText(), ANSWER);
});

test("sending again what did arrive asks only once", async () => {
  const widget = await demo();
  await page.route("**/v1/chat", async (route) => {
    await route.fetch();
    await route.abort();
  });
  await widget.write(QUESTION);
  await page.getByText("There is no connection.").waitFor();
  await page.unroute("**/v1/chat");
  await page.getByRole("button", { name: "Send again" }).click();
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  assert.match(await widget.answers.last().innerText(), ANSWER);
  const asked = wire.requests.filter((head) => head.startsWith("POST /v1/chat "));
  const keys = asked.map((head) => /idempotency-key: (\w+)/i.exec(head)[1]);
  assert.deepEqual(keys, [keys[0], keys[0]]);
  const { session, conversationId } = await record(widget);
  const headers = { authorization: `Bearer ${session.token}` };
  const response = await fetch(`${smartbot.url}/v1/conversations/${conversationId}/messages`, { headers });
  assert.equal((await response.json()).messages.length, 2);
});

test("a message that a reload caught before it was taken is offered again", async () => {
  const widget = await demo();
  const caught = new Promise((resolve) => page.route("**/v1/chat", resolve));
  await widget.write(QUESTION);
  await caught;
  // In this order: a request that is no longer held goes on to the service.
  await page.reload();
  await page.unroute("**/v1/chat");
  assert.ok(!lines().includes("POST /v1/chat"), "it was not taken");
  await page.getByText("This message was not sent.").waitFor();
  await page.getByRole("button", { name: "Send again" }).click();
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  assert.deepEqual(await widget.questions.allInnerTexts(), [QUESTION]);
  await page.reload();
  await widget.answers.last().waitFor();
  assert.deepEqual(await widget.questions.allInnerTexts(), [QUESTION]);
});

test("a session about to end is renewed, and its conversation goes on", async () => {
  const widget = await demo();
  await widget.ask("Hello");
  const { session, conversationId } = await record(widget);
  await change({ session: { ...session, expires_at: Date.now() + 1_000 } });
  await page.reload();
  await widget.ask(QUESTION);
  const after = await record(widget);
  assert.notEqual(after.session.token, session.token);
  assert.equal(after.conversationId, conversationId);
});

test("a token that the service finds expired is renewed without a word", async () => {
  const widget = await demo();
  await widget.ask("Hello");
  const { session, conversationId } = await record(widget);
  // The same session, as it would be after the token's time.
  const claims = JSON.parse(Buffer.from(session.token.slice("sbw_".length).split(".")[0], "base64url"));
  const payload = Buffer.from(JSON.stringify({ ...claims, e: Date.now() - 1 }));
  const signature = createHmac("sha256", SESSION_SECRET).update(payload).digest("base64url");
  const expired = `sbw_${payload.toString("base64url")}.${signature}`;
  await change({ session: { ...session, token: expired } });
  const refused = page.waitForResponse((response) => response.status() === 401);
  await page.reload();
  assert.equal((await (await refused).json()).code, "session_expired");
  await widget.answers.last().waitFor();
  await widget.ask(QUESTION);
  assert.deepEqual(await widget.questions.allInnerTexts(), ["Hello", QUESTION]);
  assert.equal((await record(widget)).conversationId, conversationId);
});

test("a conversation that is gone does not stand in the way of a new one", async () => {
  const widget = await demo();
  await widget.ask("Hello");
  const { session, conversationId } = await record(widget);
  const headers = { authorization: `Bearer ${session.token}` };
  const deleted = await fetch(`${smartbot.url}/v1/conversations/${conversationId}`, { method: "DELETE", headers });
  assert.equal(deleted.status, 204);
  await widget.write(QUESTION);
  await page.getByRole("button", { name: "Send again" }).click();
  await page.locator(".message.assistant[data-status=complete]").nth(1).waitFor();
  assert.notEqual((await record(widget)).conversationId, conversationId);
});

test("blocked storage costs the memory, not the chat", async () => {
  page = await openPage(browser, `${wire.url}/demo?lang=en`);
  await page.addInitScript(() => {
    Object.defineProperty(window, "sessionStorage", {
      get() {
        throw new DOMException("blocked", "SecurityError");
      },
    });
  });
  await page.reload();
  const widget = new Widget(page);
  await widget.open();
  assert.match(await widget.ask(QUESTION), ANSWER);
});
