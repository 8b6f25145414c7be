// A card for each task: start, progress, result, error, stop.

import { makeCard } from "./card.js";
import { isFinished } from "./labnode.js";
import { asPercent, board, byId, explain, make, words } from "./panel.js";

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
