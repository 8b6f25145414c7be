// For pages of a lab's own (lab.poll_script()): keeps the session while the page is open.
"use strict";
{
  const { callback, over, every, close, ended } = document.currentScript.dataset;
  // A worker's timer: browsers slow down those of a hidden page, and the session would end.
  const ticker = new Worker(new URL("ticker.js", document.currentScript.src));
  const end = () => {
    if (!ended) return location.replace(over);
    ended.split(".").reduce((object, name) => object[name], globalThis)();
  };
  const poll = async () => {
    try {
      const answer = await fetch(`${callback}/poll`, { method: "POST", cache: "no-store" });
      const { success, reason } = await answer.json();
      if (!success && reason !== "starting") {
        ticker.terminate();
        setTimeout(end);
        return;
      }
    } catch {
      // The lab does not answer; it may be starting again.
    }
    ticker.postMessage([0, every]);
  };
  ticker.onmessage = poll;
  addEventListener("pagehide", () => navigator.sendBeacon(`${callback}/${close}`));
  addEventListener("pageshow", ({ persisted }) => persisted && poll());
  poll();
}
