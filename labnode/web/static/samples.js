// The value of a device that is an array: its curve, with zoom, and all of it as CSV.

import { asText, board, language, make, textScale, words } from "./panel.js";
import { register } from "./widgets.js";

register("samples", drawSamples);

const HEIGHT = 200; // pixels
const [LEFT, TOP, RIGHT, BOTTOM] = [64, 8, 12, 22];
const PREFIXES = { "-12": "p", "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G" };

function drawSamples(device, card) {
  const state = make("span", { className: "state" });
  const label = device.label || device.name;
  const canvas = make("canvas", { role: "img", tabIndex: 0, "aria-label": label });
  const button = (text, title, act) => {
    const made = make("button", { type: "button", "aria-label": title, title }, text);
    made.addEventListener("click", act);
    return made;
  };
  const csv = make("a", { href: board.url(`api/devices/${device.name}/samples.csv`), download: `${device.name}.csv` }, "CSV");
  csv.setAttribute("aria-label", words.csv);
  const tools = make(
    "p",
    { className: "tools" },
    button("−", words["zoom-out"], () => zoom(2)),
    button("+", words["zoom-in"], () => zoom(0.5)),
    csv,
  );
  card.head.append(state, tools);
  card.element.append(canvas);
  let shown = null;
  let seen = [0, 1]; // the part of the axis that is seen

  /** See `by` times as much, around the place `at` of what is seen. */
  function zoom(by, at = 0.5) {
    const width = Math.min(1, Math.max(0.005, (seen[1] - seen[0]) * by));
    const from = seen[0] + ((seen[1] - seen[0]) - width) * at;
    move(from, width);
  }
  function move(from, width = seen[1] - seen[0]) {
    const begin = Math.min(1 - width, Math.max(0, from));
    seen = [begin, begin + width];
    paint();
  }
  const paint = () => canvas.clientWidth && !document.hidden && curve(canvas, device, shown, seen);
  const seenWidth = () => canvas.clientWidth - (LEFT + RIGHT) * textScale();

  canvas.addEventListener("keydown", ({ key }) => {
    const part = (seen[1] - seen[0]) / 4;
    if (key === "+") zoom(0.5);
    else if (key === "-") zoom(2);
    else if (key === "ArrowLeft") move(seen[0] - part);
    else if (key === "ArrowRight") move(seen[0] + part);
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, (event.offsetX - LEFT * textScale()) / seenWidth());
    },
    { passive: false },
  );
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons === 1) move(seen[0] - (event.movementX / seenWidth()) * (seen[1] - seen[0]));
  });
  canvas.addEventListener("dblclick", () => move(0, 1));
  addEventListener("resize", paint);
  document.addEventListener("visibilitychange", paint);
  requestAnimationFrame(paint);

  return ({ value, running }) => {
    state.textContent = running ? words.running : value ? "" : asText(null);
    csv.hidden = !value;
    canvas.hidden = !value;
    if (value === shown) return;
    shown = value;
    requestAnimationFrame(paint); // once the canvas is to be seen
  };
}

/** Draw the part of an array that is `seen`, shares of its axis. */
function curve(canvas, device, value, [first, last]) {
  const { y, begin, step, count } = value ?? { y: [] };
  if (!y.length) return;
  const width = canvas.clientWidth / textScale();
  const scale = devicePixelRatio * textScale();
  canvas.style.height = `${HEIGHT / 16}rem`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(HEIGHT * scale);
  const [from, to] = [first * (y.length - 1), last * (y.length - 1)];
  const part = y.slice(Math.floor(from), Math.ceil(to) + 1);
  let [low, high] = [part.reduce((a, b) => Math.min(a, b)), part.reduce((a, b) => Math.max(a, b))];
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  [low, high] = [low - room, high + room];
  const context = canvas.getContext("2d");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const x = (place) => LEFT + ((place - from) / (to - from || 1)) * (width - LEFT - RIGHT);
  const top = (number) => TOP + (1 - (number - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  const mark = (text, left, height, line) => {
    context.fillStyle = colour("--ink-soft");
    context.fillText(text, left, height);
    context.fillStyle = colour("--edge");
    context.fillRect(...line);
  };
  context.textAlign = "right";
  for (const number of marks(low, high, 5)) {
    mark(short(number, device.unit), LEFT - 6, top(number), [LEFT, top(number), width - LEFT - RIGHT, 1]);
  }
  context.textAlign = "center";
  const at = (place) => begin + place * step;
  for (const number of marks(at(from), at(to), width / 110)) {
    const left = x((number - begin) / step);
    mark(short(number, device.x_unit), Math.min(left, width - 28), HEIGHT - 8, [left, TOP, 1, HEIGHT - TOP - BOTTOM]);
  }
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, width - LEFT - RIGHT, HEIGHT);
  context.clip();
  context.strokeStyle = colour("--plot-1");
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.beginPath();
  part.forEach((number, i) => context.lineTo(x(Math.floor(from) + i), top(number)));
  context.stroke();
  context.restore();
  const range = `${short(Math.min(...part), device.unit)} – ${short(Math.max(...part), device.unit)}`;
  canvas.setAttribute("aria-label", `${device.label || device.name}: ${count} × ${range}`);
}

/** Round numbers between two others, about so many. */
function* marks(low, high, most) {
  const rough = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  for (let i = Math.ceil(low / step); i * step <= high; i++) yield i * step;
}

/** A number with as many digits as fit, "2.5 ms". */
function short(number, unit = "") {
  const size = number ? Math.floor(Math.log10(Math.abs(number)) / 3 + 1e-9) * 3 : 0;
  const power = unit && !"°%".includes(unit[0]) ? Math.min(9, Math.max(-12, size)) : 0;
  const text = new Intl.NumberFormat(language, { maximumSignificantDigits: 4 }).format(number / 10 ** power);
  return `${text} ${PREFIXES[power]}${unit}`.trim();
}
