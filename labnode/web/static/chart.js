// Curves over time: what is seen of the past, in lanes with their axes, on a canvas.

import { history } from "./history.js";
import { asDecimal, asNumber, asPercent, asText, isShare, language } from "./panel.js";

const LANE = 130; // pixels
const SWITCH_LANE = 26; // … of what is only on or off
const GAP = 14;
const FEW = 300; // points that are worth a thick line, which takes a browser ten times longer
const LABEL = 15; // the height of a value beside the crosshair
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400]; // seconds between marks
export const [LEFT, RIGHT, BOTTOM] = [72, 12, 22];

export const seconds = () => performance.now() / 1000;

/** Seconds since 1970 at the time 0 of performance.now(). */
export const wall = () => performance.timeOrigin / 1000;

/** A device as a chart draws it; `steps`: what it was set to holds until the next change. */
export function makeSeries(device, colour) {
  const isSwitch = ["switch", "button", "lamp"].includes(device.widget);
  const steps = isSwitch || (device.commands ?? []).some(({ name }) => name === "set");
  return { name: device.name, device, title: device.label || device.name, colour, isSwitch, steps, shown: true };
}

/** Numbers of one unit share a lane; what is on or off has a low one of its own. */
export function makeLanes(series) {
  const lanes = new Map();
  for (const each of series) {
    const { device, isSwitch } = each;
    const key = isSwitch ? `switch ${each.name}` : isShare(device) ? "share" : (device.unit ?? "");
    if (!lanes.has(key)) lanes.set(key, { isSwitch, unit: device.unit ?? "", series: [], height: isSwitch ? SWITCH_LANE : LANE });
    lanes.get(key).series.push(each);
  }
  for (const lane of lanes.values()) {
    // What goes from 0 to 1 is a share: the whole of it is shown, in percent.
    lane.isShare = !lane.isSwitch && lane.series.every(({ device }) => isShare(device));
    lane.below = lane.isShare && lane.series.some(({ device }) => device.min < 0);
  }
  return [...lanes.values()];
}

export const heightOf = (lanes) => lanes.reduce((sum, lane) => sum + lane.height + GAP, BOTTOM);

/**
 * What is seen of a device from one time to another, with no more points than `columns` can show:
 * `times`, `values`, and `min`, `max` and the `mean` over the time in which the value was known.
 */
export function look(series, from, to, columns) {
  const { times, values } = history(series.name);
  if (series.blocks?.times !== times) series.blocks = new Blocks(times, values, series.steps);
  const { blocks, steps } = series;
  blocks.extend();
  const seen = { times: [], values: [], min: Infinity, max: -Infinity, mean: NaN };
  const until = Math.min(to, seconds());
  const width = (to - from) / columns;
  let [sum, known, column, low, high] = [0, 0, -Infinity, -1, -1];
  const give = (i) => {
    seen.times.push(times[i]);
    seen.values.push(values[i]);
  };
  const flush = () => {
    if (low >= 0) give(Math.min(low, high));
    if (low !== high) give(Math.max(low, high));
    low = high = -1;
  };
  /** The lowest and the highest of points that begin at a time belong to the column there. */
  const take = (time, lowest, highest) => {
    const at = Math.floor((time - from) / width);
    if (at !== column) flush();
    column = at;
    if (low < 0 || values[lowest] < values[low]) low = lowest;
    if (high < 0 || values[highest] > values[high]) high = highest;
  };
  let i = Math.max(0, firstAfter(times, from) - 1);
  while (i < times.length && times[i] <= to) {
    const block = times[i] < from ? undefined : blocks.from(i, until, width);
    if (block) {
      take(times[i], block.low, block.high);
      if (values[block.low] < seen.min) seen.min = values[block.low];
      if (values[block.high] > seen.max) seen.max = values[block.high];
      sum += block.area;
      known += block.lasts;
      i = block.end;
      continue;
    }
    const value = values[i];
    if (Number.isNaN(value)) {
      flush();
      give(i);
    } else {
      const begin = times[i] < from ? from : times[i];
      const end = i + 1 < times.length && times[i + 1] < until ? times[i + 1] : until; // the last one is held until now
      const first = times[i] < from ? between(times, values, i, from, steps) : value;
      if (first < seen.min) seen.min = first;
      if (first > seen.max) seen.max = first;
      if (end > begin) {
        sum += between(times, values, i, (begin + end) / 2, steps) * (end - begin);
        known += end - begin;
      }
      take(times[i], i, i);
    }
    i++;
  }
  if (i < times.length) Number.isNaN(values[i]) ? (flush(), give(i)) : take(times[i], i, i); // where the last line leads
  flush();
  if (known > 0) seen.mean = sum / known;
  return seen;
}

/** The value between a point and the next one: between readings is a line. */
function between(times, values, i, time, steps) {
  const next = values[i + 1] ?? NaN;
  if (steps || Number.isNaN(next) || times[i + 1] === times[i]) return values[i];
  return values[i] + ((next - values[i]) * (time - times[i])) / (times[i + 1] - times[i]);
}

const SIZE = 8; // points of the smallest blocks; the next larger ones are of two

/** What blocks of points have in common, so that an hour need not be looked at point by point. */
class Blocks {
  constructor(times, values, steps) {
    Object.assign(this, { times, values, steps, sizes: [] }); // the blocks of each size
  }

  /** The largest block without a gap that begins at a point, ends by a time and is shorter than `width`. */
  from(i, until, width) {
    let found;
    for (let n = 0, size = SIZE; n < this.sizes.length && i % size === 0; n++, size *= 2) {
      const block = this.sizes[n][i / size];
      if (!(block?.lasts < width && this.times[block.end] <= until)) break;
      found = block;
    }
    return found;
  }

  /** Take in what is new: a block is there once the point after it is. */
  extend() {
    this.#grow(0, Math.floor((this.times.length - 1) / SIZE), (block) => this.#ofPoints(block * SIZE));
    for (let n = 1; this.sizes[n - 1]?.length > 1; n++) {
      const smaller = this.sizes[n - 1];
      this.#grow(n, smaller.length >> 1, (block) => this.#ofTwo(smaller[2 * block], smaller[2 * block + 1]));
    }
  }

  #grow(size, most, make) {
    const blocks = (this.sizes[size] ??= []);
    while (blocks.length < most) blocks.push(make(blocks.length));
  }

  /** Where the lowest and the highest value is, the area under the curve, how long it lasts (NaN: there is a gap). */
  #ofPoints(start) {
    const { times, values, steps } = this;
    const block = { low: start, high: start, area: 0, lasts: NaN, end: start + SIZE };
    for (let i = start; i < block.end; i++) {
      if (values[i] < values[block.low]) block.low = i;
      if (values[i] > values[block.high]) block.high = i;
      block.area += between(times, values, i, (times[i] + times[i + 1]) / 2, steps) * (times[i + 1] - times[i]);
    }
    if (!Number.isNaN(block.area)) block.lasts = times[block.end] - times[start];
    return block;
  }

  #ofTwo(first, second) {
    const low = this.values[second.low] < this.values[first.low] ? second.low : first.low;
    const high = this.values[second.high] > this.values[first.high] ? second.high : first.high;
    return { low, high, area: first.area + second.area, lasts: first.lasts + second.lasts, end: second.end };
  }
}

/** What a device had shown last at a time; NaN where that is not known. */
export function valueAt(name, time) {
  const { times, values } = history(name);
  return time > seconds() ? NaN : (values[firstAfter(times, time) - 1] ?? NaN);
}

/** Draw the lanes from one time to another; each is left with its place, for `drawCrosshair`. */
export function drawLanes(context, lanes, { from, to, width }, colour) {
  const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - RIGHT);
  begin(context);
  const columns = width - LEFT - RIGHT;
  const place = { x, columns, until: Math.min(to, seconds()) };
  const marks = timeMarks(from, to, columns / 90);
  let top = GAP / 2;
  for (const lane of lanes) {
    const bottom = top + lane.height;
    const seen = lane.series.map((each) => (each.seen = look(each, from, to, columns)));
    const [low, high] = rangeOf(lane, seen);
    lane.top = top;
    lane.y = (value) => bottom - ((value - low) / (high - low)) * lane.height;
    context.strokeStyle = colour("--edge");
    context.fillStyle = colour("--ink-soft");
    context.lineWidth = 1;
    context.beginPath();
    for (const { at } of marks) line(context, x(at), top, x(at), bottom);
    context.textAlign = "right";
    if (lane.isSwitch) {
      line(context, LEFT, bottom, width - RIGHT, bottom);
      context.fillText(asText(true, lane.series[0].device), LEFT - 6, top + 6, LEFT - 10);
      context.fillText(asText(false, lane.series[0].device), LEFT - 6, bottom - 5, LEFT - 10);
    } else for (const { value, text } of valueMarks(lane, low, high)) {
      line(context, LEFT, lane.y(value), width - RIGHT, lane.y(value));
      context.fillText(text, LEFT - 6, lane.y(value), LEFT - 8);
    }
    context.stroke();
    context.save();
    context.beginPath();
    context.rect(LEFT, top - 2, width - LEFT - RIGHT, lane.height + 4);
    context.clip();
    for (const each of lane.series) drawCurve(context, each, { ...place, y: lane.y, bottom }, colour(each.colour));
    context.restore();
    top = bottom + GAP;
  }
  context.fillStyle = colour("--ink-soft");
  context.textAlign = "center";
  for (const { at, text } of marks) context.fillText(text, Math.min(width - 24, x(at)), top + 2);
}

/** Draw a line at a time, and beside it what each device showed then. */
export function drawCrosshair(context, lanes, { from, to, width, height }, at, colour) {
  const x = LEFT + ((at - from) / (to - from)) * (width - LEFT - RIGHT);
  begin(context);
  context.strokeStyle = colour("--ink-soft");
  context.lineWidth = 1;
  context.setLineDash([4, 3]);
  context.beginPath();
  line(context, x, 0, x, height - BOTTOM);
  context.stroke();
  context.setLineDash([]);
  const right = x < width * 0.7;
  context.textAlign = right ? "left" : "right";
  for (const lane of lanes) {
    let free = -Infinity; // labels stand below each other
    const values = lane.series.map((each) => ({ each, value: valueAt(each.name, at) })).filter(({ value }) => Number.isFinite(value));
    for (const { each, value } of values.sort((a, b) => b.value - a.value)) {
      const y = lane.y(value);
      const text = each.isSwitch ? asText(Boolean(value), each.device) : asNumber(value, each.device);
      const place = Math.max(free, Math.min(lane.top + lane.height - LABEL / 2, Math.max(lane.top + LABEL / 2, y)));
      const long = context.measureText(text).width;
      const edge = x + (right ? 8 : -8);
      context.fillStyle = colour("--card");
      context.globalAlpha = 0.85;
      context.fillRect(right ? edge - 3 : edge - long - 3, place - LABEL / 2, long + 6, LABEL);
      context.globalAlpha = 1;
      context.fillStyle = colour(each.colour);
      context.fillText(text, edge, place);
      context.beginPath();
      context.arc(x, y, 3.5, 0, 2 * Math.PI);
      context.fill();
      free = place + LABEL;
    }
  }
  context.textAlign = "center";
  context.fillStyle = colour("--card");
  context.fillRect(x - 30, height - BOTTOM, 60, BOTTOM);
  context.fillStyle = colour("--ink");
  context.fillText(clock(true).format((at + wall()) * 1000), Math.min(width - 32, Math.max(32, x)), height - BOTTOM / 2 - 2);
}

function begin(context) {
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.lineJoin = "round";
}

/** Draw one device; what it was set to holds until the next change, between readings is a line. */
function drawCurve(context, { seen, isSwitch, steps }, { x, y, bottom, until, columns }, colour) {
  const { times, values } = seen;
  const end = x(until);
  context.strokeStyle = context.fillStyle = colour;
  if (!isSwitch && times.length > columns) return drawDense(context, seen, { x, y });
  context.lineWidth = isSwitch || times.length < FEW ? 2 : 1;
  context.beginPath();
  let before = null;
  for (let i = 0; i < times.length; i++) {
    const value = values[i];
    const px = x(times[i]);
    if (before !== null && (steps || Number.isNaN(value))) context.lineTo(px, before);
    if (Number.isNaN(value)) {
      before = null;
      continue;
    }
    if (before === null) context.moveTo(px, y(value));
    else context.lineTo(px, y(value));
    before = y(value);
    if (!isSwitch || !value) continue;
    const to = i + 1 < times.length ? Math.min(end, x(times[i + 1])) : end;
    context.globalAlpha = 0.15;
    context.fillRect(px, before, to - px, bottom - before);
    context.globalAlpha = 1;
  }
  if (before !== null) context.lineTo(end, before);
  context.stroke();
}

/** As a bar for each column of pixels: a line that goes up and down in each would take a browser far longer. */
function drawDense(context, { times, values }, { x, y }) {
  let [column, low, high, before] = [0, 0, 0, NaN];
  const flush = () => {
    context.moveTo(column + 0.5, low);
    context.lineTo(column + 0.5, Math.max(high, low + 1));
  };
  context.lineWidth = 1;
  context.beginPath();
  for (let i = 0; i < times.length; i++) {
    const place = y(values[i]);
    const at = Math.floor(x(times[i]));
    if (at !== column || Number.isNaN(place)) {
      if (!Number.isNaN(before)) flush();
      [column, low, high] = [at, place, place];
    }
    low = Math.min(low, place, Number.isNaN(before) ? place : before);
    high = Math.max(high, place, Number.isNaN(before) ? place : before);
    before = place;
  }
  if (!Number.isNaN(before)) flush();
  context.stroke();
}

function rangeOf(lane, seen) {
  if (lane.isSwitch) return [-0.1, 1.15];
  if (lane.isShare) return [lane.below ? -1.02 : -0.02, 1.02];
  let low = Math.min(...seen.map(({ min }) => min));
  let high = Math.max(...seen.map(({ max }) => max));
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

/** Round numbers on the axis of a lane, the highest with the unit. */
function valueMarks({ isShare: share, unit, height }, low, high) {
  const step = niceStep((high - low) / (height / 32));
  const marks = [];
  for (let value = Math.ceil(low / step - 1e-9) * step + 0; value <= high + step * 1e-6; value += step) {
    marks.push({ value, text: share ? asPercent(value) : asDecimal(value, { digits: Math.max(0, Math.ceil(-Math.log10(step))) }) });
  }
  if (!share && unit && marks.length) marks.at(-1).text += unit === "°" ? unit : ` ${unit}`;
  return marks;
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9));
}

const clocks = new Map(); // one takes longer to make than to use

function clock(withSeconds) {
  if (!clocks.has(withSeconds)) {
    const parts = { hour: "2-digit", minute: "2-digit", ...(withSeconds ? { second: "2-digit" } : {}) };
    clocks.set(withSeconds, new Intl.DateTimeFormat(language, { hourCycle: "h23", ...parts }));
  }
  return clocks.get(withSeconds);
}

function timeMarks(from, to, most) {
  const step = STEPS.find((s) => (to - from) / s <= most) ?? 28800;
  const shift = wall();
  const marks = [];
  for (let at = Math.ceil((from + shift) / step) * step; at <= to + shift; at += step) {
    marks.push({ at: at - shift, text: clock(step < 60).format(at * 1000) });
  }
  return marks;
}

function line(context, x1, y1, x2, y2) {
  context.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  context.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
}
