// Answers that a language model is still writing: left, taken up again, stopped, broken off.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Widget, launch, openPage, startModel, startSmartbot, startWire } from "./support.js";

const QUESTION = "Why is the sky above Atlantis green?";
const BEGINNING = "Nobody has seen that sky, ";
const END = "but light scatters.";

let browser;
let model;
let smartbot;
let wire;
let page;
let widget;

before(async () => {
  [browser, model] = await Promise.all([launch(), startModel(BEGINNING, END)]);
  smartbot = await startSmartbot({ variables: { MODELS: "openai:small", OPENAI_BASE_URL: model.url } });
  wire = await startWire(smartbot.port);
});
after(async () => {
  await browser.close();
  await Promise.all([wire.stop(), smartbot.stop(), model.stop()]);
});
afterEach(async () => {
  assert.deepEqual(page.errors, []);
  await page.context().close();
  wire.requests = [];
  model.asked = 0;
});

/** Asks, and reads the beginning; events hold eight characters, so its last two may still be on their way. */
async function begin() {
  page = await openPage(browser, `${wire.url}/demo?lang=en`);
  widget = new Widget(page);
  await widget.open();
  await widget.write(QUESTION);
  await widget.lastAnswer.filter({ hasText: "Nobody has seen that sky" }).waitFor();
}

/** The `Last-Event-ID` of every resumption. */
function resumedAfter() {
  const heads = wire.requests.filter((head) => head.includes("/events HTTP/"));
  return heads.map((head) => Number(/last-event-id: (\d+)/i.exec(head)?.[1]));
}

test("after a reload the answer goes on after what was read", async () => {
  await begin();
  await page.reload();
  await widget.lastAnswer.filter({ hasText: "Nobody has seen that sky" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Stop the answer" }).isVisible());
  model.release();
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  assert.equal(await widget.answers.last().innerText(), BEGINNING + END);
  const [after, ...more] = resumedAfter();
  assert.ok(after > 1 && more.length === 0, `Last-Event-ID: ${after}, ${more}`);
  assert.equal(model.asked, 1);
});

test("what was written while nobody looked is there on return", async () => {
  await begin();
  await page.goto("about:blank");
  model.release();
  await page.goto(`${wire.url}/demo?lang=en`);
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  assert.equal(await widget.answers.last().innerText(), BEGINNING + END);
  assert.equal(model.asked, 1);
});

test("an answer that is stopped stays as far as it was written", async () => {
  await begin();
  await page.getByRole("button", { name: "Stop the answer" }).click();
  await page.getByText("You stopped this answer.").waitFor();
  assert.match(await widget.answers.last().innerText(), /^Nobody has seen that sky/);
  await page.reload();
  await page.getByText("You stopped this answer.").waitFor();
});

test("an answer that breaks off says so, and can be asked for again", async () => {
  await begin();
  model.breakOff();
  await page.getByText("The answer broke off.").waitFor();
  assert.match(await widget.answers.last().innerText(), /^Nobody has seen that sky/);
  await page.reload();
  await page.getByRole("button", { name: "Send again" }).click();
  await widget.lastAnswer.filter({ hasText: "Nobody has seen that sky" }).waitFor();
  model.release();
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  assert.equal(await widget.answers.last().innerText(), BEGINNING + END);
  assert.deepEqual(await widget.questions.allInnerTexts(), [QUESTION]);
});

test("screen readers hear that an answer is coming, and then all of it at once", async () => {
  await begin();
  assert.equal(await widget.log.getAttribute("aria-live"), "polite");
  const coming = await widget.lastAnswer.ariaSnapshot();
  assert.ok(coming.includes("Writing an answer") && !coming.includes("Nobody"), coming);
  model.release();
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  const all = await widget.lastAnswer.ariaSnapshot();
  assert.ok(all.includes(BEGINNING + END) && !all.includes("Writing"), all);
});

test("an answer that comes while the chat is closed is announced on its button", async () => {
  await begin();
  await page.keyboard.press("Escape");
  model.release();
  await page.getByRole("button", { name: "Open chat (new message)" }).click();
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Open chat", exact: true }).waitFor();
});
