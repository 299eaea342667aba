// Server-sent events over fetch: EventSource can send neither a body nor an Authorization header.

/** The service sends at least a comment every 15 s; a connection silent for longer is dead. */
const SILENCE_MS = 40_000;

/** The events of a response: `{ id, name, data }`. Ends when the connection does. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { name: "message", data: [] };
  let id = "";
  let timer;
  const watch = () => {
    clearTimeout(timer);
    timer = setTimeout(() => reader.cancel().catch(() => {}), SILENCE_MS);
  };
  try {
    for (;;) {
      watch();
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (line === "") {
          if (event.data.length) yield { id, name: event.name, data: JSON.parse(event.data.join("\n")) };
          event = { name: "message", data: [] };
          continue;
        }
        const [, field, content] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "id") id = content;
        else if (field === "event") event.name = content;
        else if (field === "data") event.data.push(content);
      }
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}
