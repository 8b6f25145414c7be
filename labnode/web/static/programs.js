// What lets a program of the student's use the lab, until the session ends or they withdraw it.

import { board, explain, make, words } from "./panel.js";

/** The part of the page where the student lets programs in, and shuts them out again. */
export function drawPrograms() {
  const allow = make("button", { type: "button", id: "programs-allow" }, words["programs-allow"]);
  const file = make("a", { href: board.url("api/labnode_client.py"), download: "" }, "labnode_client.py");
  const address = make("input", { type: "text", readOnly: true, spellcheck: false });
  address.setAttribute("aria-label", words["programs-address"]);
  address.addEventListener("focus", () => address.select());
  const withdraw = make("button", { type: "button", id: "programs-withdraw" }, words["programs-withdraw"]);
  const allowed = make("div", { className: "line" }, file, address, withdraw);
  const error = make("p", { className: "error", role: "alert" });
  const said = make("p", { role: "status" });
  const summary = make("summary", {}, "Python");
  const details = make("details", { id: "programs", "aria-label": "Python" }, summary, said, allow, allowed, error);

  const act = (action) => async () => {
    error.textContent = "";
    try {
      await action();
    } catch (problem) {
      error.textContent = explain(problem);
    }
  };
  function show(url) {
    said.textContent = words[url === null ? "programs-off" : "programs-on"];
    allow.hidden = url !== null;
    allowed.hidden = url === null;
    address.value = url ?? "";
  }
  const giveKey = act(async () => show(await board.allowPrograms()));
  allow.addEventListener("click", giveKey);
  withdraw.addEventListener(
    "click",
    act(async () => {
      await board.forbidPrograms();
      show(null);
    }),
  );
  show(null);
  if (board.session.programs) giveKey(); // the address of the key that there is
  return details;
}
