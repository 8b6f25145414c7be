/**
 * A board as its student's page sees it: devices, tasks, the session and its time.
 *
 *     const board = new Board(JSON.parse(document.getElementById("boot").textContent));
 *     board.on("change", (name, state) => console.log(name, state.value));
 *     board.start();
 *     await board.devices.lamp.set(true);
 *     const task = await board.task("blink", {times: 5});
 *
 * Events:
 *     change (name, state)    a device has a new state, {value: …}
 *     task (task)             a task has a new status, new data or its result
 *     session (session)       what api/session says of the session was read again
 *     offline (), online ()   the lab stopped answering; it answers again
 *     over ({reason, back})   the session has ended; nothing more is asked
 */

import { Polling } from "./polling.js";

const HICCUP = 2000; // one request that fails sooner than this says nothing yet
const PATIENCE = 6000; // how long an answer may take

/** An action that was not done; `code` is for programs, `message` is the lab's sentence (or ""). */
export class LabError extends Error {
  constructor(code, message = "", status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export class Board {
  #root;
  #token;
  #transport;
  #handlers = new Map();
  #over = false;
  #misses = 0; // looks in a row without an answer
  #end = NaN; // of the session, on the clock of performance.now()
  #sent = 0; // commands so far
  #shown = 0; // the last command whose answer is in the snapshot

  /** `boot` is the page's data block; a transport has start(), stop() and hurry(). */
  constructor(boot, Transport = Polling) {
    this.#root = boot.root;
    this.#token = boot.token;
    this.title = boot.board.title;
    this.description = boot.board;
    this.session = boot.session;
    this.snapshot = boot.board.snapshot;
    this.online = true;
    this.tasks = new Map(); // name -> the last task of that name
    this.devices = Object.fromEntries(boot.board.devices.map((each) => [each.name, this.#device(each)]));
    this.#takeTasks(boot.board.tasks);
    this.#takeTime(boot.session.time_left, performance.now());
    this.#transport = new Transport(this);
  }

  /** Begin to watch the board and to keep the session alive. */
  start() {
    this.#transport.start();
    addEventListener("pagehide", () => {
      if (this.#over) return;
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

  /** Run a device's command with a list (or an object) of arguments; the answer is its result. */
  async command(device, command, args = []) {
    const mine = ++this.#sent;
    const path = `api/devices/${encodeURIComponent(device)}/${encodeURIComponent(command)}`;
    const answer = await this.#ask("POST", path, args);
    if (mine > this.#shown) {
      // Answers may overtake each other: an older one must not undo a newer one.
      this.#shown = mine;
      this.#takeSnapshot(answer.snapshot);
    }
    return answer.result;
  }

  /** Start a task with an object of arguments; the answer is the task, news of it are events. */
  async task(name, args = {}) {
    const task = await this.#ask("POST", `api/tasks/${encodeURIComponent(name)}`, args);
    this.#takeTask(task);
    this.#transport.hurry();
    return task;
  }

  /** Ask a task to stop. */
  async stopTask(task) {
    const answer = await this.#ask("POST", `api/tasks/${encodeURIComponent(task.task_id)}/stop`, {});
    if (answer.task_id) this.#takeTask(answer);
    this.#transport.hurry();
  }

  /** End the session. */
  async leave() {
    await this.#ask("POST", this.#callback("logout", ""), {});
    this.#finish({ reason: "exited" });
  }

  /** Look at the board now; what is new goes out as events. For transports. */
  async look() {
    const asked = performance.now();
    const shown = this.#shown;
    let answer;
    try {
      answer = await this.#ask("GET", "api/board");
    } catch (error) {
      this.#missed(error, asked);
      return;
    }
    this.#misses = 0;
    if (shown === this.#shown) this.#takeSnapshot(answer.snapshot);
    this.#takeTasks(answer.tasks);
    if (!this.online) await this.#welcomeBack();
    await this.#followTasks(answer.tasks);
  }

  /** Tell the lab that the page is open, and hear how much time is left. For transports. */
  async keepAlive() {
    const asked = performance.now();
    const answer = await this.#ask("POST", this.#callback("poll", ""), {}).catch(() => null);
    if (answer?.success) this.#takeTime(answer.time_left, asked);
    else this.#transport.hurry(); // looking at the board tells what is wrong
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

  #callback(action, root = this.#root) {
    return `${root}callback/${encodeURIComponent(this.#token)}/${action}`;
  }

  async #ask(method, path, body) {
    if (this.#over) throw new LabError("session-over");
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let reply, answer;
    try {
      reply = await fetch(this.#root + path, {
        method,
        headers,
        body: JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE),
      });
      answer = await reply.json();
    } catch {
      throw new LabError("offline"); // no answer, or the error page of a proxy in between
    }
    if (reply.ok) return answer;
    if (answer.code === "session-over") this.#finish(answer);
    const { code, message } = answer.error?.code ? answer.error : answer;
    throw new LabError(code ?? "error", message, reply.status);
  }

  #missed(error, asked) {
    if (this.#over) return;
    if (error.status === 401 || error.status === 403) {
      this.#finish({ reason: "forbidden" });
    } else if (!this.online) {
      if (this.timeLeft === 0) this.#finish({ reason: "time" }); // nobody is there to say so
    } else if (++this.#misses > 1 || performance.now() - asked > HICCUP) {
      this.online = false;
      this.#emit("offline");
    }
  }

  async #welcomeBack() {
    const asked = performance.now();
    const session = await this.#ask("GET", "api/session").catch(() => null);
    if (session === null) return; // the next look tries again
    this.session = session;
    this.#takeTime(session.time_left, asked);
    this.online = true;
    this.#emit("online");
    this.#emit("session", session);
  }

  #takeSnapshot(snapshot) {
    const before = this.snapshot;
    this.snapshot = snapshot;
    for (const [name, state] of Object.entries(snapshot)) {
      if (!same(state, before[name])) this.#emit("change", name, state);
    }
  }

  #takeTasks(list) {
    for (const { running } of list) if (running) this.#takeTask(running);
  }

  #takeTask(task) {
    if (same(task, this.tasks.get(task.name))) return;
    this.tasks.set(task.name, task);
    this.#emit("task", task);
  }

  /** Hear the end of tasks that ran a moment ago and are no longer among the running ones. */
  async #followTasks(list) {
    const running = new Set(list.map((each) => each.running?.task_id));
    for (const task of [...this.tasks.values()]) {
      if (isFinished(task) || running.has(task.task_id)) continue;
      try {
        this.#takeTask(await this.#ask("GET", `api/tasks/${encodeURIComponent(task.task_id)}`));
      } catch (error) {
        if (error.status === 404) this.#takeTask({ ...task, status: "failed", error });
      }
    }
  }

  #takeTime(seconds, asked) {
    const now = performance.now();
    const end = (asked + now) / 2 + seconds * 1000;
    // The way of a message is never quite the same; a clock that wavers looks broken.
    if (!(Math.abs(end - this.#end) < 300)) this.#end = end;
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

/** True once a task will not change any more. */
export function isFinished(task) {
  return task.status === "done" || task.status === "failed";
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
