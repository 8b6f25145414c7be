// The page of a board: the session around the cards that layout.js draws. A page of a lab's own may
// leave out whatever it likes.

import { agreed } from "./card.js";
import { drawBoard, recordingLinks } from "./layout.js";
import { notice } from "./notices.js";
import { asText, board, byId, explain, fill, icon, inWords, make, words } from "./panel.js";
import { drawPrograms } from "./programs.js";

const READ = 8; // seconds for the farewell, before the student is sent back

/** For screen readers alone. */
function say(text) {
  const said = byId("said");
  if (said) said.textContent = text; // it has gone when the session is over
}

let title = document.title;
let titled = title; // as it was written here
let late = board.timeLeft < 60;

/** The time before the title, which a page of the lab's own may change. */
function drawTitle(time) {
  if (document.title !== titled) title = document.title;
  titled = time ? `${time} · ${title}` : title;
  if (document.title !== titled) document.title = titled;
}

function drawClock() {
  const left = Math.ceil(board.timeLeft);
  const minutes = Math.floor(left / 60);
  const parts = minutes < 60 ? [minutes] : [Math.floor(minutes / 60), pad(minutes % 60)];
  const clock = byId("clock");
  const text = [...parts, pad(left % 60)].join(":");
  if (clock && clock.textContent !== text) clock.textContent = text;
  if (left < 60 && !late) beep();
  late = left < 60;
  drawTitle(late ? text : "");
  clock?.parentElement.classList.toggle("late", late);
  notice("time", late ? words["last-minute"] : null, "warn");
  if (left === 0) board.hurry();
}

/** A sound, where the browser allows one: the student has used the page. */
function beep() {
  if (!navigator.userActivation?.hasBeenActive) return;
  const audio = new AudioContext();
  const [tone, volume] = [audio.createOscillator(), audio.createGain()];
  volume.gain.value = 0.1;
  tone.frequency.value = 880;
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.3);
  tone.onended = () => audio.close();
}

const pad = (number) => String(number).padStart(2, "0");

/** What the board's interlocks have to say; those that are latched wait for a person of the lab. */
function drawFaults(faults) {
  const names = new Set(faults.map(({ name }) => `notice-fault-${name}`));
  for (const old of document.querySelectorAll('[id^="notice-fault-"]')) if (!names.has(old.id)) old.remove();
  for (const { name, message, latched } of faults) {
    const text = inWords(message);
    notice(`fault-${name}`, latched ? `${text} ${words.latched}` : text, "bad");
  }
}

/** What a sequence of the board says; the newest takes the place of the one before. */
function drawNotice(text) {
  notice("lab", inWords(text), "told");
}

function farewell({ reason, back }) {
  clearInterval(ticking);
  if (!byId("over")) {
    location.reload(); // a page of the lab's own has no farewell: the lab has one
    return;
  }
  byId("lab").remove();
  byId("over").hidden = false;
  byId("over-reason").textContent = words[`over:${reason}`] ?? "";
  const recorded = recordingLinks();
  byId("over-reason").after(...recorded);
  document.title = words.over;
  document.querySelector("#over h1").focus();
  if (!/^https?:/i.test(back ?? "")) return;
  const link = byId("back");
  link.href = back;
  link.hidden = false;
  byId("over-close").remove();
  if (reason === "exited" && !recorded.length) location.replace(back); // as was asked for
  else goBackSoon(back);
}

/** Go where the student came from, when it has been read why; the student may stay. */
function goBackSoon(back) {
  const end = performance.now() + READ * 1000;
  const until = make("span", { role: "timer" });
  const stay = make("button", { type: "button", id: "stay" }, words.stay);
  const soon = make("p", { id: "over-soon" }, until, " ", stay);
  const count = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    until.textContent = fill(words["back-in"], { n: Math.max(0, left) });
    if (left > 0) return;
    clearInterval(counting);
    location.replace(back); // the link stays for a browser that does not get there
  };
  const counting = setInterval(count, 250);
  count();
  byId("back").parentElement.after(soon);
  stay.addEventListener("click", () => {
    clearInterval(counting);
    soon.remove();
    byId("back").focus();
  });
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
    else news.set(name, `${lamps.get(name).label || name}: ${asText(value, lamps.get(name))}`);
    setTimeout(() => {
      if (news.size) say([...news.values()].join(". "));
      news.clear();
    }, 300);
  });
}

byId("leave")?.addEventListener("click", async ({ target }) => {
  if (!(await agreed(words["leave-sure"]))) return;
  target.setAttribute("aria-busy", "true");
  notice("leave", null);
  try {
    await board.leave();
  } catch (problem) {
    notice("leave", explain(problem), "bad");
  }
  target.removeAttribute("aria-busy");
});

/** The button with which a student asks for help; the staff see it, and who observes. */
function drawHand() {
  const button = make("button", { type: "button", id: "hand", title: words.hand, "aria-label": words.hand }, icon("hand"));
  button.addEventListener("click", async () => {
    notice("hand", null);
    try {
      await board.raiseHand(!board.session.hand_raised);
    } catch (problem) {
      notice("hand", explain(problem), "bad");
    }
  });
  const leave = byId("leave");
  if (board.session.read_only || !leave) return;
  leave.before(button);
  const follow = () => {
    const raised = Boolean(board.session.hand_raised);
    if (raised !== (button.getAttribute("aria-pressed") === "true")) notice("hand", raised ? words["hand-raised"] : null, "told");
    button.setAttribute("aria-pressed", String(raised));
  };
  board.on("session", follow);
  follow();
}

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
  say(words.online);
});
board.on("session", (session) => {
  tellRestart(session);
  drawClock();
});
board.on("faults", drawFaults);
board.on("slow", () => notice("slow", words.slow, "told"));
board.on("notice", drawNotice);
board.on("new-board", () => location.reload());
board.on("over", farewell);

sayLamps();
drawHand();
if (board.session.read_only) import("./observer.js");
tellRestart(board.session);
drawFaults(board.faults);
board.notices.slice(-1).forEach(({ text }) => drawNotice(text));
if (board.session.read_only) notice("observing", words.observing, "told");
drawClock();
const ticking = setInterval(drawClock, 250);
drawBoard();
if (!board.session.read_only) byId("tasks")?.after(drawPrograms());
board.start();
