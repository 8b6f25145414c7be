// A plot of what devices have shown: a lane for each unit, one time axis, zoom, and CSV.

import { makeCard } from "./card.js";
import { history, recall, watch } from "./history.js";
import { asNumber, asPercent, asText, board, fill, language, make, textScale, words } from "./panel.js";
import { register } from "./widgets.js";

register("plot", drawPlot);

const LANE = 130; // pixels
const SWITCH_LANE = 26; // … of what is only on or off
const GAP = 14;
const [LEFT, RIGHT, BOTTOM] = [72, 12, 22];
const SHORTEST = 2; // seconds that are seen at least
const COLOURS = ["--plot-1", "--plot-2", "--plot-3", "--plot-4"];

/** The card of a plot; `plot` are names of devices, `span` the seconds that are seen at first. */
function drawPlot({ plot: names, span = 120, label }, number) {
  const series = names.map((name, i) => {
    const device = board.devices[name].description;
    watch(name);
    return { name, device, title: device.label || name, colour: COLOURS[i % COLOURS.length] };
  });
  const lanes = makeLanes(series);
  const card = makeCard({ label: label || words["over-time"] }, `plot-${number}`, "h3");
  card.element.dataset.widget = "plot";
  const canvas = make("canvas", { role: "img", tabIndex: 0 });
  const legend = make("ul", { className: "legend" });
  const view = { span, end: null }; // end null: now, and it moves on
  const button = (text, label, act) => {
    const made = make("button", { type: "button", "aria-label": label, title: label }, text);
    made.addEventListener("click", act);
    return made;
  };
  const now = button(words.now, words.now, () => move(null));
  const tools = make(
    "p",
    { className: "tools" },
    button("−", words["zoom-out"], () => zoom(2)),
    button("+", words["zoom-in"], () => zoom(0.5)),
    now,
    button("CSV", words.csv, () => save(series)),
  );
  for (const each of series) {
    const dot = make("span", { className: "dot", "aria-hidden": "true" });
    dot.style.backgroundColor = `var(${each.colour})`;
    each.shown = make("b", {});
    legend.append(make("li", {}, dot, `${each.title} `, each.shown));
  }
  card.head.append(tools);
  card.element.append(canvas, legend);

  function paint() {
    if (document.hidden || !canvas.isConnected || !canvas.clientWidth) return;
    const width = canvas.clientWidth / textScale();
    const height = lanes.reduce((sum, lane) => sum + lane.height + GAP, BOTTOM);
    const scale = devicePixelRatio * textScale();
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.height = `${height / 16}rem`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const end = view.end ?? seconds();
    paintAll(context, lanes, { from: end - view.span, to: end, width, height });
    describe();
  }
  function describe() {
    const parts = series.map(({ name, device, title, shown }) => {
      const state = board.devices[name].state;
      const value = state.stale || !board.online ? null : state.value;
      shown.textContent = typeof value === "number" ? asNumber(value, device) : asText(value);
      return `${title}: ${shown.textContent}`;
    });
    canvas.setAttribute("aria-label", fill(words.plot, { what: parts.join(", "), span: Math.round(view.span) }));
  }
  function zoom(by, at = 1) {
    const end = view.end ?? seconds();
    const before = view.span;
    view.span = Math.min(24 * 3600, Math.max(SHORTEST, view.span * by));
    if (view.end !== null) view.end = end - (1 - at) * (before - view.span);
    paint();
  }
  function move(end) {
    view.end = end === null || end >= seconds() ? null : end;
    now.setAttribute("aria-disabled", String(view.end === null));
    paint();
  }
  const pan = (by) => move((view.end ?? seconds()) + by);
  const seenWidth = () => canvas.clientWidth - (LEFT + RIGHT) * textScale(); // of the curves
  const perPixel = () => view.span / seenWidth();

  canvas.addEventListener("keydown", ({ key }) => {
    if (key === "+") zoom(0.5);
    else if (key === "-") zoom(2);
    else if (key === "ArrowLeft") pan(-view.span / 4);
    else if (key === "ArrowRight") pan(view.span / 4);
    else if (key === "End") move(null);
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
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons === 1) pan(-event.movementX * perPixel());
  });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("dblclick", () => move(null));

  move(null);
  recall().then(paint);
  addEventListener("resize", paint);
  setInterval(paint, 250); // time goes on, whether something changes or not
  requestAnimationFrame(paint);
  return card.element;
}

const seconds = () => performance.now() / 1000;

/** Numbers of one unit share a lane; what is on or off has a low one of its own. */
function makeLanes(series) {
  const lanes = new Map();
  for (const each of series) {
    const { device } = each;
    each.isSwitch = ["switch", "button", "lamp"].includes(device.widget);
    const key = each.isSwitch ? `switch ${each.name}` : (device.unit ?? "");
    if (!lanes.has(key)) lanes.set(key, { unit: device.unit ?? "", series: [], height: each.isSwitch ? SWITCH_LANE : LANE });
    lanes.get(key).series.push(each);
  }
  // What goes from 0 to 1 is a share: the whole of it is shown, in percent.
  for (const lane of lanes.values()) {
    lane.isShare = lane.series.every(({ device }) => !device.unit && device.min >= 0 && device.max <= 1);
  }
  return [...lanes.values()];
}

function paintAll(context, lanes, { from, to, width }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - RIGHT);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const marks = timeMarks(from, to, (width - LEFT - RIGHT) / 90);
  let top = GAP / 2;
  for (const lane of lanes) {
    const bottom = top + lane.height;
    const [low, high] = laneRange(lane, from, to);
    const y = (value) => bottom - ((value - low) / (high - low)) * lane.height;
    context.strokeStyle = colour("--edge");
    context.fillStyle = colour("--ink-soft");
    context.lineWidth = 1;
    context.beginPath();
    for (const { at } of marks) line(context, x(at), top, x(at), bottom);
    context.textAlign = "right";
    const step = niceStep((high - low) / (lane.height / 32));
    const isSwitch = lane.height === SWITCH_LANE;
    for (let value = Math.ceil(low / step - 1e-9) * step + 0; !isSwitch && value <= high + step * 1e-6; value += step) {
      line(context, LEFT, y(value), width - RIGHT, y(value));
      const text = lane.isShare ? asPercent(value) : short(value, step);
      context.fillText(text, LEFT - 6, y(value));
    }
    if (isSwitch) {
      line(context, LEFT, bottom, width - RIGHT, bottom);
      context.fillText(words.on, LEFT - 6, top + 6);
      context.fillText(words.off, LEFT - 6, bottom - 5);
    }
    context.stroke();
    context.save();
    context.beginPath();
    context.rect(LEFT, top - 2, width - LEFT - RIGHT, lane.height + 4);
    context.clip();
    for (const each of lane.series) trace(context, each, { from, to, x, y, bottom, colour: colour(each.colour) });
    context.restore();
    top = bottom + GAP;
  }
  context.fillStyle = colour("--ink-soft");
  context.textAlign = "center";
  for (const { at, text } of marks) context.fillText(text, Math.min(width - 24, x(at)), top + 2);
}

/** Draw one device; what it was set to holds until the next change, between readings is a line. */
function trace(context, { name, isSwitch, device }, { from, to, x, y, bottom, colour }) {
  const { times, values } = history(name);
  const steps = isSwitch || (device.commands ?? []).some((command) => command.name === "set");
  const end = x(Math.min(to, seconds()));
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  let before = null;
  for (let i = Math.max(0, firstAfter(times, from) - 1); i < times.length && times[i] <= to + 1; i++) {
    const value = values[i];
    const px = x(times[i]);
    if (before !== null && (steps || !Number.isFinite(value))) context.lineTo(px, before);
    if (!Number.isFinite(value)) {
      before = null;
      continue;
    }
    if (before === null) context.moveTo(px, y(value));
    else context.lineTo(px, y(value));
    before = y(value);
    if (!isSwitch || !value) continue;
    const until = i + 1 < times.length ? Math.min(end, x(times[i + 1])) : end;
    context.globalAlpha = 0.15;
    context.fillRect(px, before, until - px, bottom - before);
    context.globalAlpha = 1;
  }
  if (before !== null) context.lineTo(end, before);
  context.stroke();
}

function laneRange({ series, isShare }, from, to) {
  if (series[0].isSwitch) return [-0.1, 1.15];
  if (isShare) return [-0.02, 1.02];
  let [low, high] = [Infinity, -Infinity];
  for (const { name } of series) {
    const { times, values } = history(name);
    for (let i = Math.max(0, firstAfter(times, from) - 1); i < times.length && times[i] <= to; i++) {
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
  }
  if (low > high) [low, high] = [0, 1];
  const room = (high - low || Math.abs(high) * 0.1 || 1) * 0.1;
  return [low - room, high + room];
}

function firstAfter(times, time) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

function timeMarks(from, to, most) {
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400].find((s) => (to - from) / s <= most) ?? 28800;
  const shift = wall();
  const format = new Intl.DateTimeFormat(language, {
    hourCycle: "h23",
    hour: "2-digit",
    minute: "2-digit",
    ...(step < 60 ? { second: "2-digit" } : {}),
  });
  const marks = [];
  for (let at = Math.ceil((from + shift) / step) * step; at <= to + shift; at += step) {
    marks.push({ at: at - shift, text: format.format(at * 1000) });
  }
  return marks;
}

/** Seconds since 1970 at the time 0 of performance.now(). */
const wall = () => performance.timeOrigin / 1000;

const short = (value, step) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: Math.max(0, Math.ceil(-Math.log10(step))) }).format(value);

function line(context, x1, y1, x2, y2) {
  context.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  context.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
}

/** All that is known, in the format of the lab's recordings: a line for each moment of a change. */
function save(series) {
  const past = series.map(({ name }) => history(name));
  const times = [...new Set(past.flatMap((each) => each.times))].sort((a, b) => a - b);
  const at = past.map(() => -1);
  const rows = times.map((time) => {
    const values = past.map((each, i) => {
      while (each.times[at[i] + 1] <= time) at[i]++;
      return each.values[at[i]] ?? NaN;
    });
    const when = new Date((time + wall()) * 1000).toISOString().replace("Z", "+00:00");
    const valid = values.map((value) => Number(Number.isFinite(value)));
    return [(time - times[0]).toFixed(3), when, ...values.map((value, i) => (valid[i] ? value : "")), ...valid].join(",");
  });
  const names = series.map(({ name }) => name);
  const head = ["seconds", "time", ...names, ...names.map((name) => `${name}_valid`)];
  const blob = new Blob([[head.join(","), ...rows, ""].join("\r\n")], { type: "text/csv" });
  const link = make("a", { href: URL.createObjectURL(blob), download: `${names[0]}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
