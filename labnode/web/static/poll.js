// For pages of a lab's own (lab.poll_script()): keeps the session while the page is open.
"use strict";
{
  const { callback, over } = document.currentScript.dataset;
  // A worker's timer: browsers slow down those of a hidden page, and the session would end.
  const ticker = new Worker(new URL("ticker.js", document.currentScript.src));
  const poll = async () => {
    try {
      const answer = await fetch(`${callback}/poll`, { method: "POST", cache: "no-store" });
      const { success, reason } = await answer.json();
      if (!success && reason !== "starting") {
        ticker.terminate();
        location.replace(over);
        return;
      }
    } catch {
      // The lab does not answer; it may be starting again.
    }
    ticker.postMessage([0, 5000]);
  };
  ticker.onmessage = poll;
  addEventListener("pagehide", () => navigator.sendBeacon(`${callback}/leaving`));
  addEventListener("pageshow", ({ persisted }) => persisted && poll());
  poll();
}
