// What a student reads: lamps, values with their past, texts.

import { history, watch } from "./history.js";
import { asAge, asDecimal, asNumber, asPercent, asText, board, draw, isShare, make, words } from "./panel.js";
import { register } from "./widgets.js";

register("lamp", drawLamp);
register("value", drawValue);
register("text", drawText);

const SPAN = 60; // seconds of a sparkline
const [WIDTH, HEIGHT] = [120, 28];

function drawLamp(device, card) {
  const state = make("span", { className: "state" });
  const led = make("span", { className: "led", "aria-hidden": "true" });
  card.head.append(state, led);
  return ({ value }) => {
    state.textContent = asText(value, device);
    led.dataset.lit = value === null ? "unknown" : String(Boolean(value));
  };
}

function drawValue(device, card) {
  const state = make("span", { className: "state reading" });
  const line = draw("path", {});
  const spark = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" }, line);
  const scale = make("span", {}, make("span", {}), make("span", {}));
  const past = make("span", { className: "spark", "aria-hidden": "true", title: asAge(SPAN) }, spark, scale);
  card.head.append(past, state);
  watch(device.name);
  function trace() {
    const { low, high, drawn } = path(history(device.name));
    line.setAttribute("d", drawn);
    const [top, bottom] = low < high ? [high, low] : [NaN, NaN];
    [...scale.children].forEach((place, i) => (place.textContent = asScale([top, bottom][i], device)));
  }
  if (isSettable(device)) {
    const { min, max, step } = { step: "any", ...device };
    const limits = Object.entries({ min, max, step }).filter(([, limit]) => limit !== undefined);
    const field = make("input", { type: "number", required: true, ...Object.fromEntries(limits) });
    card.element.append(makeForm(device, card, field, Number));
  }
  // What stays the same has to move on, too; nobody looks at a hidden page.
  setInterval(() => document.hidden || trace(), 1000);
  return ({ value }) => {
    const numeric = typeof value === "number";
    state.textContent = numeric ? asNumber(value, device) : asText(value, device);
    past.hidden = !numeric;
    trace();
  };
}

function asScale(number, device) {
  if (Number.isNaN(number)) return "";
  return isShare(device) ? asPercent(number) : asDecimal(number, device);
}

/** The last minute of a device, as a line that fits the height, with a gap where nothing is known. */
function path({ times, values }) {
  const now = performance.now() / 1000;
  let from = times.length;
  while (from > 0 && times[from - 1] > now - SPAN) from--;
  from = Math.max(0, from - 1); // the one before still holds at the left edge
  const seen = values.slice(from).filter(Number.isFinite);
  const [low, high] = [Math.min(...seen), Math.max(...seen)];
  const share = (value) => (low === high ? 0.5 : (value - low) / (high - low));
  const y = (value) => (HEIGHT - 2 - share(value) * (HEIGHT - 4)).toFixed(1);
  const x = (time) => (Math.max(0, 1 - (now - time) / SPAN) * WIDTH).toFixed(1);
  let drawn = "";
  let before = NaN;
  for (let i = from; i <= times.length; i++) {
    const value = values[i] ?? NaN; // the last value goes on until now, another until it is known no more
    if (Number.isFinite(value)) drawn += `${Number.isFinite(before) ? "L" : "M"}${x(times[i])} ${y(value)}`;
    else if (Number.isFinite(before)) drawn += `H${x(times[i] ?? now)}`;
    before = value;
  }
  return { low, high, drawn };
}

/** A text that the device shows; one that takes a text has a field, or its choices, for it. */
function drawText(device, card) {
  const shown = make("pre", { className: "shown" });
  card.element.append(shown);
  let choice = null;
  if (device.choices) {
    const options = device.choices.map((text) => make("option", { value: text }, text));
    choice = make("select", { "aria-labelledby": card.labelId }, ...options);
    choice.addEventListener("change", async () => {
      await card.put(choice.value);
      choice.value = board.expected(device.name).value;
    });
    card.element.append(card.guard(choice));
    shown.hidden = true;
  } else if (isSettable(device)) {
    card.element.append(makeForm(device, card, make("input", { type: "text" }), (text) => text));
  }
  return ({ value }) => {
    shown.textContent = asText(value);
    if (choice && document.activeElement !== choice) choice.value = value;
  };
}

function isSettable({ commands = [] }) {
  return commands.some(({ name, parameters }) => name === "set" && parameters.length === 1);
}

/** A field whose content is sent to the device. */
function makeForm(device, card, field, read) {
  field.setAttribute("aria-labelledby", card.labelId);
  const send = make("button", { className: "strong" }, words.send);
  const form = make("form", { className: "line" }, card.guard(field), card.guard(send));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    card.put(read(field.value));
  });
  return form;
}
