/**
 * A board as its student's page sees it: devices, tasks, the session and its time.
 *
 *     import { open } from "./static/labnode.js";
 *
 *     const board = await open();
 *     board.on("change", (name, state) => console.log(name, state.value));
 *     await board.devices.lamp.set(true);
 *     const task = await board.task("blink", { times: 5 });
 *     console.log((await board.finished(task)).result);
 *
 * docs/page.md says more. The generated page is written with this.
 */

import { Live } from "./live.js";
import { Wishes } from "./wishes.js";

const HICCUP = 2000; // one request that fails sooner than this says nothing yet
const PATIENCE = 6000; // how long an answer may take
const LOOKS_FOR = 5000; // … and one that says how the board is
const SLOWEST = 8; // bytes in a millisecond of a file on its way: a lab takes none that is slower
const ANSWERS_FOR = 1000; // what the page no longer waits for has not begun so long before

/** An action that was not done; `code` is for programs, `message` is the lab's sentence (or ""). */
export class LabError extends Error {
  constructor(code, message = "", status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/**
 * The board of this page, which begins to live. `root` leads from the page to the lab's address.
 * The page may have what is to be known at first in it (the element "boot"), else it is asked for.
 */
export async function open(root = "") {
  const block = document.getElementById("boot");
  const boot = block ? JSON.parse(block.textContent) : await (await fetch(`${root}api/page`)).json();
  const board = new Board({ ...boot, root: block ? boot.root : root });
  board.start();
  return board;
}

export class Board {
  #root;
  #asked; // the language that the page's address asks for
  #token;
  #transport;
  #handlers = new Map();
  #over = false;
  #leaving = false;
  #misses = 0; // looks in a row without an answer
  #end = NaN; // of the session, on the clock of performance.now()
  #run; // of the node
  #version = -1; // of the snapshot
  #ahead = NaN; // the node's clock minus performance.now(), in seconds
  #awaited = new Map(); // task id -> what to do when it is finished
  #wishes = new Wishes(
    (device, wish, asked) => this.#command(device, wish.length > 1 ? "set_bit" : "set", wish, asked),
    (device) => this.#emit("expect", device),
  );

  /** `boot` is the page's data block; a transport has start(), stop() and hurry(). */
  constructor(boot, Transport = Live) {
    this.#root = boot.root;
    this.#asked = boot.asked ? `locale=${encodeURIComponent(boot.asked)}` : "";
    this.#token = boot.token;
    this.title = boot.board.title;
    this.description = boot.board;
    this.session = boot.state.session;
    this.snapshot = {};
    this.faults = [];
    this.notices = []; // what the student has been told
    this.files = boot.state.files ?? []; // that were sent before the page was opened
    this.deeds = []; // what the student did last, for an observer
    this.online = true;
    this.tasks = new Map(); // name -> the last task of that name
    this.devices = Object.fromEntries(boot.board.devices.map((each) => [each.name, this.#device(each)]));
    this.#run = boot.state.run;
    this.take(boot.state);
    this.#transport = new Transport(this, boot.sign_of_life * 1000);
  }

  /** Begin to watch the board and to keep the session alive. */
  start() {
    this.#transport.start();
    addEventListener("pagehide", () => {
      if (this.#over || !this.#token) return; // an observer may come and go
      // As JSON the request carries the page's origin, whatever the referrer policy says.
      const nothing = new Blob(["{}"], { type: "application/json" });
      navigator.sendBeacon(this.#callback("leaving"), nothing);
    });
  }

  /** Call `handler` at every `event`; the answer takes it away again. */
  on(event, handler) {
    if (!this.#handlers.has(event)) this.#handlers.set(event, new Set());
    this.#handlers.get(event).add(handler);
    return () => this.#handlers.get(event).delete(handler);
  }

  /** Seconds until the session ends, as the lab counts them. */
  get timeLeft() {
    return Math.max(0, (this.#end - performance.now()) / 1000);
  }

  /** The address of something of the lab's, `path` being "api/devices/camera/stream", say. */
  url(path) {
    if (!this.#asked) return this.#root + path;
    return `${this.#root}${path}${path.includes("?") ? "&" : "?"}${this.#asked}`;
  }

  /** Seconds since a state was sampled; NaN where it does not say when that was. */
  age({ sampled }) {
    return Math.max(0, performance.now() / 1000 + this.#ahead - (sampled ?? NaN));
  }

  /** Until when, by the lab's clock, what is asked for now has to begin; undefined: not known. */
  deadline(patience = PATIENCE) {
    const at = (performance.now() + patience - ANSWERS_FOR) / 1000 + this.#ahead;
    return Number.isNaN(at) ? undefined : at.toFixed(3);
  }

  /**
   * Run a device's command with a list (or an object) of arguments; the answer is its result. What
   * was `put` before is no longer wanted.
   */
  command(device, command, args = []) {
    this.#wishes.drop(device);
    return this.#command(device, command, args);
  }

  /**
   * Bring a device, or one bit of a bank, to a value. Of all that is put before an answer comes the
   * last counts; what is lost on its way is sent again for some seconds. Ends when it is there.
   */
  put(device, value, bit) {
    return this.#wishes.make(device, value, bit);
  }

  /** The state of a device as it will be when all that was `put` is there; `wanted`: it is not yet. */
  expected(device) {
    const { state } = this.devices[device];
    if (!this.#wishes.has(device)) return state;
    return { ...state, value: this.#wishes.over(device, state.value), wanted: true };
  }

  /** Start a task with an object of arguments; the answer is the task, news of it are events. */
  async task(name, args = {}) {
    const task = await this.#ask("POST", `api/tasks/${encodeURIComponent(name)}`, args);
    this.#takeTask(task);
    this.hurry();
    return task;
  }

  /** Ask a task to stop. */
  async stopTask(task) {
    const answer = await this.#ask("POST", `api/tasks/${encodeURIComponent(task.task_id)}/stop`, {});
    if (answer.task_id) this.#takeTask(answer);
    this.hurry();
  }

  /** The task once it is finished; a task that failed is an answer too. */
  finished(task) {
    const now = this.tasks.get(task.name);
    if (now?.task_id === task.task_id && isFinished(now)) return Promise.resolve(now);
    return new Promise((resolve) => this.#awaited.set(task.task_id, resolve));
  }

  /**
   * Send a file to a device, as it is on the disk now; `progress` is called with what share has
   * arrived. The task of it. A file that can no longer be read is the LabError "file-gone".
   */
  async upload(device, file, progress = () => {}) {
    const path = `api/devices/${encodeURIComponent(device)}/program`;
    const query = `?name=${encodeURIComponent(file.name)}`;
    const task = await this.#send(path + query, await readAgain(file), progress);
    this.#takeTask(task);
    this.hurry();
    return task;
  }

  /** Have a programmer write its blank image; the task of it. */
  async blank(device) {
    const task = await this.#ask("POST", `api/devices/${encodeURIComponent(device)}/blank`, {});
    this.#takeTask(task);
    this.hurry();
    return task;
  }

  /** What the lab has recorded in this session: `devices`, and `rows` of seconds and their values. */
  recording() {
    return this.#ask("GET", "api/recording.json");
  }

  /** A serial device, to talk to: see docs/page.md. */
  async serial(name) {
    const { connect } = await import("./serial.js");
    return connect(this, name);
  }

  /** Let programs of the student's use the lab until the session ends; the address that they need. */
  async allowPrograms() {
    return (await this.#ask("POST", "api/program-key", {})).url;
  }

  /** The addresses that `allowPrograms` gave no longer work. */
  forbidPrograms() {
    return this.#ask("DELETE", "api/program-key");
  }

  /** Ask for help, or no longer: who observes the session and the lab's staff see it. */
  async raiseHand(raised) {
    this.take({ session: await this.#ask("POST", "api/session/hand", { raised }) });
  }

  /** End the session. */
  async leave() {
    this.#leaving = true; // what the lab tells of the end is no news
    try {
      await this.#ask("POST", this.#callback("logout", ""), {});
    } catch (error) {
      this.#leaving = false;
      throw error;
    }
    this.#finish({ reason: "exited" });
  }

  /** Look at the board now; what is new goes out as events. For transports. */
  async look() {
    if (this.#leaving) return;
    const asked = performance.now();
    try {
      this.take(await this.#ask("GET", "api/state", undefined, LOOKS_FOR), asked);
    } catch (error) {
      this.#missed(error, asked);
    }
  }

  /** Something has been told: a whole state, or what has changed, or an event. For transports. */
  take(news, asked = performance.now()) {
    const fresh = news.run !== undefined && news.run !== this.#run;
    if (fresh) {
      this.#run = news.run;
      this.#version = -1;
      this.#ahead = NaN;
      this.notices = [];
    }
    if (news.devices) this.#takeDevices(news);
    for (const task of news.tasks ?? []) this.#takeTask(task);
    if (news.faults) this.#takeFaults(news.faults);
    if (news.time_left !== undefined) this.#takeTime(news.time_left, asked);
    if (news.session) this.#takeSession(news.session, asked);
    if (news.session && news.tasks) this.#findLost(news.tasks);
    if (news.event !== undefined) this.#emit("push", news.event, news.data);
    if (news.notices) this.#takeNotices(news.notices);
    if (news.deeds) this.#takeDeeds(news.deeds);
    if (fresh) this.#checkDescription();
  }

  /** The lab has not answered a sign of the page. For transports. */
  hearsNothing() {
    if (this.#over || !this.online) return;
    this.online = false;
    this.#emit("offline");
  }

  /** The lab had more to tell than the way here could carry. For transports. */
  wasTooSlow() {
    this.#emit("slow");
  }

  /** Look sooner than planned: something is expected to be new. */
  hurry() {
    this.#transport.hurry();
  }

  #device(description) {
    const board = this;
    const { name } = description;
    const device = {
      description,
      get state() {
        return board.snapshot[name] ?? { value: null };
      },
      get value() {
        return this.state.value;
      },
    };
    for (const { name: command } of description.commands ?? []) {
      if (!(command in device)) device[command] = (...args) => board.command(name, command, args);
    }
    return device;
  }

  async #command(device, command, args, asked = performance.now()) {
    const path = `api/devices/${encodeURIComponent(device)}/${encodeURIComponent(command)}`;
    const answer = await this.#ask("POST", path, args, PATIENCE, asked);
    this.take(answer);
    return answer.result;
  }

  #callback(action, root = this.#root) {
    return `${root}callback/${encodeURIComponent(this.#token)}/${action}`;
  }

  async #ask(method, path, body, patience = PATIENCE, asked = performance.now()) {
    if (this.#over) throw new LabError("session-over");
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    // A lab that was frozen finds requests that nobody waits for any more: it must not act on them.
    // … and what has gone to safe by itself stays there until a student sets it again.
    if (method === "POST" && this.#ahead) {
      headers["Labnode-Deadline"] = this.deadline(patience);
      headers["Labnode-Asked"] = (asked / 1000 + this.#ahead).toFixed(3);
    }
    let reply, answer;
    try {
      reply = await fetch(this.url(path), {
        method,
        headers,
        body: JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(patience),
      });
      answer = await reply.json();
    } catch {
      throw new LabError("offline"); // no answer, or the error page of a proxy in between
    }
    if (reply.ok) return answer;
    throw this.#refused(reply.status, answer);
  }

  /** As #ask, of a file: only XMLHttpRequest tells how far it is. */
  #send(path, file, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const patience = PATIENCE + file.size / SLOWEST;
      request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
      request.onerror = request.onabort = request.ontimeout = () => reject(new LabError("offline"));
      request.onload = () => {
        if (request.response === null) reject(new LabError("offline"));
        else if (request.status < 300) resolve(request.response);
        else reject(this.#refused(request.status, request.response));
      };
      request.open("POST", this.url(path));
      request.responseType = "json";
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("Content-Type", "application/octet-stream");
      const deadline = this.deadline(patience);
      if (deadline) request.setRequestHeader("Labnode-Deadline", deadline);
      request.timeout = patience;
      request.send(file);
    });
  }

  #refused(status, answer) {
    if (answer.code === "session-over") this.#finish(answer);
    const { code, message } = answer.error?.code ? answer.error : answer;
    return new LabError(code ?? "error", message, status);
  }

  #missed(error, asked) {
    if (this.#over) return;
    if (error.status === 401 || error.status === 403) {
      this.#finish({ reason: "forbidden" });
    } else if (!this.online) {
      if (this.timeLeft === 0) this.#finish({ reason: "time" }); // nobody is there to say so
    } else if (++this.#misses > 1 || performance.now() - asked > HICCUP) {
      this.hearsNothing();
    }
  }

  #takeDevices({ devices, version, now }) {
    if (version < this.#version) return; // it was overtaken by a newer one
    this.#version = version;
    // News that took long to arrive makes the lab's clock seem to be behind.
    this.#ahead = Math.max(now - performance.now() / 1000, this.#ahead || -Infinity);
    const before = this.snapshot;
    this.snapshot = { ...before, ...devices };
    for (const [name, state] of Object.entries(devices)) {
      if (!same(state, before[name])) this.#emit("change", name, state);
    }
  }

  #takeTask(task) {
    const known = this.tasks.get(task.name);
    const overtaken = known?.task_id === task.task_id && stage(task) < stage(known);
    if (overtaken || same(task, known)) return;
    this.tasks.set(task.name, task);
    this.#emit("task", task);
    if (!isFinished(task)) return;
    this.#awaited.get(task.task_id)?.(task);
    this.#awaited.delete(task.task_id);
  }

  /** Hear of tasks that are among those of a state no more: a node that was restarted forgets. */
  async #findLost(list) {
    const told = new Set(list.map((each) => each.task_id));
    for (const task of [...this.tasks.values()]) {
      if (isFinished(task) || told.has(task.task_id)) continue;
      try {
        this.#takeTask(await this.#ask("GET", `api/tasks/${encodeURIComponent(task.task_id)}`));
      } catch (error) {
        if (error.status === 404) this.#takeTask({ ...task, status: "failed", error });
      }
    }
  }

  #takeFaults(faults) {
    if (same(faults, this.faults)) return;
    this.faults = faults;
    this.#emit("faults", faults);
  }

  #takeNotices(notices) {
    const last = this.notices.at(-1)?.number ?? 0;
    for (const notice of notices.filter(({ number }) => number > last)) {
      this.notices.push(notice);
      this.#emit("notice", notice.text);
    }
  }

  #takeDeeds(deeds) {
    this.deeds = deeds;
    this.#emit("deeds", deeds);
  }

  #takeSession(session, asked) {
    const { time_left: left, ...rest } = session;
    this.#takeTime(left, asked);
    this.#misses = 0;
    const back = !this.online;
    this.online = true;
    if (back) this.#emit("online");
    const { time_left: _, ...before } = this.session;
    this.session = session;
    if (back || !same(rest, before)) this.#emit("session", session);
  }

  #takeTime(seconds, asked) {
    const now = performance.now();
    const end = (asked + now) / 2 + seconds * 1000;
    // The way of a message is never quite the same; a clock that wavers looks broken.
    if (!(Math.abs(end - this.#end) < 300)) this.#end = end;
  }

  /** The node was started again: perhaps with another board file. */
  async #checkDescription() {
    const { snapshot, ...description } = await this.#ask("GET", "api/board").catch(() => ({}));
    if (snapshot && !same(description, this.description)) this.#emit("new-board");
  }

  #finish({ reason = null, back = this.session.back }) {
    if (this.#over) return;
    this.#over = true;
    this.#transport.stop();
    this.#emit("over", { reason, back });
  }

  #emit(event, ...details) {
    for (const handler of this.#handlers.get(event) ?? []) handler(...details);
  }
}

/**
 * A file as it is on the disk now: a browser reads its File only until it changes there. Chromium
 * fixes that moment when a File is asked for its size, so ask the answer instead.
 */
export async function readAgain(file) {
  const [renamed, form] = [new FormData(), new FormData()];
  renamed.set("file", file, file.name); // as another File of the same file
  form.set("file", renamed.get("file"));
  try {
    return (await new Response(form).formData()).get("file");
  } catch {
    throw new LabError("file-gone");
  }
}

/** True once a task will not change any more. */
export function isFinished(task) {
  return task.status === "done" || task.status === "failed";
}

/** How far a task is, for those whose news overtake each other. */
function stage(task) {
  return isFinished(task) ? 2 : Number(task.status === "running");
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
