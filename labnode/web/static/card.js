// The card that every device and every task has on the page.

import { board, byId, explain, icon, make, words } from "./panel.js";

const SLOW = 600; // milliseconds after which an answer is late enough to speak of it

/**
 * A card: `element` and its `head`; `act` does something to the board, having asked if it has to;
 * `guard` gives it a control that is off while there is a reason against it (`block`).
 */
export function makeCard({ label, name, confirm, icon: picture }, id, labelTag = "span") {
  const labelId = `${id}-label`;
  const whyId = `${id}-why`;
  const error = make("p", { className: "error", role: "alert" });
  const why = make("p", { className: "why", id: whyId });
  const head = make("div", { className: "head" });
  const title = make(labelTag, { className: "label", id: labelId }, label || name);
  if (picture) title.prepend(icon(picture));
  head.append(title);
  const element = make("div", { className: "card", id }, head);
  const controls = new Map(); // element -> whether it may be used all the same
  const readOnly = board.session.read_only; // an observer's page: there is nothing to do
  let busy = false;
  let reason = "";

  async function act(action, question = confirm) {
    if (busy || readOnly) return;
    busy = true;
    element.setAttribute("aria-busy", "true");
    let late = 0;
    try {
      if (question && !(await agreed(question))) return;
      error.textContent = "";
      late = setTimeout(() => (why.textContent = words["busy"]), SLOW);
      if (!board.online) error.textContent = words["error:offline"];
      else await action();
    } catch (problem) {
      error.textContent = explain(problem);
    } finally {
      clearTimeout(late);
      why.textContent = reason;
      busy = false;
      element.removeAttribute("aria-busy");
    }
  }

  function block(text) {
    reason = text ?? "";
    if (!busy) why.textContent = reason;
    element.classList.toggle("blocked", reason !== "");
    for (const [control, mayBeUsed] of controls) {
      const off = readOnly || (reason !== "" && !mayBeUsed());
      if (control instanceof HTMLButtonElement) control.setAttribute("aria-disabled", String(off));
      else control.disabled = off;
    }
  }

  function guard(control, mayBeUsed = () => false) {
    controls.set(control, mayBeUsed);
    control.setAttribute("aria-describedby", whyId);
    // The first to hear of a click: one that is off does nothing but say why.
    control.addEventListener("click", (event) => {
      if (!readOnly && (reason === "" || mayBeUsed())) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      error.textContent = reason;
    });
    return control;
  }

  board.on("online", () => {
    if (error.textContent === words["error:offline"]) error.textContent = "";
  });
  return { element, head, error, why, labelId, act, block, guard };
}

function agreed(question) {
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
