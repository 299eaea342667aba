// Real servers and a real browser for the tests.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PROGRAM = process.env.SMARTBOT ?? path.resolve(import.meta.dirname, "../../../../target/debug/smartbot");
export const SESSION_SECRET = "the tests' own secret, long enough for anybody";

/** Chromium as Debian packages it, with everything off that would call home. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** The real program on a free port. `tenants` is the content of its tenants file, `files` what is beside it. */
export async function startSmartbot({ variables = {}, tenants, files = {} } = {}) {
  const directory = mkdtempSync(path.join(tmpdir(), "smartbot-widget-"));
  const env = {
    LISTEN: "127.0.0.1:0",
    CONVERSATIONS_DIR: path.join(directory, "conversations"),
    DRAIN_DELAY_SECONDS: "0",
    DRAIN_DEADLINE_SECONDS: "1",
    SESSION_SECRET,
    ...variables,
  };
  if (tenants) {
    env.TENANTS_FILE = path.join(directory, "tenants.json");
    writeFileSync(env.TENANTS_FILE, JSON.stringify({ schema: 1, tenants }));
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(directory, name), text);
  const child = spawn(PROGRAM, { env, stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const address = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`smartbot ended with ${code}`)));
    lines.on("line", (line) => {
      const entry = JSON.parse(line);
      if (entry.message === "listening") resolve(entry.address);
    });
  });
  return {
    url: `http://${address}`,
    port: Number(address.split(":").at(-1)),
    async stop() {
      if (child.exitCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
      rmSync(directory, { recursive: true });
    },
  };
}

/** A tenant for `startSmartbot`, with the keys `sb_live_<id>` and `sb_pub_<id>`. */
export function tenant(id, origins, more = {}) {
  const sha256 = (text) => createHash("sha256").update(text).digest("hex");
  return {
    id,
    name: `The ${id} company`,
    allowed_origins: origins,
    keys: [
      { id: "key_all", kind: "secret", sha256: sha256(`sb_live_${id}`), scopes: ["chat", "agent"] },
      { id: "key_pub", kind: "publishable", sha256: sha256(`sb_pub_${id}`) },
    ],
    ...more,
  };
}

/** A company's site under a policy as strict as they come; `scripts` are the widget's tags. */
export async function startSite() {
  const site = { pages: {} };
  const server = http.createServer((request, response) => {
    const page = site.pages[request.url];
    if (!page) return response.writeHead(404).end();
    const allowed = page.service;
    const policy = `default-src 'none'; script-src ${allowed}; connect-src ${allowed}; require-trusted-types-for 'script'`;
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-security-policy": policy });
    const lang = page.lang ?? "en";
    response.end(`<!doctype html><html lang="${lang}"><title>Shop</title><main><h1>Shop</h1></main>${page.scripts}</html>`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  site.url = `http://127.0.0.1:${server.address().port}`;
  site.stop = () => close(server);
  return site;
}

/**
 * A wire between browser and program: it remembers requests, and can be cut. `cutAfter` loses what comes
 * after so many bytes of answers; `broken` refuses everything.
 */
export async function startWire(port) {
  const wire = { requests: [], cutAfter: Infinity, broken: false };
  const server = net.createServer((client) => {
    const upstream = net.connect(port, "127.0.0.1");
    client.on("data", (data) => {
      if (wire.broken) return client.destroy();
      wire.requests.push(...(data.toString("latin1").match(/^(?:GET|POST) [^]*?\r\n\r\n/gm) ?? []));
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      wire.cutAfter -= data.length;
      if (wire.cutAfter > 0) return client.write(data);
      wire.cutAfter = Infinity;
      client.destroy();
      upstream.destroy();
    });
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      one.on("close", () => other.destroy());
      one.on("error", () => other.destroy());
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  wire.url = `http://127.0.0.1:${server.address().port}`;
  wire.stop = () => close(server);
  return wire;
}

/**
 * A language model that says `beginning`, waits for `release()`, and says `end`; `breakOff()` ends the
 * connection instead.
 */
export async function startModel(beginning, end) {
  const model = { asked: 0 };
  const server = http.createServer((request, response) => {
    if (!request.url.endsWith("/chat/completions")) return response.writeHead(200).end("{}");
    model.asked += 1;
    const say = (delta, reason = null) => {
      const chunk = { id: "1", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: reason }] };
      response.write(`data: ${JSON.stringify(chunk)}\n\n`);
    };
    response.writeHead(200, { "content-type": "text/event-stream" });
    say({ role: "assistant", content: beginning });
    model.breakOff = () => response.destroy();
    model.release = () => {
      say({ content: end });
      say({}, "stop");
      response.end("data: [DONE]\n\n");
    };
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  model.url = `http://127.0.0.1:${server.address().port}/v1`;
  model.stop = () => close(server);
  return model;
}

function close(server) {
  server.closeAllConnections?.();
  server.close();
}

/** A page that remembers what went wrong in it: uncaught errors and violations of its policy. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 820 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  await page.exposeFunction("reportViolation", (violation) => page.errors.push(violation));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      reportViolation(`${violatedDirective} forbids ${blockedURI}`),
    );
  });
  await page.goto(url);
  await page.locator(".launcher").first().waitFor();
  return page;
}

/** The widget as people see it. */
export class Widget {
  constructor(page) {
    this.page = page;
    this.launcher = page.locator(".launcher");
    this.panel = page.locator(".panel");
    this.log = page.getByRole("log");
    this.field = page.locator(".composer textarea");
    this.submit = page.locator(".submit");
    this.questions = page.locator(".message.user .bubble");
    this.answers = page.locator(".message.assistant[data-status] .bubble");
    this.lastAnswer = page.locator(".message.assistant[data-status]").last();
  }

  async open() {
    await this.launcher.click();
    await this.panel.waitFor();
  }

  async write(text) {
    await this.field.fill(text);
    await this.page.keyboard.press("Enter");
  }

  /** Asks, and waits for the whole answer. */
  async ask(text) {
    const before = await this.page.locator(".message.assistant[data-status=complete]").count();
    await this.write(text);
    await this.page.locator(".message.assistant[data-status=complete]").nth(before).waitFor();
    return this.answers.last().innerText();
  }

  /** What the widget keeps over reloads, of every tenant and user. */
  stored() {
    return this.page.evaluate(() =>
      Object.fromEntries(Object.entries(sessionStorage).map(([name, value]) => [name, JSON.parse(value)])),
    );
  }
}
