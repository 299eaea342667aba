// axe-core finds nothing, in any state, light and dark, wide and narrow, in both languages.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { Widget, launch, openPage, startSmartbot, startWire } from "./support.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser;
let smartbot;
let wire;

before(async () => {
  [browser, smartbot] = await Promise.all([launch(), startSmartbot()]);
  wire = await startWire(smartbot.port);
});
after(async () => {
  await browser.close();
  await Promise.all([wire.stop(), smartbot.stop()]);
});

/** Everything that axe objects to on the page, its best practices included. */
async function violations(page) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => axe.run());
  // The path to something in a shadow root is a list.
  const colours = passes.find(({ id }) => id === "color-contrast");
  assert.ok(colours?.nodes.some(({ target }) => Array.isArray(target[0])), "axe looked at the widget's colours");
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => html + failureSummary)}`);
}

const narrow = { viewport: { width: 390, height: 780 } };
for (const [name, lang, options] of [
  ["light, Japanese", "ja", { colorScheme: "light" }],
  ["dark, English", "en", { colorScheme: "dark" }],
  ["narrow, dark, Japanese", "ja", { colorScheme: "dark", ...narrow }],
  ["narrow, light, English", "en", { colorScheme: "light", ...narrow }],
]) {
  test(name, async () => {
    // The policy forbids what axe adds to the page, so it is left out here.
    const page = await openPage(browser, `${wire.url}/demo?lang=${lang}`, { ...options, reducedMotion: "reduce", bypassCSP: true });
    const widget = new Widget(page);
    const clean = async (state) => assert.deepEqual(await violations(page), [], state);

    await clean("closed");
    await widget.open();
    await page.locator(".choice").first().waitFor();
    await clean("open");
    await widget.ask(lang === "ja" ? "パスワードを忘れました" : "I forgot my password");
    await clean("answered");
    await page.locator(".rate.down").click();
    await clean("asked for a comment");
    wire.broken = true;
    await widget.write("?");
    await page.locator(".failure").waitFor();
    await clean("error");
    wire.broken = false;
    await page.locator(".failure button").click();
    await page.locator(".failure").waitFor({ state: "detached" });
    await page.locator("footer .person").click();
    await page.locator(".panel[data-state=pending_human]").waitFor();
    await clean("handed over");
    await page.context().close();
  });
}
