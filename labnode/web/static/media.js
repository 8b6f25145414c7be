// Pictures that come from the lab.

import { asAge, board, fill, icon, make, words } from "./panel.js";
import { register } from "./widgets.js";
import { makeZoom } from "./zoom.js";

register("camera", drawCamera);

const TRY_AGAIN = 3000; // milliseconds after a stream has ended
const LIVE = 1.5; // seconds: a picture that is younger is of now

function drawCamera(device, card) {
  const address = board.url(`api/devices/${encodeURIComponent(device.name)}`);
  const label = device.label || device.name;
  const canvas = make("canvas", { className: "camera-image", role: "img", "aria-label": label, width: 640, height: 480 });
  const age = make("span", { className: "age" });
  const frame = make("div", { className: "camera", tabIndex: 0, role: "group", "aria-label": label }, canvas, age);
  const shown = canvas.getContext("bitmaprenderer");
  const zoom = makeZoom(frame, canvas, (scale) => out.setAttribute("aria-disabled", String(scale === 1)));
  const out = button("−", words["zoom-out"], () => zoom.by(0.8));
  const full = button(icon("expand"), words["full-screen"], () => (document.fullscreenElement ? document.exitFullscreen() : frame.requestFullscreen()));
  const link = make("a", { href: `${address}/snapshot`, download: `${device.name}.jpg`, className: "plain" }, words.snapshot);
  const tools = make("p", { className: "tools" }, out, button("+", words["zoom-in"], () => zoom.by(1.25)));
  if (document.fullscreenEnabled) tools.append(full);
  card.head.append(link, tools);
  card.element.append(frame);
  out.setAttribute("aria-disabled", "true");
  document.addEventListener("fullscreenchange", zoom.reset);

  let taken = NaN; // when the picture that is shown was, by the lab's clock
  let stream = null; // ends what is being received
  let timer = 0;
  let inView = true;
  let over = false;

  /** Receive pictures while somebody can see them: else the camera may rest, and the line is free. */
  function follow() {
    const wanted = !document.hidden && inView && !over;
    if (wanted === (stream !== null)) return;
    clearTimeout(timer);
    stream?.abort();
    stream = wanted ? new AbortController() : null;
    if (wanted) receive(stream.signal);
  }
  async function receive(signal) {
    try {
      for await (const picture of pictures(`${address}/stream`, signal)) {
        const bitmap = await createImageBitmap(picture.blob);
        if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
        if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
        shown.transferFromImageBitmap(bitmap);
        taken = picture.taken;
        tellAge();
      }
    } catch {
      // The lab does not answer, or sends nothing that is a picture.
    }
    if (signal.aborted) return;
    stream = null;
    timer = setTimeout(follow, TRY_AGAIN);
  }
  function tellAge() {
    const seconds = board.age({ sampled: taken });
    const old = !(seconds < Math.max(LIVE, 2 / device.rate || 0));
    age.textContent = Number.isNaN(seconds) ? words["no-picture"] : old ? fill(words.old, { age: asAge(seconds) }) : words.live;
    frame.classList.toggle("broken", old);
  }

  tellAge();
  setInterval(() => document.hidden || tellAge(), 500);
  document.addEventListener("visibilitychange", follow);
  board.on("over", () => {
    over = true;
    follow();
  });
  new IntersectionObserver((entries) => {
    inView = entries.at(-1).isIntersecting;
    follow();
  }).observe(frame);
  return () => {};
}

function button(text, label, act) {
  const made = make("button", { type: "button", "aria-label": label, title: label }, text);
  made.addEventListener("click", act);
  return made;
}

/** The pictures of a stream as they come: a `blob`, and when it was `taken`. */
async function* pictures(address, signal) {
  const reply = await fetch(address, { signal, cache: "no-store" });
  if (!reply.ok) throw new Error(reply.statusText);
  const reader = reply.body.getReader();
  let data = new Uint8Array();
  const more = async () => {
    const { value, done } = await reader.read();
    if (done) throw new Error("it has ended");
    const joined = new Uint8Array(data.length + value.length);
    joined.set(data);
    joined.set(value, data.length);
    data = joined;
  };
  for (;;) {
    let end;
    while ((end = headEnd(data)) < 0) await more();
    const head = new TextDecoder().decode(data.subarray(0, end));
    const field = (name) => Number(new RegExp(`^${name}: *([\\d.]+)`, "im").exec(head)?.[1] ?? NaN);
    const size = field("Content-Length");
    if (!(size >= 0)) throw new Error("a picture without its size");
    while (data.length < end + size) await more();
    yield { blob: new Blob([data.subarray(end, end + size)], { type: "image/jpeg" }), taken: field("Labnode-Taken") };
    data = data.slice(end + size);
  }
}

/** Where the picture after a head begins; -1 if the head is not there as a whole. */
function headEnd(data) {
  for (let i = 3; i < data.length; i++) {
    if (data[i] === 10 && data[i - 1] === 13 && data[i - 2] === 10 && data[i - 3] === 13 && i > 8) return i + 1;
  }
  return -1;
}
