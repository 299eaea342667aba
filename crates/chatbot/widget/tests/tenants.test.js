// Several companies' sites, under policies as strict as they come: who sees what, and who answers.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Widget, launch, openPage, startSite, startSmartbot, tenant } from "./support.js";

let browser;
let site;
let smartbot;
let page;

before(async () => {
  [browser, site] = await Promise.all([launch(), startSite()]);
  smartbot = await startSmartbot({
    tenants: [
      tenant("red", [site.url]),
      tenant("blue", [site.url]),
      // Nothing is ever sure enough to be its answer.
      tenant("unsure", [site.url], { thresholds: { answer: 1, suggest: 0.01 } }),
      tenant("kyoto", [site.url], { knowledge: "kyoto.csv" }),
      tenant("elsewhere", ["https://elsewhere.example"]),
    ],
    files: { "kyoto.csv": "question,answer\n定休日はいつですか,水曜日です。\n" },
  });
  put("/kyoto", script("kyoto"), "");
  put("/english", script("red", 'data-locale="en"'), "ja");
  put("/red", script("red"));
  put("/blue", script("blue"));
  put("/anna", script("red", 'data-user="anna"'));
  put("/ben", script("red", 'data-user="ben"'));
  put("/both", script("red") + script("blue", 'data-position="left"'));
  put("/unsure", script("unsure"));
  put("/elsewhere", script("elsewhere"));
});
after(async () => {
  await browser.close();
  await Promise.all([smartbot.stop(), site.stop()]);
});
afterEach(async () => {
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

function script(id, attributes = "") {
  return `<script async src="${smartbot.url}/widget.js" data-key="sb_pub_${id}" ${attributes}></script>`;
}

function put(path, scripts, lang) {
  site.pages[path] = { service: smartbot.url, scripts, lang };
}

async function visit(path) {
  page = await openPage(browser, site.url + path);
  return new Widget(page);
}

/** The service as an agent of a tenant uses it. */
async function agent(id, path, body) {
  const response = await fetch(`${smartbot.url}/v1/conversations/${path}`, {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer sb_live_${id}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.json();
}

/** The record of the only widget that has one. */
async function record(widget) {
  return Object.values(await widget.stored())[0];
}

test("it works on another origin under a strict policy, and breaks nothing of it", async () => {
  const widget = await visit("/red");
  await widget.open();
  await widget.ask("I forgot my password");
  assert.equal(await widget.panel.getAttribute("aria-label"), "The red company chat");
  assert.deepEqual(page.errors, []);

  // The policy is real, and what breaks it is noticed.
  await page.evaluate(() => document.body.setAttribute("style", "color: red"));
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  assert.match(page.errors.join(), /style-src-attr/);
  page.errors = [];
});

test("the next tenant's widget in the same tab starts with nothing", async () => {
  const red = await visit("/red");
  await red.open();
  await red.ask("I forgot my password");
  const { conversationId } = await record(red);

  await page.goto(`${site.url}/blue`);
  const blue = new Widget(page);
  await blue.open();
  await page.getByText("Hello! Ask me anything.").waitFor();
  assert.equal(await blue.questions.count(), 0);
  await blue.ask("Which plans are there?");

  // Not even with the other's conversation in hand.
  const { session } = Object.values(await blue.stored()).find((record) => record.session.name === "The blue company");
  for (const path of [conversationId, `${conversationId}/messages`]) {
    const headers = { authorization: `Bearer ${session.token}` };
    const response = await fetch(`${smartbot.url}/v1/conversations/${path}`, { headers });
    assert.equal(response.status, 404, path);
  }
  await page.goto(`${site.url}/red`);
  await red.questions.first().waitFor();
  assert.deepEqual(await red.questions.allInnerTexts(), ["I forgot my password"]);
});

test("two widgets on one page keep apart", async () => {
  await visit("/both");
  const red = page.locator("smartbot-widget:not([side])");
  const blue = page.locator("smartbot-widget[side=left]");
  for (const [element, name] of [[red, "The red company"], [blue, "The blue company"]]) {
    await element.locator(".launcher").click();
    await element.locator("h2").filter({ hasText: name }).waitFor();
  }
  await red.locator(".composer textarea").fill("I forgot my password");
  await red.locator(".submit").click();
  await red.locator(".message.assistant[data-status=complete]").waitFor();
  assert.equal(await blue.locator(".message.user").count(), 0);
});

test("the next person in the same tab sees nothing of the one before", async () => {
  const widget = await visit("/anna");
  await widget.open();
  await widget.ask("I forgot my password");
  await page.goto(`${site.url}/ben`);
  await widget.open();
  await page.getByText("Hello! Ask me anything.").waitFor();
  assert.equal(await widget.questions.count(), 0);
  await widget.ask("Which plans are there?");
  const [anna, ben] = Object.values(await widget.stored());
  const headers = { authorization: `Bearer ${ben.session.token}` };
  const response = await fetch(`${smartbot.url}/v1/conversations/${anna.conversationId}/messages`, { headers });
  assert.equal(response.status, 404);
});

test("a page can have everything forgotten when its user signs out", async () => {
  const widget = await visit("/red");
  await widget.open();
  await widget.ask("I forgot my password");
  await page.evaluate(() => document.querySelector("smartbot-widget").reset());
  assert.deepEqual(Object.values(await widget.stored()).filter(({ session }) => session), []);
  await widget.open();
  assert.equal(await widget.questions.count(), 0);
  await page.reload();
  await page.getByText("Hello! Ask me anything.").waitFor();
  assert.equal(await widget.questions.count(), 0);
});

test("a site that the key is not for gets no chat, and says so", async () => {
  const widget = await visit("/elsewhere");
  await widget.open();
  await page.getByText("The chat is not available on this page.").waitFor();
});

test("what may be meant is offered as buttons", async () => {
  const widget = await visit("/unsure");
  await widget.open();
  await widget.ask("Is there a way to forget my password and pay the invoice?");
  const choices = widget.lastAnswer.locator(".choice");
  await choices.first().waitFor();
  const offered = await choices.allInnerTexts();
  assert.equal(await widget.answers.last().innerText(), "Did you mean one of these?", "the list is not shown twice");
  await choices.first().click();
  await page.locator(".message.assistant[data-status=complete]").nth(1).waitFor();
  assert.equal(await widget.questions.last().innerText(), offered[0]);
  assert.ok(await widget.field.evaluate((field) => field.getRootNode().activeElement === field));
});

test("what may be meant is chosen by keyboard", async () => {
  const widget = await visit("/unsure");
  await widget.open();
  await widget.ask("Is there a way to forget my password and pay the invoice?");
  const offered = await widget.lastAnswer.locator(".choice").allInnerTexts();
  const focused = () => widget.field.evaluate((field) => field.getRootNode().activeElement.textContent);
  for (let presses = 0; presses < 20 && (await focused()) !== offered[1]; presses += 1) await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await page.locator(".message.assistant[data-status=complete]").nth(1).waitFor();
  assert.equal(await widget.questions.last().innerText(), offered[1]);
  assert.ok(await widget.field.evaluate((field) => field.getRootNode().activeElement === field), "and one can go on writing");
});

test("what may be meant is still offered after a reload", async () => {
  const widget = await visit("/unsure");
  await widget.open();
  await widget.ask("Is there a way to forget my password and pay the invoice?");
  const offered = await widget.lastAnswer.locator(".choice").allInnerTexts();
  await page.reload();
  await widget.lastAnswer.locator(".choice").first().waitFor();
  assert.deepEqual(await widget.lastAnswer.locator(".choice").allInnerTexts(), offered);
});

test("a site may fix the language of widget and answers", async () => {
  const widget = await visit("/english");
  await widget.open();
  await page.getByText("Hello! Ask me anything.").waitFor();
  assert.match(await widget.ask("パスワードを忘れました"), /password/);
  assert.match(await widget.ask("富士山の高さを教えて"), /^[\x20-\x7e]+$/, "it has no answer, and says so in English");
});

test("a page without a language is greeted in the tenant's only one", async () => {
  const widget = await visit("/kyoto");
  await widget.open();
  await page.getByText("こんにちは。ご質問を入力してください。").waitFor();
  assert.equal(await widget.ask("定休日はいつ？"), "水曜日です。");
});

test("a person takes over, answers, and gives back", async () => {
  const widget = await visit("/red");
  await widget.open();
  await widget.ask("What is the capital of Atlantis?");
  await widget.lastAnswer.getByRole("button", { name: "Talk to a person" }).click();
  await page.getByText("We are calling a support agent.").waitFor();
  assert.equal(await page.locator("header p").innerText(), "Calling a support agent");
  const { conversationId } = await record(widget);
  assert.equal((await agent("red", conversationId)).state, "pending_human");

  await agent("red", `${conversationId}/replies`, { text: "Hello, Sato speaking: see https://example.com/map." });
  const reply = page.locator(".message.agent");
  await reply.waitFor();
  assert.match(await reply.innerText(), /^Support agent\s*:\s*Hello, Sato speaking/);
  assert.equal(await reply.locator("a").getAttribute("href"), "https://example.com/map");

  // The bot keeps silent now.
  await widget.write("Thank you");
  await page.locator(".message.user[data-status=complete]").nth(1).waitFor();
  await page.locator(".submit[aria-label=Send]").waitFor();
  assert.equal(await page.locator(".message.assistant[data-status]").count(), 1);

  await page.reload();
  await reply.waitFor();
  assert.equal(await page.locator("header p").innerText(), "You are talking to a person");
  await agent("red", `${conversationId}/state`, { state: "closed" });
  await page.getByText("This conversation has ended. Start a new one to go on.").waitFor();
  assert.ok(await widget.field.isDisabled());
  await page.getByRole("button", { name: "Start a new conversation" }).click();
  await widget.ask("I forgot my password");
});

test("a person who takes over unasked is noticed", async () => {
  const widget = await visit("/red");
  await widget.open();
  await widget.ask("I forgot my password");
  const { conversationId } = await record(widget);
  await agent("red", `${conversationId}/replies`, { text: "Sato here." });
  await widget.write("And then?");
  await page.locator(".message.agent").filter({ hasText: "Sato here." }).waitFor();
  await page.getByText("A support agent has joined the conversation.").waitFor();
});

test("what others write is never markup", async () => {
  const widget = await visit("/red");
  await widget.open();
  const markup = `<img src=x onerror="document.title='owned'"><b>bold</b>`;
  await widget.ask(markup);
  const { conversationId } = await record(widget);
  await page.locator("footer .person").click();
  await page.locator(".panel[data-state=pending_human]").waitFor();
  const text = `${markup} javascript:alert(1) (https://example.com/a?b=1). 詳細はhttps://example.jp/案内。`;
  await agent("red", `${conversationId}/replies`, { text });
  const bubble = page.locator(".message.agent .bubble");
  await bubble.waitFor();
  assert.equal(await widget.questions.first().innerText(), markup);
  assert.ok((await bubble.textContent()).startsWith(markup));
  assert.equal(await page.locator("smartbot-widget").locator("img, b, script, iframe").count(), 0);
  const links = await bubble.locator("a").evaluateAll((links) => links.map(({ href, rel }) => [href, rel]));
  assert.deepEqual(links, [
    ["https://example.com/a?b=1", "noopener noreferrer"],
    ["https://example.jp/", "noopener noreferrer"],
  ]);
  assert.equal(await page.title(), "Shop");
});

test("a person can be called before anything was asked", async () => {
  const widget = await visit("/red");
  await widget.open();
  await page.locator("footer").getByRole("button", { name: "Talk to a person" }).click();
  await page.getByText("We are calling a support agent.").waitFor();
  assert.deepEqual(await widget.questions.allInnerTexts(), ["I would like to talk to a person"]);
});
