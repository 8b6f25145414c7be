// Sending a file to a device, and following what it does with it.

import { LabError, readAgain } from "./labnode.js";
import { asPercent, board, explain, fill, make, words } from "./panel.js";
import { makeProgress } from "./tasks.js";
import { register } from "./widgets.js";

register("upload", drawUpload);

function drawUpload(device, card) {
  const { name } = device;
  const accept = device.accept ?? [];
  const field = make("input", { type: "file", id: `file-${name}`, accept: accept.join(","), className: "unseen" });
  const chosen = make("span", { className: "chosen" }, words["no-file"]);
  const choose = make("label", { className: "button plain", htmlFor: field.id }, words.choose);
  const drop = make("div", { className: "drop" }, field, choose, chosen);
  const send = make("button", { type: "button", className: "strong", id: `send-${name}` }, words.program);
  send.setAttribute("aria-labelledby", `${send.id} ${card.labelId}`);
  field.setAttribute("aria-label", `${words.choose}: ${device.label || name}`);
  card.guard(field);
  const progress = makeProgress(card, `stop-${name}`);
  const taskName = `${name}.program`;
  const blank = device.blank ? make("button", { type: "button" }, words.blank) : null;
  let file = null;

  async function take([given]) {
    if (!given) return;
    card.tell("");
    file = null;
    try {
      await read(given);
      file = given;
    } catch (problem) {
      card.tell(explain(problem));
    }
    field.value = ""; // so that the same file can be chosen again
    update();
  }
  /** What is in a file now, if it can be sent. */
  async function read(given) {
    const content = await readAgain(given);
    chosen.textContent = `${content.name} · ${asSize(content.size)}`;
    const wrong = whyNot(content);
    if (wrong) throw new LabError("", wrong);
    return content;
  }
  /** Why a file cannot be sent, or "". */
  function whyNot({ name, size }) {
    const fits = accept.length === 0 || accept.some((end) => name.toLowerCase().endsWith(end));
    if (!fits) return fill(words["wrong-file"], { accept: accept.join(", ") });
    return size > device.max_size ? fill(words["large-file"], { max: asSize(device.max_size) }) : "";
  }
  function update() {
    const off = file === null || progress.busy || card.element.classList.contains("blocked");
    send.setAttribute("aria-disabled", String(off));
    const blocked = card.element.classList.contains("blocked") || board.session.read_only;
    blank?.setAttribute("aria-disabled", String(progress.busy || blocked));
  }
  field.addEventListener("change", () => take(field.files));
  for (const event of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(event, (happening) => {
      happening.preventDefault();
      drop.classList.toggle("over", event === "dragover");
      if (event === "drop") take(happening.dataTransfer.files);
    });
  }
  send.addEventListener("click", () => {
    if (send.getAttribute("aria-disabled") === "true") return;
    card.act(async () => {
      const content = await read(file);
      progress.bar.hidden = false;
      const task = await board.upload(name, content, (share) => {
        progress.bar.value = share * 100;
        progress.state.textContent = `${words.sending} ${asPercent(share)}`;
      });
      show(board.tasks.get(taskName) ?? task);
    });
  });
  function show(task) {
    progress.follow(task);
    update();
  }
  board.on("task", (task) => task.name === taskName && show(task));
  show(board.tasks.get(taskName) ?? null);
  card.head.append(progress.state);
  const buttons = make("p", { className: "buttons" }, send, progress.stop);
  if (blank) {
    card.guard(blank);
    blank.addEventListener("click", () => progress.busy || card.act(() => progress.busy || board.blank(name)));
    buttons.append(blank);
  }
  card.element.append(drop, progress.bar, progress.log, progress.result, buttons);
  return update;
}

function asSize(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
