// The numbers in the lines of a device, as curves: "21.5", "1, 2, 3", "temp=21.5 fan:40".

const COLOURS = ["--plot-1", "--plot-2", "--plot-3", "--plot-4"];
const VALUE = /^(?:([^\d\s:=][^:=]*)[:=])?([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/i;
const [LEFT, TOP, BOTTOM] = [48, 8, 8];

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

/** Draw `points`, the oldest first. */
export function drawNumbers(canvas, points) {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const scale = devicePixelRatio;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const names = [...new Set(points.flatMap(Object.keys))].slice(0, 8);
  const values = points.flatMap((point) => names.map((name) => point[name])).filter(Number.isFinite);
  canvas.setAttribute("aria-label", names.map((name) => `${name}: ${points.at(-1)[name] ?? "–"}`).join(", "));
  if (!values.length) return;
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (low === high) [low, high] = [low - 1, high + 1];
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  const x = (i) => LEFT + (i / Math.max(1, points.length - 1)) * (width - LEFT - 4);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (height - TOP - BOTTOM);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const value of [low, (low + high) / 2, high]) {
    context.fillStyle = style.getPropertyValue("--ink-soft");
    context.fillText(Number(value.toPrecision(4)), LEFT - 6, y(value));
    context.fillStyle = style.getPropertyValue("--edge");
    context.fillRect(LEFT, y(value), width - LEFT, 1);
  }
  context.textAlign = "left";
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  names.forEach((name, index) => {
    const colour = style.getPropertyValue(COLOURS[index % COLOURS.length]);
    context.strokeStyle = context.fillStyle = colour;
    context.setLineDash(index < COLOURS.length ? [] : [5, 3]);
    context.beginPath();
    points.forEach((point, i) => Number.isFinite(point[name]) && context.lineTo(x(i), y(point[name])));
    context.stroke();
    if (names.length > 1 || name !== "1") context.fillText(name, LEFT + 8 + 90 * index, TOP + 8);
  });
}
