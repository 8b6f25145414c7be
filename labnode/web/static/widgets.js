// A card with its control for each device, and one for each task.

import { isFinished } from "./labnode.js";
import { asNumber, asPercent, asText, board, byId, explain, make, words } from "./panel.js";
import { sleep } from "./polling.js";

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
    if (device.confirm) send();
    letGo();
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

function drawSection(title, rows) {
  const heading = make("h2", {}, title ?? words.devices);
  if (title === null) heading.className = "unseen";
  const grids = rows.map((row) => make("div", { className: "grid" }, ...row.map(drawDevice)));
  byId("devices").append(make("section", {}, heading, ...grids));
}

/** The rows of the board's `page:`, then the devices that are in no row by their groups. */
export function drawDevices() {
  const rest = new Map(board.description.devices.map((device) => [device.name, device]));
  const take = (name) => {
    const device = rest.get(name);
    rest.delete(name);
    return device;
  };
  const rows = (board.description.page ?? []).map((row) => row.map(take).filter(Boolean));
  if (rows.length) drawSection(null, rows);
  const groups = new Map();
  for (const device of rest.values()) {
    const group = device.group ?? null;
    groups.set(group, [...(groups.get(group) ?? []), device]);
  }
  for (const [title, devices] of groups) drawSection(title, [devices]);
}

export function drawTasks() {
  const { tasks } = board.description;
  byId("tasks").hidden = !tasks.length;
  byId("tasks").querySelector(".grid").append(...tasks.map(drawTask));
}

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
    if (news?.task_id !== task?.task_id) card.error.textContent = "";
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
    if (task.status === "failed") card.error.textContent = explain(task.error ?? {});
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
