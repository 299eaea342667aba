// A conversation: asking, reading, choosing, judging, and the keyboard.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Widget, launch, openPage, startSmartbot } from "./support.js";

let browser;
let smartbot;
let page;

before(async () => {
  [browser, smartbot] = await Promise.all([launch(), startSmartbot({ variables: { STREAM_DELTA_DELAY_MS: "10" } })]);
});
after(() => Promise.all([browser.close(), smartbot.stop()]));
afterEach(async () => {
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

async function demo(lang = "ja", options) {
  page = await openPage(browser, `${smartbot.url}/demo?lang=${lang}`, options);
  return new Widget(page);
}

test("a Japanese question streams to a Japanese answer with its source", async () => {
  const widget = await demo("ja");
  await widget.open();
  await page.evaluate(() => {
    const log = document.querySelector("smartbot-widget").shadowRoot.querySelector(".log");
    const texts = (window.texts = new Set());
    const look = () => texts.add(log.querySelector("[data-status=generating] .bubble")?.textContent ?? "");
    new MutationObserver(look).observe(log, { childList: true, subtree: true });
  });
  const answer = await widget.ask("パスワードを忘れました");
  assert.match(answer, /パスワードをお忘れの方.*30分です。$/s);
  const seen = await page.evaluate(() => [...window.texts].filter(Boolean));
  assert.ok(seen.length > 3 && seen.every((text) => answer.startsWith(text)), seen.join("\n"));
  assert.match(await widget.lastAnswer.locator(".sources").innerText(), /出典\s+パスワードを忘れたとき/);
});

test("an English question gets an English answer, in an English widget", async () => {
  const widget = await demo("en");
  assert.equal(await widget.launcher.getAttribute("aria-label"), "Open chat");
  await widget.open();
  assert.match(await widget.ask("I forgot my password"), /^Choose "Forgot password" on the sign-in page/);
  assert.match(await widget.lastAnswer.locator(".sources").innerText(), /Sources\s+I forgot my password/);
});

test("an opinion reaches the service, with a comment if there is one", async () => {
  const widget = await demo("en");
  await widget.open();
  await widget.ask("I forgot my password");
  const judge = async (act) => {
    const [response] = await Promise.all([page.waitForResponse(/\/feedback$/), act()]);
    return [response.status(), response.request().postDataJSON()];
  };
  const comment = page.locator(".comment");
  const down = () => page.getByRole("button", { name: "Not helpful" }).click();
  assert.deepEqual(await judge(down), [204, { rating: "down" }]);
  await page.getByRole("textbox", { name: "What was missing? (optional)" }).fill("The link");
  const send = () => comment.getByRole("button", { name: "Send" }).click();
  assert.deepEqual(await judge(send), [204, { rating: "down", comment: "The link" }]);
  await page.getByText("Thank you for your feedback.").waitFor();
  const up = () => page.getByRole("button", { name: "Helpful", exact: true }).click();
  assert.deepEqual(await judge(up), [204, { rating: "up" }]);
  await page.reload();
  await page.locator(".rate.up[aria-pressed=true]").waitFor();
});

test("a new conversation is explicit and can be undone", async () => {
  const widget = await demo("en");
  await widget.open();
  const answer = await widget.ask("I forgot my password");
  await page.getByRole("button", { name: "Start a new conversation" }).click();
  assert.equal(await widget.questions.count(), 0);
  await page.getByRole("button", { name: "Back to the previous one" }).click();
  await widget.answers.first().waitFor();
  assert.equal(await widget.answers.last().innerText(), answer);

  await page.getByRole("button", { name: "Start a new conversation" }).click();
  await widget.ask("Which plans are there?");
  await page.reload();
  await widget.answers.first().waitFor();
  assert.deepEqual(await widget.questions.allInnerTexts(), ["Which plans are there?"]);
});

test("Enter while an input method composes does not send", async () => {
  const widget = await demo("ja");
  await widget.open();
  const devtools = await page.context().newCDPSession(page);
  const enter = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" };
  await widget.field.focus();
  await devtools.send("Input.imeSetComposition", { text: "ぱすわーど", selectionStart: 5, selectionEnd: 5 });
  await devtools.send("Input.dispatchKeyEvent", { type: "rawKeyDown", ...enter });
  await devtools.send("Input.dispatchKeyEvent", { type: "keyUp", ...enter });
  await page.keyboard.press("Escape");
  assert.ok(await widget.panel.isVisible(), "Esc leaves the choice of kanji, not the chat");
  await devtools.send("Input.imeSetComposition", { text: "", selectionStart: 0, selectionEnd: 0 });
  await devtools.send("Input.insertText", { text: "パスワードを忘れました" });
  // Safari ends the composition before the key, and only the number tells.
  await widget.field.evaluate((field) => {
    const key = { key: "Enter", keyCode: 229, bubbles: true, composed: true, cancelable: true };
    field.dispatchEvent(new KeyboardEvent("keydown", key));
  });
  assert.equal(await widget.questions.count(), 0);
  assert.equal(await widget.field.inputValue(), "パスワードを忘れました");
  await page.keyboard.press("Enter");
  await page.locator(".message.assistant[data-status=complete]").waitFor();
  assert.deepEqual(await widget.questions.allInnerTexts(), ["パスワードを忘れました"]);
});

test("the keyboard alone is enough, and stays in the panel until Esc", async () => {
  const widget = await demo("en");
  await page.evaluate(() => addEventListener("keydown", ({ key }) => (window.heard = (window.heard ?? "") + key)));
  await widget.launcher.focus();
  await page.keyboard.press("Enter");
  await widget.panel.waitFor();
  const focused = () =>
    page.evaluate(() => {
      const element = document.querySelector("smartbot-widget").shadowRoot.activeElement;
      return element?.getAttribute("aria-label") ?? element?.innerText;
    });
  assert.equal(await focused(), "Write a message");
  await page.evaluate(() => (window.heard = ""));
  await page.keyboard.type("first");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("/second");
  assert.equal(await widget.field.inputValue(), "first\n/second");
  assert.equal(await page.evaluate(() => window.heard), "", "the page's shortcuts do not hear what is typed");

  const round = [];
  do {
    await page.keyboard.press("Tab");
    round.push(await focused());
  } while (round.at(-1) !== "Write a message" && round.length < 20);
  for (const name of ["Send", "Talk to a person", "Start a new conversation", "Close chat", "Conversation"]) {
    assert.ok(round.includes(name), `${name} in ${round}`);
  }
  await page.keyboard.press("Shift+Tab");
  assert.notEqual(await focused(), "Write a message");
  await page.keyboard.press("Escape");
  assert.ok(!(await widget.panel.isVisible()));
  assert.equal(await focused(), "Open chat");
});
