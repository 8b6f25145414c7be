// The card that every device and every task has on the page.

import { board, byId, explain, make, words } from "./panel.js";

/** A card with its label, its line for errors, and `act`, which does something to the board. */
export function makeCard({ label, name, confirm }, id, labelTag = "span") {
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
