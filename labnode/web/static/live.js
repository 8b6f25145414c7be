/**
 * How a board hears what is new: by a WebSocket, on which the lab tells at once what changes, and
 * where none gets through (a proxy may block them), by asking again and again.
 */

import { sleep } from "./sleep.js";

const SIGN = 1000; // milliseconds between signs of a page that is looked at …
const ANSWER = 4000; // … and for the answer to one: who sees the page knows within 6 s that nobody is there
const OPENING = 4000; // milliseconds for a WebSocket to open
const LOOK = 500; // from one answer to the next question, where there is no WebSocket
const LOOK_OFFLINE = 1000; // … while the lab does not answer
const TRY_AGAIN = 30_000; // to open a WebSocket where none has ever been
const TRY_AGAIN_SOON = 2000; // … where there has been one

const BRIEF = 1000; // a WebSocket that was lost so soon is as good as none
const SESSION_OVER = 4001; // codes with which the lab closes
const TOO_SLOW = 1013;

export class Live {
  #board;
  #signOfLife;
  #url;
  #socket = null;
  #worked = false; // there has been a WebSocket
  #stopped = false;
  #wake = () => {};

  /** `signOfLife`: milliseconds between two signs of a hidden page, or of one without a WebSocket. */
  constructor(board, signOfLife) {
    this.#board = board;
    this.#signOfLife = signOfLife;
    this.#url = new URL(board.url("api/live"), document.baseURI);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
  }

  async start() {
    document.addEventListener("visibilitychange", () => {
      if (this.#socket?.readyState === WebSocket.OPEN) this.#tell();
      if (!document.hidden) this.hurry();
    });
    while (!this.#stopped) {
      const tried = performance.now();
      const lost = (await this.#listen()) && performance.now() - tried > BRIEF;
      const again = this.#worked ? TRY_AGAIN_SOON : TRY_AGAIN;
      if (!lost && !this.#stopped) await this.#ask(tried + again);
    }
  }

  stop() {
    this.#stopped = true;
    this.#socket?.close();
    this.hurry();
  }

  /** Something may be new: look now, if nobody tells. */
  hurry() {
    this.#wake();
  }

  /** Say that the page is there, and whether anybody looks at it: else the lab tells it nothing. */
  #tell() {
    if (!this.#stopped) this.#socket.send(document.hidden ? "hidden" : "here");
  }

  /** Hear what a WebSocket has to say; true when it was lost, so that another may do better. */
  async #listen() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    const opened = new Promise((resolve) => (socket.onopen = () => resolve(true)));
    let asked = null; // since when a sign of life has no answer
    let answer = () => {};
    socket.onmessage = ({ data }) => {
      this.#board.take(JSON.parse(data), asked ?? performance.now());
      asked = null;
      answer(true);
    };
    if (!(await Promise.race([opened, closed.then(() => false), sleep(OPENING)]))) {
      socket.close();
      return false;
    }
    this.#worked = true;
    if (document.hidden) this.#tell();
    let open = true;
    let over = false;
    const end = closed.then(({ code }) => {
      open = false;
      over = code === SESSION_OVER;
      if (code === TOO_SLOW) this.#board.wasTooSlow();
    });
    while (open) {
      await Promise.race([end, sleep(document.hidden ? this.#signOfLife : Math.min(SIGN, this.#signOfLife))]);
      if (!open) break;
      asked = performance.now();
      const answered = new Promise((resolve) => (answer = resolve));
      this.#tell();
      if ((await Promise.race([answered, end, sleep(ANSWER)])) || !open) continue;
      this.#board.hearsNothing();
      socket.close(); // its end may take long to arrive
      break;
    }
    return !over;
  }

  /** Ask what is new until it is time to try a WebSocket again. */
  async #ask(until) {
    do {
      await this.#board.look();
      if (this.#stopped) return;
      const pause = document.hidden ? this.#signOfLife : this.#board.online ? LOOK : LOOK_OFFLINE;
      await sleep(pause, (wake) => (this.#wake = wake));
    } while (!this.#stopped && performance.now() < until);
  }
}
