/** The transport of a board that only asks: often while somebody looks, seldom while nobody does. */

const LOOK = 500; // milliseconds from one answer to the next question
const LOOK_HIDDEN = 5000; // … while nobody sees the page
const LOOK_OFFLINE = 1000; // … while the lab does not answer
const KEEP_ALIVE = 5000;

export class Polling {
  #board;
  #stopped = false;
  #wake = () => {};

  constructor(board) {
    this.#board = board;
  }

  start() {
    this.#lookAgainAndAgain();
    this.#keepAlive();
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  stop() {
    this.#stopped = true;
    this.hurry();
  }

  hurry() {
    this.#wake();
  }

  async #lookAgainAndAgain() {
    while (!this.#stopped) {
      const hurried = new Promise((resolve) => (this.#wake = resolve));
      await this.#board.look();
      const pause = document.hidden ? LOOK_HIDDEN : this.#board.online ? LOOK : LOOK_OFFLINE;
      await Promise.race([sleep(pause), hurried]);
    }
  }

  async #keepAlive() {
    while (!this.#stopped) {
      await this.#board.keepAlive();
      await sleep(KEEP_ALIVE);
    }
  }
}

let ticker = null;
let naps = 0;
const sleepers = new Map();

/**
 * Wait. Browsers slow the timers of a page that nobody sees down to one a minute, which would let
 * the session die of silence; those of a worker go on.
 */
export function sleep(milliseconds) {
  ticker ??= startTicker();
  return new Promise((resolve) => {
    const id = ++naps;
    sleepers.set(id, resolve);
    ticker.postMessage([id, milliseconds]);
    setTimeout(wakeUp, milliseconds, id); // for a browser that did not start the worker
  });
}

function startTicker() {
  const worker = new Worker(new URL("ticker.js", import.meta.url));
  worker.onmessage = ({ data }) => wakeUp(data);
  return worker;
}

function wakeUp(id) {
  sleepers.get(id)?.();
  sleepers.delete(id);
}
