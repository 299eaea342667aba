// The element that a page gets, and how the script tag makes it.

class SmartbotWidget extends HTMLElement {
  /** Starts the widget. */
  start({ base, key, user, locale, color, side, theme, starters }) {
    if (side) this.setAttribute("side", side);
    if (theme) this.setAttribute("theme", theme);
    const root = this.attachShadow({ mode: "open" });
    // Style sheets made by script are the script's own act: `style-src` has nothing to forbid.
    root.adoptedStyleSheets = [sheet(STYLE), sheet(accent(color))];
    this.memory = new Memory(base, key, user);
    const session = this.memory.get("session");
    const wished = spoken(locale, document.documentElement.lang);
    const view = new View(
      root,
      { locale: wished ?? spoken(session?.locale, navigator.language) ?? "en", name: session?.name ?? "SmartBot", starters },
      {
        toggle: () => this.toggle(),
        send: (text) => this.chat.send(text),
        choose: (text) => {
          view.settle();
          this.chat.send(text);
        },
        stop: () => this.chat.stop(),
        fresh: () => this.chat.fresh(),
        person: () => this.chat.person(),
        resend: (message) => this.chat.resend(message),
        feedback: (message, comment) => this.chat.feedback(message, comment),
        mayCallPerson: () => view.state === "bot",
      },
    );
    this.view = view;
    this.chat = new Chat(new Client(base, key, this.memory), this.memory, view, { wished, locale: spoken(locale) });
    if (this.memory.get("open")) this.show(true, false);
    else if (this.memory.get("waiting")) this.chat.load();
  }

  open() {
    this.show(true, true);
  }

  close() {
    this.show(false, true);
  }

  /** Forgets the session and the conversation, for a page whose user signs out. */
  reset() {
    this.close();
    this.chat.reset();
  }

  toggle() {
    this.show(this.view.panel.hidden, true);
  }

  show(open, focus) {
    this.view.toggle(open, focus);
    this.memory.set({ open });
    if (open) this.chat.load();
    this.chat.lookLater();
  }
}

function sheet(text) {
  const made = new CSSStyleSheet();
  made.replaceSync(text);
  return made;
}

/** The tenant's colour, and black or white on it, whichever reads better. */
function accent(color) {
  if (!/^#[0-9a-f]{6}$/i.test(color ?? "")) return "";
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const share = parseInt(color.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return `:host { --accent: ${color}; --ink: ${luminance > 0.179 ? "#000000" : "#ffffff"}; }`;
}

const NAME = "smartbot-widget";
const script = document.currentScript;

function boot() {
  const { key, user, locale, color, position, theme, starters } = script.dataset;
  if (!key) {
    console.error("SmartBot: the script tag has no data-key.\n  hint: add data-key=\"sb_pub_…\", the tenant's publishable key");
    return;
  }
  if (!customElements.get(NAME)) customElements.define(NAME, SmartbotWidget);
  const element = document.createElement(NAME);
  document.body.append(element);
  element.start({
    base: new URL(".", script.src).href,
    key,
    user,
    locale,
    color,
    side: position,
    theme,
    starters: (starters ?? "").split("|").map((starter) => starter.trim()).filter(Boolean),
  });
}

if (document.body) boot();
else document.addEventListener("DOMContentLoaded", boot);
