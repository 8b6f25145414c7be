// A card for each task: start, progress, result, error, stop.

import { makeCard } from "./card.js";
import { isFinished } from "./labnode.js";
import { asPercent, asText, board, explain, fill, make, words } from "./panel.js";

/** The card of a task that the student may start. */
export function drawTask(description) {
  const { name } = description;
  const card = makeCard(description, `task-${name}`, "h3");
  card.element.dataset.task = name;
  card.element.dataset.widget = "task";
  const startId = `start-${name}`;
  const start = make("button", { type: "button", id: startId, className: "strong start" }, words.start);
  start.setAttribute("aria-labelledby", `${startId} ${card.labelId}`);
  const progress = makeProgress(card, `stop-${name}`);
  const fields = (description.parameters ?? []).map((each) => makeField(each, name));
  start.addEventListener("click", () => {
    if (progress.busy || !fields.every(({ control }) => control.reportValidity())) return;
    const given = fields.map((field) => [field.name, field.value]).filter(([, value]) => value !== undefined);
    card.act(() => progress.busy || board.task(name, Object.fromEntries(given)));
  });
  const follow = (task) => {
    progress.follow(task);
    start.setAttribute("aria-disabled", String(progress.busy || board.session.read_only));
  };
  board.on("task", (task) => task.name === name && follow(task));
  const buttons = make("p", { className: "buttons" }, start, progress.stop);
  card.head.append(progress.state);
  if (fields.length) card.element.append(make("p", { className: "fields" }, ...fields.map(({ element }) => element)));
  card.element.append(progress.bar, progress.log, card.slot, buttons);
  follow(board.tasks.get(name) ?? null);
  return card.element;
}

/** A field for an argument; its value is undefined where the task has a default and nothing is given. */
function makeField({ name, type, choices, default: usual, min, max }, task) {
  const required = usual === undefined;
  const id = `${task}-${name}`;
  const range = min === undefined ? "at-most" : max === undefined ? "at-least" : "range";
  const limited = min !== undefined || max !== undefined;
  const hint = limited ? ` (${fill(words[range], { min, max })})` : "";
  let control;
  if (choices) control = make("select", { id }, ...choices.map((each) => make("option", {}, String(each))));
  else if (type === "bool") control = make("input", { id, type: "checkbox", checked: Boolean(usual) });
  else {
    const number = type === "int" || type === "float";
    const limits = Object.entries({ min, max }).filter(([, limit]) => limited && limit !== undefined);
    const more = number ? { type: "number", step: type === "int" ? 1 : "any", ...Object.fromEntries(limits) } : {};
    control = make("input", { id, type: "text", autocomplete: "off", required, ...more });
  }
  if (type !== "bool") control.value = usual ?? (choices ? choices[0] : "");
  control.disabled = board.session.read_only;
  const text = name.replaceAll("_", " ");
  const label = make("label", { htmlFor: id }, text[0].toUpperCase() + text.slice(1) + hint);
  return {
    name,
    control,
    element: make("span", { className: "field" }, label, control),
    get value() {
      if (type === "bool") return control.checked;
      if (choices) return choices[control.selectedIndex];
      if (control.value === "") return required ? "" : undefined;
      const isNumber = type === "int" || type === "float" || (type === "any" && Number.isFinite(Number(control.value)));
      return isNumber ? Number(control.value) : control.value;
    },
  };
}

/** What shows how far a task is, in a card: its `follow` gets each news of it. */
export function makeProgress(card, stopId, write = asResult) {
  const stop = make("button", { type: "button", id: stopId, className: "stop" }, words.stop);
  stop.setAttribute("aria-labelledby", `${stopId} ${card.labelId}`);
  const state = make("span", { className: "state" });
  const bar = make("progress", { max: 100, "aria-labelledby": card.labelId });
  const log = make("pre", { className: "log", tabIndex: 0, role: "group", "aria-label": words.output });
  const result = make("p", { className: "result", role: "status" });
  card.slot.append(result);
  let task = null;
  const isBusy = () => task !== null && !isFinished(task);

  stop.addEventListener("click", () => {
    if (isBusy() && !task.stopping) card.act(() => isBusy() && board.stopTask(task), null);
  });

  function follow(news) {
    if (news?.task_id !== task?.task_id) card.tell("");
    task = news;
    const busy = isBusy();
    const stoppable = busy && !task.stopping && !board.session.read_only;
    stop.setAttribute("aria-disabled", String(!stoppable));
    const status = isStopped(task) ? "stopped" : (task?.status ?? "");
    card.element.dataset.status = status;
    bar.hidden = task === null;
    showLog(task?.data?.log);
    state.textContent = result.textContent = "";
    if (task === null) return;
    const percent = task.status === "done" ? 100 : task.data?.percent;
    if (typeof percent === "number") bar.value = percent;
    else if (busy) bar.removeAttribute("value"); // somewhere, nobody knows where
    else bar.value = 0;
    const doing = busy && task.stopping ? words.stopping : words[status];
    state.textContent =
      busy && typeof percent === "number" ? `${doing} ${asPercent(percent / 100)}` : doing;
    if (status === "done") result.textContent = write(task.result);
    if (status === "failed") card.tell(explain(task.error ?? {}));
  }

  /** The lines that the task has written; the newest is in sight unless one reads others. */
  function showLog(lines) {
    const text = Array.isArray(lines) ? lines.join("\n") : (lines ?? "");
    log.hidden = text === "";
    if (log.textContent === text) return;
    const atEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 8;
    log.textContent = text;
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  return {
    bar,
    follow,
    log,
    result,
    state,
    stop,
    get busy() {
      return isBusy();
    },
  };
}

/** Whether a task has ended because that was asked for. */
export function isStopped(task) {
  return task?.status === "failed" && task.error?.code === "stopped";
}

/** A result in words: a line for each part of an object. */
export function asResult(result) {
  if (result === null || result === undefined) return "";
  if (Array.isArray(result)) return result.map(asText).join(", ");
  if (typeof result !== "object") return asText(result);
  return Object.entries(result).map(([name, part]) => `${name}: ${asText(part)}`).join("\n");
}
