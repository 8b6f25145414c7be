// Sending files to a device, and following what it does with them.

import { isFinished, LabError, readAgain } from "./labnode.js";
import { notice } from "./notices.js";
import { asPercent, board, explain, fill, language, make, words } from "./panel.js";
import { asResult, isStopped, makeProgress } from "./tasks.js";
import { register } from "./widgets.js";

register("upload", drawUpload);

const MOST = 20; // files that a page keeps
const READ = 5000; // milliseconds that the bar on top says how it has ended

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
  const progress = makeProgress(card, `stop-${name}`, asWritten);
  const sent = makeList(card.labelId, (content) => sendContent(() => content));
  for (const file of board.files.filter(({ device: to }) => to === name)) sent.add(file, board.age({ sampled: file.at }));
  const taskName = `${name}.program`;
  const blank = device.blank ? make("button", { type: "button" }, words.blank) : null;
  const isOff = () => progress.busy || card.element.classList.contains("blocked") || board.session.read_only;
  let file = null;
  let fading = 0;

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
    chosen.title = chosen.textContent = `${content.name} · ${asSize(content.size)}`;
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
  function sendContent(getContent) {
    card.act(async () => {
      if (isOff()) return;
      try {
        const content = await getContent();
        const task = await board.upload(name, content, (share) => {
          progress.bar.hidden = false;
          progress.bar.value = share * 100;
          progress.state.textContent = `${words.sending} ${asPercent(share)}`;
          tellBar("doing");
        });
        sent.add(content);
        show(board.tasks.get(taskName) ?? task);
      } catch (problem) {
        notice(`upload-${name}`, null);
        show(board.tasks.get(taskName) ?? null);
        throw problem;
      }
    });
  }
  function update() {
    send.setAttribute("aria-disabled", String(file === null || isOff()));
    blank?.setAttribute("aria-disabled", String(isOff()));
    sent.update(isOff());
  }
  /** What goes on is seen wherever one is on the page. */
  function tellBar(kind) {
    clearTimeout(fading);
    notice(`upload-${name}`, `${device.label || name}: ${progress.state.textContent}`, kind);
  }
  function show(task) {
    const wasBusy = progress.busy;
    progress.follow(task);
    if (progress.busy) tellBar("doing");
    else if (wasBusy && isFinished(task)) {
      tellBar(task.status === "done" || isStopped(task) ? "doing" : "bad");
      fading = setTimeout(notice, READ, `upload-${name}`, null);
    }
    update();
  }

  field.addEventListener("change", () => take(field.files));
  for (const event of ["dragover", "dragleave", "drop"]) {
    card.element.addEventListener(event, (happening) => {
      happening.preventDefault();
      if (field.disabled || card.element.contains(happening.relatedTarget)) return;
      card.element.classList.toggle("over", event === "dragover");
      if (event === "drop") take(happening.dataTransfer.files);
    });
  }
  send.addEventListener("click", () => {
    if (send.getAttribute("aria-disabled") === "false") sendContent(() => read(file));
  });
  board.on("task", (task) => task.name === taskName && show(task));
  show(board.tasks.get(taskName) ?? null);
  card.head.append(progress.state);
  const buttons = make("p", { className: "buttons" }, send, progress.stop);
  if (blank) {
    card.guard(blank);
    blank.addEventListener("click", () => isOff() || card.act(() => isOff() || board.blank(name)));
    buttons.append(blank);
  }
  card.element.append(drop, progress.bar, progress.log, buttons, sent.element);
  return update;
}

/** The files that were sent in this session; `again` sends one that this page still has. */
function makeList(labelId, again) {
  const summary = make("summary", {}, fill(words.sent, { n: 0 }));
  const list = make("ul", {});
  const element = make("details", { className: "sent", "aria-labelledby": labelId }, summary, list);
  let files = []; // {content, line, button}, the newest first
  let off = false;

  /** `content`, a File or what the lab knows of one, was sent some seconds ago. */
  function add(content, age = 0) {
    const time = new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(Date.now() - age * 1000);
    const button = make("button", { type: "button" }, words["send-again"]);
    button.setAttribute("aria-label", `${words["send-again"]}: ${content.name}, ${time}`);
    button.addEventListener("click", () => off || again(content));
    const about = make("span", {}, `${content.name} · ${asSize(content.size)} · ${time}`);
    const line = make("li", {}, about, ...(content instanceof File ? [button] : []));
    files = [{ content, line, button }, ...files.filter((each) => each.content !== content)].slice(0, MOST);
    list.replaceChildren(...files.map((each) => each.line));
    summary.textContent = fill(words.sent, { n: files.length });
  }
  function update(isOff) {
    off = isOff;
    for (const { button } of files) button.setAttribute("aria-disabled", String(off));
  }
  return { element, add, update };
}

function asWritten(result) {
  if (typeof result?.seconds !== "number") return asResult(result);
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(result.seconds);
  return fill(words.written, { n: number });
}

function asSize(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
