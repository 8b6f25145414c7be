// The console of a serial port: what it says, line by line or in bytes or as a plot, and what to say.

import { board, fill, language, make, words } from "./panel.js";
import { drawNumbers, numbersOf } from "./numbers.js";
import { SerialConsole } from "./serial.js";
import { register } from "./widgets.js";

register("console", drawConsole);

const MOST_LINES = 1000;
const LONGEST = 2000; // characters of a line
const MOST_BYTES = 1 << 20; // that can be downloaded
const HEX_BYTES = 4096; // that are seen in hexadecimal
const SAID = 50; // texts that the arrow keys bring back
const BUSY = 30; // new lines in a second that nobody wants to have read aloud
const ENDINGS = { lf: "\n", cr: "\r", crlf: "\r\n", none: "" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false };
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-_])/g; // colours and the like of terminals

const say = (key, values = {}) => fill(words[`console:${key}`], values);

function drawConsole(device, card) {
  const port = new SerialConsole(board, device.name);
  const log = make("div", { className: "screen", role: "log", tabIndex: 0, "aria-labelledby": card.labelId });
  const state = make("span", { className: "state" });
  const screen = makeScreen(log);
  const plot = make("canvas", { className: "numbers", role: "img", hidden: true });
  const points = [];
  const bytes = makeBytes();
  let was = null; // the last status
  let sending, more, baud;

  if (!document.getElementById("console-style")) {
    const href = new URL("console.css", import.meta.url);
    document.head.append(make("link", { id: "console-style", rel: "stylesheet", href }));
  }
  card.head.append(state);
  card.element.append(makeTools(), plot, log, ...makeSending());

  port.on("data", bytes.add);
  port.on("text", (text) => screen.receive(text, takeLine));
  port.on("dropped", (number) => screen.note(say("dropped", { n: number.toLocaleString(language) })));
  port.on("restart", () => screen.note(say("restart")));
  port.on("refused", (message) => (card.error.textContent = message));
  port.on("status", (status) => {
    const text = status.lent ? say("lent") : status.connected ? say("baud", { n: status.baudrate }) : say("gone");
    state.textContent = text;
    if (was && (was.lent !== status.lent || was.connected !== status.connected)) screen.note(text);
    was = status;
    baud.value = status.baudrate;
    sending.hidden = more.hidden = port.readOnly;
  });

  function takeLine(line) {
    const numbers = numbersOf(line);
    if (!numbers) return;
    points.push(numbers);
    if (points.length > 500) points.shift();
    if (!plot.hidden) drawNumbers(plot, points);
  }

  function makeTools() {
    const tools = make("p", { className: "tools" });
    const toggle = (key, change, on = false) => {
      const button = make("button", { type: "button", "aria-pressed": String(on) }, say(key));
      button.addEventListener("click", () => {
        const pressed = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(pressed));
        change(pressed);
      });
      tools.append(button);
    };
    const action = (key, act) => {
      const button = make("button", { type: "button" }, say(key));
      button.addEventListener("click", act);
      tools.append(button);
    };
    toggle("pause", screen.pause);
    toggle("times", (on) => log.classList.toggle("times", on));
    toggle("echo", (on) => log.classList.toggle("echo", on));
    toggle("hex", (on) => screen.hex(on ? bytes : null));
    toggle("plot", (on) => {
      plot.hidden = !on;
      if (on) drawNumbers(plot, points);
    });
    action("clear", () => {
      screen.clear();
      points.length = 0;
      bytes.clear();
    });
    action("save", () => {
      const link = make("a", { href: URL.createObjectURL(bytes.blob()), download: `${device.name}.log` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    const search = make("input", { type: "search", placeholder: say("search"), "aria-label": say("search") });
    const hits = make("output", { className: "hits" });
    search.addEventListener("input", () => (hits.textContent = screen.search(search.value)));
    search.addEventListener("keydown", (event) => event.key === "Enter" && screen.next(event.shiftKey ? -1 : 1));
    tools.append(search, hits);
    return tools;
  }

  function makeSending() {
    const text = make("input", { type: "text", "aria-label": say("text"), autocomplete: "off", spellcheck: false });
    text.autocapitalize = "off";
    const send = make("button", { type: "submit", className: "strong" }, words.send);
    const names = { lf: "LF", cr: "CR", crlf: "CR LF", none: say("none") };
    const ending = makeSelect(say("ending"), Object.keys(ENDINGS), (key) => names[key]);
    ending.value = device.line_ending ?? "lf";
    sending = make("form", { className: "sending" }, text, ending, send);
    const said = [];
    let at = 0;
    sending.addEventListener("submit", (event) => {
      event.preventDefault();
      card.error.textContent = "";
      if (!port.send(text.value + ENDINGS[ending.value])) {
        card.error.textContent = say("gone");
        return;
      }
      screen.sent(text.value);
      if (text.value && said.at(-1) !== text.value) said.push(text.value);
      if (said.length > SAID) said.shift();
      at = said.length;
      text.value = "";
    });
    text.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!step || !said.length) return;
      event.preventDefault();
      at = Math.max(0, Math.min(said.length, at + step));
      text.value = said[at] ?? "";
    });

    baud = makeSelect(say("rate"), device.baudrates ?? [], (rate) => say("baud", { n: rate }));
    baud.hidden = (device.baudrates ?? []).length < 2;
    baud.addEventListener("change", () => card.act(() => port.setBaudrate(Number(baud.value))));
    const pause = make("button", { type: "button" }, say("break"));
    pause.addEventListener("click", () => card.act(() => port.sendBreak()));
    more = make("p", { className: "sending" }, baud, pause, ...makeFile());
    for (const control of [send, text, pause, baud]) card.guard(control);
    return [sending, more];
  }

  function makeFile() {
    const id = `send-file-${device.name}`;
    const field = make("input", { type: "file", id, className: "unseen" });
    const choose = make("label", { className: "button plain", htmlFor: id }, say("file"));
    const bar = make("progress", { max: 1, value: 0, hidden: true, "aria-labelledby": card.labelId });
    const cancel = make("button", { type: "button", hidden: true }, words.no);
    card.guard(field);
    field.addEventListener("change", async () => {
      const [file] = field.files;
      field.value = "";
      if (!file || !bar.hidden) return;
      const stop = new AbortController();
      cancel.onclick = () => stop.abort();
      bar.hidden = cancel.hidden = false;
      const done = await port.sendFile(file, (share) => (bar.value = share), stop.signal);
      bar.hidden = cancel.hidden = true;
      screen.note(say(done ? "sent" : "not-sent", { name: file.name }));
    });
    return [field, choose, bar, cancel];
  }

  return () => {};
}

function makeSelect(label, values, text) {
  const options = values.map((value) => make("option", { value }, text(value)));
  return make("select", { "aria-label": label }, ...options);
}

/** The lines that are seen. Whatever the device says, it is only ever text. */
function makeScreen(log) {
  let lines = []; // {text, element, kind}, the oldest first
  let open = null; // the line that is not ended
  let half = false; // a CR came last, whose LF may follow
  let fresh = new Set(); // lines that the page does not show as they are
  let paused = false;
  let source = null; // the bytes, while they are seen in hexadecimal
  let wanted = ""; // what is searched for
  let found = -1;
  let scheduled = false;
  let second = 0;
  let count = 0;

  function add(kind, text) {
    const line = { kind, text, at: new Date(), element: null };
    lines.push(line);
    fresh.add(line);
    if (lines.length > MOST_LINES) {
      const [old] = lines.splice(0, 1);
      fresh.delete(old);
      if (!paused) old.element?.remove();
    }
    quieten();
    schedule();
    return line;
  }
  /** A screen reader gets what can be followed. */
  function quieten() {
    const now = Math.floor(performance.now() / 1000);
    count = now === second ? count + 1 : 1;
    second = now;
    log.setAttribute("aria-live", count > BUSY ? "off" : "polite");
  }
  function schedule() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(paint);
  }
  function paint() {
    scheduled = false;
    if (paused) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (source) log.textContent = hexDump(source.last(HEX_BYTES));
    else {
      const added = [];
      for (const line of fresh) {
        if (!line.element) added.push((line.element = draw(line)));
        line.element.lastChild.textContent = line.text;
        mark(line);
      }
      log.append(...added);
      fresh.clear();
      while (log.childElementCount > lines.length) log.firstElementChild.remove();
    }
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
  function draw({ kind, at }) {
    const time = at.toLocaleTimeString(language, CLOCK);
    return make("div", { className: kind }, make("time", {}, time), make("span"));
  }
  function redraw() {
    log.replaceChildren();
    for (const line of lines) line.element = null;
    fresh = new Set(lines);
    schedule();
  }
  const hit = ({ text }) => wanted !== "" && text.toLowerCase().includes(wanted);
  const mark = (line) => line.element?.classList.toggle("hit", hit(line));

  return {
    receive(text, ended) {
      text = text.replace(ESCAPES, "");
      const pieces = (half ? text.replace(/^\n/, "") : text).split(/\r\n|\r|\n/);
      half = text.endsWith("\r");
      pieces.forEach((piece, index) => {
        if (index > 0) {
          if (open) ended(open.text);
          else add("rx", "");
          open = null;
        }
        if (!piece) return;
        open ??= add("rx", "");
        open.text += visible(piece);
        fresh.add(open);
        if (open.text.length > LONGEST) open = null;
      });
      schedule();
    },
    sent(text) {
      add("tx", visible(text));
    },
    note(text) {
      open = null;
      add("note", text);
    },
    pause(on) {
      paused = on;
      log.classList.toggle("paused", on);
      if (!on) redraw();
    },
    hex(bytes) {
      source = bytes;
      log.classList.toggle("hex", bytes !== null);
      redraw();
    },
    clear() {
      lines = [];
      open = null;
      redraw();
    },
    search(text) {
      wanted = text.toLowerCase();
      found = -1;
      lines.forEach(mark);
      const number = lines.filter(hit).length;
      return wanted ? say("hits", { n: number }) : "";
    },
    next(step) {
      const hits = [...log.querySelectorAll(".hit")];
      if (!hits.length) return;
      found = found < 0 ? (step > 0 ? hits.length - 1 : 0) : (found + step + hits.length) % hits.length;
      log.querySelector(".current")?.classList.remove("current");
      hits[found].classList.add("current");
      hits[found].scrollIntoView({ block: "nearest" });
    },
  };
}

/** Characters that nobody can see, as the pictures that there are of them. */
function visible(text) {
  return text.replace(/[\0-\x08\x0b-\x1f\x7f]/g, (c) => (c === "\x7f" ? "␡" : String.fromCharCode(0x2400 + c.charCodeAt(0))));
}

/** The last bytes that came. */
function makeBytes() {
  let pieces = [];
  let size = 0;
  let total = 0;
  return {
    add(piece) {
      pieces.push(piece);
      size += piece.length;
      total += piece.length;
      while (size - pieces[0].length >= MOST_BYTES) size -= pieces.shift().length;
    },
    clear() {
      pieces = [];
      size = 0;
    },
    blob: () => new Blob(pieces, { type: "application/octet-stream" }),
    /** The last `number` of them, from a multiple of 16 on, and where they begin. */
    last(number) {
      const kept = [];
      let length = 0;
      for (let i = pieces.length - 1; i >= 0 && length < number; i--) {
        kept.unshift(pieces[i]);
        length += pieces[i].length;
      }
      const all = new Uint8Array(length);
      kept.reduce((at, piece) => (all.set(piece, at), at + piece.length), 0);
      const begin = total - length;
      const skip = Math.min(length, (16 - (begin % 16)) % 16);
      return { begin: begin + skip, bytes: all.subarray(skip) };
    },
  };
}

function hexDump({ begin, bytes }) {
  const rows = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    rows.push(`${(begin + at).toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return rows.join("\n");
}
