// The card that every device and every task has on the page.

import { isFinished, LabError } from "./labnode.js";
import { board, byId, explain, icon, make, words } from "./panel.js";

const SLOW = 600; // milliseconds after which an answer is late enough to speak of it
const MOST = 16; // actions of a card that wait for each other
const READ = 10_000; // milliseconds that a refusal is shown whose cause may be over
const PASSING = ["interlocked", "busy", "already-running", "timeout"];

/**
 * A card: `element` and its `head`; `act` does something to the board, having asked if it has to,
 * and `put` brings its device to a value;
 * `guard` gives it a control that is off while there is a reason against it (`block`). What it has
 * to say stands in its `slot`: what went wrong (`tell`), else why it cannot be used.
 */
export function makeCard({ label, name, confirm, icon: picture }, id, labelTag = "span") {
  const labelId = `${id}-label`;
  const whyId = `${id}-why`;
  const error = make("p", { className: "error", role: "alert" });
  const why = make("p", { className: "why", id: whyId, role: "status" });
  const slot = make("div", { className: "slot" }, error, why);
  const head = make("div", { className: "head" });
  const title = make(labelTag, { className: "label", id: labelId }, label || name);
  if (picture) title.prepend(icon(picture));
  head.append(title);
  const element = make("div", { className: "card", id }, head);
  const controls = new Map(); // element -> whether it may be used all the same
  const readOnly = board.session.read_only; // an observer's page: there is nothing to do
  let running = 0; // actions without an answer
  let waiting = 0; // actions that take their turns, the one that runs included
  let last = Promise.resolve();
  let late = 0;
  let fading = 0;
  let reason = "";
  let cause = ""; // the code of what went wrong
  let held = false; // a rule of the board keeps the device as it is

  /** Do something to the board, after what was asked for before. */
  async function act(action, question = confirm) {
    if (readOnly || !(await agreed(question))) return;
    if (waiting >= MOST) return tell(words["error:busy"], "busy");
    waiting++;
    last = last.then(() => attempt(action));
    await last;
    waiting--;
  }

  /** Bring the device, or one of its bits, to a value: the page shows it at once. */
  async function put(value, bit) {
    if (readOnly || !(await agreed(confirm))) return;
    if (!(await attempt(() => board.put(name, value, bit)))) shake();
  }

  async function attempt(action) {
    tell("");
    if (++running === 1) late = setTimeout(() => (why.textContent = words.busy), SLOW);
    element.setAttribute("aria-busy", "true");
    try {
      if (!board.online) throw new LabError("offline");
      await action();
      return true;
    } catch (problem) {
      tell(explain(problem), problem.code);
      return false;
    } finally {
      if (--running === 0) {
        clearTimeout(late);
        sayReason();
        element.removeAttribute("aria-busy");
      }
    }
  }

  /** What was refused goes back, and one sees that it does. */
  function shake() {
    element.classList.remove("refused");
    requestAnimationFrame(() => element.classList.add("refused"));
  }

  /** Say what went wrong, until the next action or until `code`, its cause, is over. */
  function tell(text, code = "") {
    clearTimeout(fading);
    const known = code === "interlocked" && reason !== ""; // it is said already
    error.textContent = known ? "" : text;
    cause = text && code;
    if (PASSING.includes(code)) fading = setTimeout(tell, READ, "");
  }

  function sayReason() {
    why.replaceChildren(...(held ? [icon("lock")] : []), reason);
  }

  /** There is a reason against using it, or "" for none; with `hold` no command is taken at all. */
  function block(text, hold = false) {
    if (cause && (text === "") !== (reason === "")) tell("");
    [reason, held] = [text, hold];
    if (!running) sayReason();
    element.classList.toggle("blocked", reason !== "");
    element.classList.toggle("held", held);
    for (const [control, mayBeUsed] of controls) {
      const off = readOnly || !mayUse(mayBeUsed);
      if (control instanceof HTMLButtonElement) control.setAttribute("aria-disabled", String(off));
      else control.disabled = off;
    }
  }

  function mayUse(mayBeUsed) {
    return reason === "" || (!held && mayBeUsed());
  }

  function guard(control, mayBeUsed = () => false) {
    controls.set(control, mayBeUsed);
    control.setAttribute("aria-describedby", whyId);
    element.classList.toggle("usable", !readOnly);
    // The first to hear of a click: one that is off does nothing but say why.
    control.addEventListener("click", (event) => {
      if (!readOnly && mayUse(mayBeUsed)) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      sayReason();
      shake();
    });
    return control;
  }

  board.on("online", () => cause === "offline" && tell(""));
  board.on("task", (task) => isFinished(task) && ["busy", "already-running"].includes(cause) && tell(""));
  return { element, head, error, slot, labelId, act, put, block, guard, tell };
}

/** Whether a person says yes to a question: a text, true for the usual one; without one they do. */
export function agreed(question) {
  if (!question) return true;
  const dialog = byId("question") ?? makeDialog();
  byId("question-text").textContent = typeof question === "string" ? question : words.confirm;
  dialog.returnValue = "no"; // what Escape leaves behind
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function makeDialog() {
  const answers = [
    make("button", { value: "no" }, words.no),
    make("button", { value: "yes", className: "strong" }, words.yes),
  ];
  const text = make("p", { id: "question-text" });
  const form = make("form", { method: "dialog" }, text, make("p", { className: "buttons" }, ...answers));
  const dialog = make("dialog", { id: "question", "aria-labelledby": "question-text" }, form);
  document.body.append(dialog);
  return dialog;
}
