// Building blocks. Nothing here or elsewhere parses HTML: text from the service only ever becomes
// text nodes and links, so it cannot become markup, and pages may demand Trusted Types.

/** An element with properties (or `aria-…`/`data-…` attributes) and children; empty children are left out. */
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Names a control for screen readers and, as a tooltip, for everybody else. */
function label(element, text) {
  element.setAttribute("aria-label", text);
  element.title = text;
}

// Paths of 24 by 24 icons, drawn with a line of one width.
const ICONS = {
  chat: "M21 12a8 8 0 0 1-8 8H4l1.8-3.2A8 8 0 1 1 21 12ZM9 12h.01M13 12h.01M17 12h.01",
  down: "m6 9 6 6 6-6",
  close: "M6 6l12 12M18 6 6 18",
  fresh: "M12 4H5v15h15v-7M18.5 2.7a2 2 0 0 1 2.8 2.8L12 15l-4 1 1-4 9.5-9.3Z",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4 21a8 8 0 0 1 16 0",
  up: "M7 10v11M7 10l4-8c1.7 0 2.5 1 2.5 2.6L13 9h6a2 2 0 0 1 2 2.3l-1.2 7.5A2.6 2.6 0 0 1 17.3 21H4V10h3",
  link: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  alert: "M12 8v5M12 16.5h.01M12 3l9.5 17h-19L12 3Z",
};

function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A link to another site, or null when the address is not one that may be followed. */
function link(address, text, newTab) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (!["https:", "http:", "mailto:"].includes(url.protocol)) return null;
  const hint = el("span", { className: "unseen" }, ` (${newTab})`);
  return el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, text, hint);
}

// An address ends where Japanese begins, and before the punctuation that ends its sentence.
const ADDRESS = /https?:\/\/[^\s<>"'`\u3000-\u9fff\uff00-\uffef]*[^\s<>"'`\u3000-\u9fff\uff00-\uffef.,:;!?)\]}]/g;

/** Text as nodes, its addresses as links. */
function linked(text, newTab) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const anchor = link(match[0], match[0], newTab);
    if (!anchor) continue;
    nodes.push(text.slice(end, match.index), anchor);
    end = match.index + match[0].length;
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== "");
}
