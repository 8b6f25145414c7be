// Pictures that come from the lab.

import { board, make, words } from "./panel.js";
import { register } from "./widgets.js";

register("camera", drawCamera);

const TRY_AGAIN = 3000; // milliseconds after a stream has ended

function drawCamera(device, card) {
  const stream = board.url(`api/devices/${encodeURIComponent(device.name)}/stream`);
  const snapshot = board.url(`api/devices/${encodeURIComponent(device.name)}/snapshot`);
  const image = make("img", { className: "camera-image", alt: device.label || device.name });
  const link = make("a", { href: snapshot, download: `${device.name}.jpg`, className: "plain" }, words.snapshot);
  card.head.append(link);
  card.element.append(image);
  let timer = 0;

  function show() {
    clearTimeout(timer);
    // A browser takes an address that it has for the picture that it has: it ended.
    image.src = `${stream}?${Date.now()}`;
  }
  // Nobody looks at a hidden page: the camera may rest, and the line is free.
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) image.removeAttribute("src");
    else show();
  });
  image.addEventListener("error", () => {
    if (!image.hasAttribute("src")) return;
    image.classList.add("broken");
    timer = setTimeout(show, TRY_AGAIN);
  });
  image.addEventListener("load", () => image.classList.remove("broken"));
  board.on("over", () => image.removeAttribute("src"));
  // A picture that never ends, or never comes, keeps no page from being loaded.
  if (document.readyState === "complete") show();
  else addEventListener("load", show, { once: true });
  return () => {};
}
