/**
 * Waiting. Browsers slow the timers of a page that nobody sees down to one a minute, which would let
 * the session die of silence; those of a worker go on.
 */

let ticker = null;
let naps = 0;
const sleepers = new Map();

/** Wait; `wake`, if given, gets a function that ends it sooner. */
export function sleep(milliseconds, wake = () => {}) {
  ticker ??= startTicker();
  return new Promise((resolve) => {
    const id = ++naps;
    sleepers.set(id, resolve);
    wake(() => wakeUp(id));
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
