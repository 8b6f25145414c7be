// Draws the generated page of a board from its description: a control per device and per task.

import { Board, isFinished, sleep } from "./labnode.js";

const boot = JSON.parse(document.getElementById("boot").textContent);
const { words, language } = boot;
const board = new Board(boot);
const byId = (id) => document.getElementById(id);

/** An element with properties (or attributes) and children; text is only ever text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// --- devices ---------------------------------------------------------------------------------

/** By `widget` of a description: what is drawn into the device's card, and how it follows. */
const widgets = { switch: drawSwitch, lamp: drawLamp, slider: drawSlider, value: drawValue };

function drawSwitch(device, card) {
  const state = make("span", { className: "state", "aria-hidden": "true" });
  const button = make("button", {
    type: "button",
    className: "toggle",
    role: "switch",
    "aria-labelledby": card.labelId,
  });
  button.addEventListener("click", () =>
    card.act(() => board.command(device.name, "set", [!board.devices[device.name].value])),
  );
  card.head.append(state, button);
  return ({ value }) => {
    state.textContent = asText(value);
    button.setAttribute("aria-checked", String(Boolean(value)));
  };
}

function drawLamp(device, card) {
  const state = make("span", { className: "state" });
  const led = make("span", { className: "led", "aria-hidden": "true" });
  card.head.append(state, led);
  return ({ value }) => {
    state.textContent = asText(value);
    led.dataset.lit = value === null ? "unknown" : String(Boolean(value));
  };
}

function drawSlider(device, card) {
  const min = device.min ?? 0;
  const max = device.max ?? 1;
  const step = device.step ?? (max - min) / 100;
  const output = make("output", { className: "state" });
  const input = make("input", { type: "range", min, max, step, "aria-labelledby": card.labelId });
  let wanted = null; // the newest position that is not sent yet
  let sending = false;
  let held = false; // the student has a hand on it: it must not move away by itself

  function show(value) {
    const text = asNumber(value, device, step);
    output.textContent = text;
    input.setAttribute("aria-valuetext", text);
    input.style.setProperty("--share", Math.max(0, (value - min) / (max - min)));
  }
  function follow({ value }) {
    if (held || sending) return;
    input.value = value ?? min;
    show(value ?? min);
  }
  async function send() {
    wanted = input.valueAsNumber;
    if (sending) return; // the loop below takes it along
    sending = true;
    await card.act(async () => {
      while (wanted !== null) {
        const value = wanted;
        wanted = null;
        await board.command(device.name, "set", [value]);
        await sleep(40);
      }
    });
    wanted = null;
    sending = false;
    follow(board.devices[device.name].state);
  }
  function letGo() {
    held = false;
    follow(board.devices[device.name].state);
  }
  input.addEventListener("input", () => {
    held = true;
    show(input.valueAsNumber);
    if (!device.confirm) send();
  });
  input.addEventListener("change", () => {
    held = false;
    if (device.confirm) send();
  });
  for (const event of ["pointercancel", "blur"]) input.addEventListener(event, letGo);
  card.head.append(output);
  card.element.append(input);
  return follow;
}

function drawValue(device, card) {
  const state = make("span", { className: "state reading" });
  card.head.append(state);
  return ({ value }) => {
    state.textContent = typeof value === "number" ? asNumber(value, device) : asText(value);
  };
}

/** Commands without arguments that the widget does not offer itself: each gets a button. */
function otherCommands({ widget, min, commands = [] }) {
  const covered = { switch: ["on", "off", "toggle"], slider: min > 0 ? ["on"] : ["on", "off"] };
  return commands.filter(
    ({ name, parameters }) => !parameters.length && !covered[widget]?.includes(name),
  );
}

function drawDevice(device) {
  const card = makeCard(device, `device-${device.name}`);
  card.element.dataset.device = device.name;
  card.element.classList.add(device.widget in widgets ? device.widget : "value");
  const follow = (widgets[device.widget] ?? drawValue)(device, card);
  const buttons = otherCommands(device).map(({ name }) => {
    const text = name === "off" ? words.off : name.replaceAll("_", " ");
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => card.act(() => board.command(device.name, name)));
    return button;
  });
  if (buttons.length) card.element.append(make("p", { className: "buttons" }, ...buttons));
  card.element.append(card.error);
  follow(board.devices[device.name].state);
  board.on("change", (name, state) => name === device.name && follow(state));
  return card.element;
}

/** Rows of the board's `page:`, else the groups of devices, as [title or null, devices]. */
function sections() {
  const { devices, page } = board.description;
  if (page) {
    const named = new Map(devices.map((device) => [device.name, device]));
    return page.map((row) => [null, row.map((name) => named.get(name)).filter(Boolean)]);
  }
  const groups = new Map();
  for (const device of devices) {
    const group = device.group ?? null;
    groups.set(group, [...(groups.get(group) ?? []), device]);
  }
  return [...groups];
}

function drawDevices() {
  for (const [title, devices] of sections()) {
    const heading = make("h2", {}, title ?? words.devices);
    if (!title) heading.className = "unseen";
    const grid = make("div", { className: "grid" }, ...devices.map(drawDevice));
    byId("devices").append(make("section", {}, heading, grid));
  }
}

// --- tasks -----------------------------------------------------------------------------------

function drawTask(description) {
  const card = makeCard(description, `task-${description.name}`, "h3");
  card.element.dataset.task = description.name;
  card.element.classList.add("task");
  const startId = `start-${description.name}`;
  const stopId = `stop-${description.name}`;
  const start = make("button", { type: "button", id: startId, className: "strong start" }, words.start);
  const stop = make("button", { type: "button", id: stopId, className: "stop" }, words.stop);
  start.setAttribute("aria-labelledby", `${startId} ${card.labelId}`);
  stop.setAttribute("aria-labelledby", `${stopId} ${card.labelId}`);
  const state = make("span", { className: "state" });
  const progress = make("progress", { max: 100, "aria-labelledby": card.labelId });
  const result = make("p", { className: "result", role: "status" });
  let task = board.tasks.get(description.name) ?? null;

  function follow(news) {
    task = news;
    const busy = task !== null && !isFinished(task);
    start.setAttribute("aria-disabled", String(busy));
    stop.setAttribute("aria-disabled", String(!busy || task.stopping));
    card.element.dataset.status = task?.status ?? "";
    progress.hidden = task === null;
    if (task === null) return;
    const percent = task.status === "done" ? 100 : task.data?.percent;
    if (typeof percent === "number") progress.value = percent;
    else if (busy) progress.removeAttribute("value"); // somewhere, nobody knows where
    else progress.value = 0;
    const doing = busy && task.stopping ? words.stopping : words[task.status];
    state.textContent =
      busy && typeof percent === "number" ? `${doing} ${asPercent(percent / 100)}` : doing;
    result.textContent = task.status === "done" ? asResult(task.result) : "";
    card.error.textContent = task.status === "failed" ? explain(task.error ?? {}) : "";
  }

  start.addEventListener("click", () => {
    if (task === null || isFinished(task)) card.act(() => board.task(description.name));
  });
  stop.addEventListener("click", () => {
    if (task !== null && !isFinished(task) && !task.stopping)
      card.act(() => board.stopTask(task), null);
  });
  board.on("task", (news) => news.name === description.name && follow(news));
  card.head.append(state);
  const buttons = make("p", { className: "buttons" }, start, stop);
  card.element.append(progress, result, card.error, buttons);
  follow(task);
  return card.element;
}

function asResult(result) {
  if (result === null || result === undefined) return "";
  return typeof result === "string" ? result : JSON.stringify(result, null, 2);
}

// --- what all cards share --------------------------------------------------------------------

/** A card with its label, its line for errors, and `act`, which does something to the board. */
function makeCard({ label, name, confirm }, id, labelTag = "span") {
  const labelId = `${id}-label`;
  const error = make("p", { className: "error", role: "alert" });
  const head = make("div", { className: "head" });
  head.append(make(labelTag, { className: "label", id: labelId }, label || name));
  const element = make("div", { className: "card", id }, head);
  let busy = false;

  async function act(action, question = confirm) {
    if (busy) return;
    busy = true;
    element.setAttribute("aria-busy", "true");
    try {
      if (question && !(await agreed(question))) return;
      error.textContent = "";
      if (!board.online) error.textContent = words["error:offline"];
      else await action();
    } catch (problem) {
      error.textContent = explain(problem);
    } finally {
      busy = false;
      element.removeAttribute("aria-busy");
    }
  }
  board.on("online", () => {
    if (error.textContent === words["error:offline"]) error.textContent = "";
  });
  return { element, head, error, labelId, act };
}

function agreed(question) {
  const dialog = byId("question");
  byId("question-text").textContent = typeof question === "string" ? question : words.confirm;
  dialog.returnValue = "no"; // what Escape leaves behind
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** The lab's own sentence, which is in English, unless there is one in the student's language. */
function explain({ code, message }) {
  const translated = words[`error:${code}`];
  return (language === "en" ? message || translated : translated || message) || words.error;
}

function asText(value) {
  if (value === null || value === undefined) return words["no-value"];
  if (typeof value === "boolean") return value ? words.on : words.off;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function asPercent(share) {
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(share);
}

/** A number with its unit; a share of 1 reads better as a percentage. */
function asNumber(value, { unit, min, max }, step = 0.001) {
  if (!unit && min >= 0 && max <= 1) return asPercent(value);
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step))));
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
  return unit ? `${number} ${unit}` : number;
}

// --- the session -----------------------------------------------------------------------------

/** A line above the board; with the same name it replaces the one before, null takes it away. */
function notice(name, text, kind = "") {
  const old = byId(`notice-${name}`);
  if (text === null) old?.remove();
  if (text === null || old?.firstChild.textContent === text) return;
  const line = make("p", { id: `notice-${name}`, className: `notice ${kind}` }, make("span", {}, text));
  if (kind === "told") {
    const dismiss = make("button", { type: "button" }, words.dismiss);
    dismiss.addEventListener("click", () => line.remove());
    line.append(dismiss);
  }
  if (old) old.replaceWith(line);
  else byId("notices").append(line);
}

function drawClock() {
  const left = Math.ceil(board.timeLeft);
  const minutes = Math.floor(left / 60);
  const parts = minutes < 60 ? [minutes] : [Math.floor(minutes / 60), pad(minutes % 60)];
  const clock = byId("clock");
  const text = [...parts, pad(left % 60)].join(":");
  if (clock.textContent !== text) clock.textContent = text;
  const late = left < 60;
  clock.parentElement.classList.toggle("late", late);
  notice("time", late ? words["last-minute"] : null, "warn");
  if (left === 0) board.hurry();
}

const pad = (number) => String(number).padStart(2, "0");

function farewell({ reason, back }) {
  clearInterval(ticking);
  byId("lab").remove();
  byId("over").hidden = false;
  byId("over-reason").textContent = words[`over:${reason}`] ?? "";
  document.title = words.over;
  document.querySelector("#over h1").focus();
  if (!/^https?:/i.test(back ?? "")) return;
  const link = byId("back");
  link.href = back;
  link.hidden = false;
  byId("over-close").remove();
  location.replace(back); // the link stays for a browser that does not get there
}

/** Tell a screen reader what lamps do, but not of one that blinks. */
function sayLamps() {
  const lamps = new Map(
    board.description.devices.filter((each) => each.widget === "lamp").map((each) => [each.name, each]),
  );
  const changes = new Map(); // name -> times of its last changes
  const news = new Map();
  board.on("change", (name, { value }) => {
    if (!lamps.has(name)) return;
    const now = performance.now();
    const recent = [...(changes.get(name) ?? []), now].filter((time) => now - time < 10_000);
    changes.set(name, recent);
    if (recent.length > 3) news.delete(name);
    else news.set(name, `${lamps.get(name).label || name}: ${asText(value)}`);
    setTimeout(() => {
      if (news.size) byId("said").textContent = [...news.values()].join(". ");
      news.clear();
    }, 300);
  });
}

byId("leave").addEventListener("click", async ({ target }) => {
  target.setAttribute("aria-busy", "true");
  notice("leave", null);
  try {
    await board.leave();
  } catch (problem) {
    notice("leave", explain(problem), "bad");
  }
  target.removeAttribute("aria-busy");
});

function tellRestart(session) {
  if (session.restarted) notice("restarted", words.restarted, "told");
}

board.on("offline", () => {
  document.body.classList.add("offline");
  notice("offline", words.offline, "bad");
});
board.on("online", () => {
  document.body.classList.remove("offline");
  notice("offline", null);
  byId("said").textContent = words.online;
});
board.on("session", (session) => {
  tellRestart(session);
  drawClock();
});
board.on("over", farewell);

drawDevices();
sayLamps();
if (board.description.tasks.length) {
  byId("tasks").hidden = false;
  byId("tasks").querySelector(".grid").append(...board.description.tasks.map(drawTask));
}
board.description.problems?.forEach((text, i) => notice(`problem-${i}`, String(text), "warn"));
tellRestart(board.session);
drawClock();
const ticking = setInterval(drawClock, 250);
board.start();
