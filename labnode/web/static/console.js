// The console of a serial port: what it says, line by line or in bytes or as a plot, and what to say.

import { board, fill, language, make, words } from "./panel.js";
import { drawNumbers, numbersOf } from "./numbers.js";
import { SerialConsole } from "./serial.js";
import { sleep } from "./sleep.js";
import { register } from "./widgets.js";

register("console", drawConsole);

const MOST_LINES = 10_000;
const LONGEST = 2000; // characters of a line
const MOST_BYTES = 1 << 20; // that can be downloaded
const HEX_BYTES = 4096; // that are seen in hexadecimal
const SAID = 50; // texts that the arrow keys bring back
const BUSY = 30; // new lines in a second that nobody wants to have read aloud
const ENDINGS = { lf: "\n", cr: "\r", crlf: "\r\n", none: "" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false };
const PAUSE = 50; // milliseconds between lines that are sent together
const MOST_POINTS = 2000; // that are plotted
const STYLE = /\x1b\[([\d;:]*)m/; // colours and the like of terminals
const CURSOR = /\x1b(?:\[[0-?]*[ -/]*[A-HJKSTfhlsu]|[78DEMHc])/g; // what moves on a screen, which this is not
const UNFINISHED = /\x1b(?:\[[0-?]{0,30}[ -/]*)?$/; // the rest comes with the next bytes

// The colours of a terminal, the bright ones last, as they can be read on the screen's dark ground.
const [DARK, LIGHT] = ["#0c1317", "#dbe7ee"];
const PALETTE = (
  "#7d8b95 #ff7b72 #56d364 #e3b341 #79b8ff #d2a8ff #56d4dd #dbe7ee " +
  "#9aa8b2 #ffa198 #7ee787 #f2cc60 #a5d0ff #e2c5ff #8ae9f0 #ffffff"
).split(" ");

const say = (key, values = {}) => fill(words[`console:${key}`], values);

function drawConsole(device, card) {
  const port = new SerialConsole(board, device.name);
  const log = make("div", { className: "screen", role: "log", tabIndex: 0, "aria-labelledby": card.labelId });
  const state = make("span", { className: "state" });
  const screen = makeScreen(log);
  const plot = makePlot(device.label || device.name);
  const bytes = makeBytes();
  let was = null; // the last status
  let sending, more, baud;

  if (!document.getElementById("console-style")) {
    const href = new URL("console.css", import.meta.url);
    document.head.append(make("link", { id: "console-style", rel: "stylesheet", href }));
  }
  card.head.append(state);
  card.element.append(makeTools(), plot.element, log, ...makeSending());

  port.on("data", bytes.add);
  port.on("text", (text) => screen.receive(text, plot.take));
  port.on("dropped", (number) => screen.note(say("dropped", { n: number.toLocaleString(language) })));
  port.on("restart", () => screen.note(say("restart")));
  port.on("refused", (message) => card.tell(message, "refused"));
  port.on("status", (status) => {
    const text = status.lent ? say("lent") : status.connected ? say("baud", { n: status.baudrate }) : say("gone");
    state.textContent = text;
    const isBack = status.connected && !status.lent && was && (was.lent || !was.connected);
    if (isBack) screen.note(say("back", { n: status.baudrate }));
    else if (was && ["lent", "connected", "baudrate"].some((key) => was[key] !== status[key])) screen.note(text);
    was = status;
    baud.value = status.baudrate;
    sending.hidden = more.hidden = port.readOnly;
  });

  function makeTools() {
    const tools = make("p", { className: "tools" });
    const search = make("input", { type: "search", placeholder: say("search"), "aria-label": say("search") });
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
    toggle("pause", (on) => {
      screen.pause(on);
      plot.pause(on);
    });
    toggle("times", (on) => log.classList.toggle("times", on));
    toggle("echo", (on) => {
      log.classList.toggle("echo", on);
      screen.search(search.value);
    });
    toggle("hex", (on) => screen.hex(on ? bytes : null));
    toggle("plot", plot.show);
    action("clear", () => {
      screen.clear();
      plot.clear();
      bytes.clear();
    });
    action("save", () => {
      const link = make("a", { href: URL.createObjectURL(bytes.blob()), download: `${device.name}.log` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    const hits = make("output", { className: "hits" });
    screen.onHits = (text) => (hits.textContent = text);
    search.addEventListener("input", () => screen.search(search.value));
    search.addEventListener("keydown", (event) => event.key === "Enter" && screen.next(event.shiftKey ? -1 : 1));
    tools.append(search, hits);
    return tools;
  }

  function makeSending() {
    const text = make("textarea", { rows: 1, "aria-label": say("text"), autocomplete: "off", spellcheck: false });
    text.autocapitalize = "off";
    const send = make("button", { type: "submit", className: "strong" }, words.send);
    const stop = make("button", { type: "button", hidden: true }, words.stop);
    const names = { lf: "LF", cr: "CR", crlf: "CR LF", none: say("none") };
    const ending = makeSelect(say("ending"), Object.keys(ENDINGS), (key) => names[key]);
    ending.value = device.line_ending ?? "lf";
    const delay = make("input", { type: "number", min: 0, max: 10_000, step: 10, value: PAUSE });
    const pause = make("label", { className: "delay", hidden: true }, say("delay"), delay);
    sending = make("form", { className: "sending" }, text, ending, send, stop, pause);
    const said = [];
    let at = 0;
    const fit = () => {
      text.rows = Math.min(8, text.value.split("\n").length);
      pause.hidden = text.rows === 1;
    };
    const take = (value) => {
      text.value = value;
      fit();
    };
    let stopped = true;
    stop.addEventListener("click", () => (stopped = true));
    sending.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!stopped) return; // there are lines on their way
      card.tell("");
      const lines = text.value.replace(/\n$/, "").split("\n");
      stopped = false;
      stop.hidden = lines.length === 1;
      for (const [index, line] of lines.entries()) {
        if (index) await sleep(delay.valueAsNumber || 0);
        if (stopped) {
          stop.hidden = true;
          return take(lines.slice(index).join("\n"));
        }
        if (!port.send(line + ENDINGS[ending.value])) {
          card.tell(say("gone"), "offline");
          stopped = stop.hidden = true;
          return take(lines.slice(index).join("\n"));
        }
        screen.sent(line);
        if (line && said.at(-1) !== line) said.push(line);
        if (said.length > SAID) said.shift();
      }
      stopped = stop.hidden = true;
      at = said.length;
      take("");
    });
    text.addEventListener("input", fit);
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        sending.requestSubmit();
      }
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!step || !said.length || text.value.includes("\n")) return;
      event.preventDefault();
      at = Math.max(0, Math.min(said.length, at + step));
      take(said[at] ?? "");
    });

    baud = makeSelect(say("rate"), device.baudrates ?? [], (rate) => say("baud", { n: rate }));
    baud.hidden = (device.baudrates ?? []).length < 2;
    baud.addEventListener("change", () => card.act(() => port.setBaudrate(Number(baud.value))));
    const signal = make("button", { type: "button" }, say("break"));
    signal.addEventListener("click", () => card.act(() => port.sendBreak()));
    more = make("p", { className: "sending" }, baud, signal, ...makeFile());
    for (const control of [send, text, signal, baud]) card.guard(control);
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

/** The numbers that the device says, over time, with a legend below. */
function makePlot(label) {
  const canvas = make("canvas", { className: "numbers", role: "img", "aria-label": label });
  const legend = make("ul", { className: "legend" });
  const element = make("div", { hidden: true }, canvas, legend);
  let points = []; // {at, numbers}, the oldest first
  let paused = false;
  let scheduled = false;
  function schedule() {
    if (scheduled || paused || element.hidden) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      if (!paused) drawNumbers(canvas, legend, label, points);
    });
  }
  return {
    element,
    take(line) {
      const numbers = numbersOf(line);
      if (!numbers) return;
      points.push({ at: performance.now() / 1000, numbers });
      if (points.length > MOST_POINTS) points.shift();
      schedule();
    },
    pause(on) {
      paused = on;
      schedule();
    },
    show(on) {
      element.hidden = !on;
      schedule();
    },
    clear() {
      points = [];
      schedule();
    },
  };
}

function makeSelect(label, values, text) {
  const options = values.map((value) => make("option", { value }, text(value)));
  return make("select", { "aria-label": label }, ...options);
}

/** The lines that are seen. Whatever the device says, it is only ever text. */
function makeScreen(log) {
  let lines = []; // {text, parts, element, kind}, the oldest first; parts are texts in a style
  let style = {}; // of what comes next
  let rest = ""; // an escape sequence whose end has not come
  let open = null; // the line that is not ended
  let half = false; // a CR came last, whose LF may follow
  let fresh = new Set(); // lines that the page does not show as they are
  let paused = false;
  let source = null; // the bytes, while they are seen in hexadecimal
  let wanted = ""; // what is searched for
  let found = null; // the line where the search stands
  let scheduled = false;
  let second = 0;
  let count = 0;

  function add(kind, text) {
    const line = { kind, text, parts: text ? [{ text, style: {} }] : [], at: new Date(), element: null };
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
        line.element.lastChild.replaceChildren(...line.parts.map(drawPart));
        mark(line);
      }
      log.append(...added);
      fresh.clear();
      if (wanted) countHits();
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
  const isSeen = ({ kind }) => kind !== "tx" || log.classList.contains("echo");
  const hit = (line) => wanted !== "" && isSeen(line) && line.text.toLowerCase().includes(wanted);
  const mark = (line) => {
    line.element?.classList.toggle("hit", hit(line));
    line.element?.classList.toggle("current", line === found);
  };
  function countHits() {
    const hits = lines.filter(hit);
    const at = hits.indexOf(found) + 1;
    screen.onHits(wanted ? say("hits", { at: at || "–", n: hits.length }) : "");
    return hits;
  }
  function go(line) {
    const before = found;
    found = line;
    for (const each of [before, found]) if (each) mark(each);
    found?.element?.scrollIntoView({ block: "nearest" });
    countHits();
  }

  const screen = {
    onHits: () => {}, // is told what the search has found
    receive(text, ended) {
      text = rest + text;
      rest = UNFINISHED.exec(text)?.[0] ?? "";
      text = text.slice(0, text.length - rest.length).replace(CURSOR, "");
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
        piece.split(STYLE).forEach((part, i) => {
          if (i % 2) style = styled(style, part);
          else if (part) open.parts.push({ text: visible(part), style });
        });
        open.text = open.parts.map((part) => part.text).join("");
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
      found = null;
      lines.forEach(mark);
      go(countHits().at(-1) ?? null);
    },
    next(step) {
      const hits = lines.filter(hit);
      const at = hits.indexOf(found); // -1: it has gone since, and the newest is next
      go(hits.at(at < 0 ? -1 : (at + step) % hits.length) ?? null);
    },
  };
  return screen;
}

/** A style after the numbers of an escape sequence: what colours and weight a terminal would have. */
function styled(style, codes) {
  const numbers = codes.split(/[;:]/).map(Number);
  let made = { ...style };
  for (let i = 0; i < numbers.length; i++) {
    const code = numbers[i];
    const plane = code < 40 || (code >= 90 && code < 100) ? "ink" : "paper";
    if (code === 0) made = {};
    else if (code === 1) made.bold = true;
    else if (code === 3) made.italic = true;
    else if (code === 4) made.underline = true;
    else if (code === 7) made.inverse = true;
    else if (code === 22) delete made.bold;
    else if (code === 23) delete made.italic;
    else if (code === 24) delete made.underline;
    else if (code === 27) delete made.inverse;
    else if (code === 39 || code === 49) delete made[plane];
    else if ((code === 38 || code === 48) && numbers[i + 1] === 5) made[plane] = fromPalette(numbers[(i += 2)]);
    else if ((code === 38 || code === 48) && numbers[i + 1] === 2) {
      made[plane] = `rgb(${numbers.slice(i + 2, i + 5).join(" ")})`;
      i += 4;
    } else if ((code >= 30 && code < 48) || (code >= 90 && code < 108)) {
      made[plane] = PALETTE[(code % 10) + (code >= 90 ? 8 : 0)];
    }
  }
  return made;
}

/** One of a terminal's 256 colours. */
function fromPalette(n) {
  if (n < 16) return PALETTE[n];
  if (n > 231) return `rgb(${Array(3).fill(8 + 10 * (n - 232)).join(" ")})`;
  const level = (step) => (step ? 55 + 40 * step : 0);
  const cube = n - 16;
  return `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})`;
}

/** A part of a line: only ever text. */
function drawPart({ text, style: { bold, italic, underline, inverse, ink, paper } }) {
  if (!(bold || italic || underline || inverse || ink || paper)) return text;
  const part = make("span", {}, text);
  const [front, back] = inverse ? [paper ?? DARK, ink ?? LIGHT] : [ink, paper];
  if (front) part.style.color = front;
  if (back) part.style.backgroundColor = back;
  if (bold) part.style.fontWeight = "bold";
  if (italic) part.style.fontStyle = "italic";
  if (underline) part.style.textDecoration = "underline";
  return part;
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
