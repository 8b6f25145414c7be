// The numbers in the lines of a device, as curves: "21.5", "1, 2, 3", "temp=21.5 fan:40".

import { asAge, make, textScale } from "./panel.js";

const COLOURS = ["--plot-1", "--plot-2", "--plot-3", "--plot-4"];
const VALUE = /^(?:([^\d\s:=][^:=]*)[:=])?([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/i;
const [LEFT, TOP, RIGHT, BOTTOM] = [56, 8, 8, 22];
const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600]; // seconds between marks

/** {name: number} of a line that is nothing but numbers, with or without their names; else null. */
export function numbersOf(line) {
  const parts = line.trim().replace(/([:=])\s+/g, "$1").split(/[\s,;]+/).filter(Boolean);
  const found = {};
  for (const [index, part] of parts.entries()) {
    const match = VALUE.exec(part);
    if (!match) return null;
    found[match[1] ?? `${index + 1}`] = Number(match[2]);
  }
  return parts.length ? found : null;
}

/** Draw the `points` ({at, numbers}, the oldest first; `at` in seconds) of what `label` names; the curves are named in `legend`. */
export function drawNumbers(canvas, legend, label, points) {
  const names = [...new Set(points.flatMap(({ numbers }) => Object.keys(numbers)))].slice(0, 8);
  const last = points.at(-1)?.numbers ?? {};
  const told = names.map((name) => `${name}: ${last[name] ?? "–"}`);
  canvas.setAttribute("aria-label", [label, ...told].join(", "));
  legend.replaceChildren(
    ...names.map((name, index) => {
      const dot = make("span", { className: "dot", "aria-hidden": "true" });
      dot.style.backgroundColor = `var(${COLOURS[index % COLOURS.length]})`;
      dot.style.opacity = index < COLOURS.length ? 1 : 0.5;
      return make("li", {}, dot, told[index]);
    }),
  );
  const values = points.flatMap(({ numbers }) => names.map((name) => numbers[name])).filter(Number.isFinite);
  const width = canvas.clientWidth / textScale();
  const height = canvas.clientHeight / textScale();
  const scale = devicePixelRatio * textScale();
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  if (!values.length) return;
  let low = values.reduce((a, b) => Math.min(a, b));
  let high = values.reduce((a, b) => Math.max(a, b));
  if (low === high) [low, high] = [low - 1, high + 1];
  const [from, to] = [points[0].at, points.at(-1).at];
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  const x = (time) => LEFT + ((time - from) / (to - from || 1)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (height - TOP - BOTTOM);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  const ink = style.getPropertyValue("--ink-soft");
  const edge = style.getPropertyValue("--edge");
  const mark = (text, left, top, line) => {
    context.fillStyle = ink;
    context.fillText(text, left, top);
    context.fillStyle = edge;
    context.fillRect(...line);
  };
  context.textAlign = "right";
  for (const value of [low, (low + high) / 2, high]) {
    mark(Number(value.toPrecision(4)), LEFT - 6, y(value), [LEFT, y(value), width - LEFT - RIGHT, 1]);
  }
  const most = (width - LEFT - RIGHT) / 70;
  const step = STEPS.find((each) => (to - from) / each <= most) ?? STEPS.at(-1) * 4;
  for (let ago = 0; ago <= to - from; ago += step) {
    const at = x(to - ago);
    mark(ago ? `−${asAge(ago)}` : asAge(0), Math.max(at, LEFT), height - 8, [at, TOP, 1, height - TOP - BOTTOM]);
  }
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  names.forEach((name, index) => {
    context.strokeStyle = style.getPropertyValue(COLOURS[index % COLOURS.length]);
    context.setLineDash(index < COLOURS.length ? [] : [5, 3]);
    context.beginPath();
    for (const { at, numbers } of points) if (Number.isFinite(numbers[name])) context.lineTo(x(at), y(numbers[name]));
    context.stroke();
  });
}
