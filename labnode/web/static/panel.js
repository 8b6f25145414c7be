// The board of this page, its words, and how things are written down.

import { Board } from "./labnode.js";

const boot = JSON.parse(document.getElementById("boot").textContent);

export const { words, language, root } = boot;
export const board = new Board(boot);
export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (or attributes) and children; text is only ever text. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** As `make`, of a drawing. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A picture before a name: one of static/icons.svg by its name, or a character of its own. */
export function icon(name) {
  if (!/^[a-z-]+$/.test(name)) return make("span", { className: "icon", "aria-hidden": "true" }, name);
  const use = draw("use", { href: `${root}static/icons.svg#${name}` });
  return draw("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, use);
}

/** What went wrong: the lab's sentence, or the page's own where it has heard none. */
export function explain({ code, message }) {
  return message || words[`error:${code}`] || words.error;
}

/** A text that may have been given in several languages, or as a message of the catalogue. */
export function inWords(text) {
  if (typeof text === "string") return text;
  if (text.message) return fill(words[text.message.slice(5)] ?? "", text);
  const known = Object.fromEntries(Object.entries(text).map(([tag, told]) => [tag.toLowerCase(), told]));
  return known[boot.locales.find((tag) => tag in known)] ?? Object.values(text)[0] ?? "";
}

/** A value; a device (its description) may have words of its own for on and off. */
export function asText(value, { words: own = words } = {}) {
  if (value === null || value === undefined) return words["no-value"];
  if (typeof value === "boolean") return value ? own.on : own.off;
  return typeof value === "string" ? value : JSON.stringify(value);
}

const formats = new Map(); // one takes longer to make than to use

function format(number, options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(language, { signDisplay: "negative", ...options }));
  return formats.get(key).format(number);
}

export function asPercent(share) {
  return format(share, { style: "percent", maximumFractionDigits: 0 });
}

/** A number with as many decimals as its device has; where nobody knows, with those that it has. */
export function asDecimal(number, device, most = 3) {
  const digits = decimals(device);
  return format(number, digits === undefined ? { maximumFractionDigits: most } : fixed(digits));
}

export const fixed = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Those of the device's resolution, else of the steps in which it is set. */
function decimals({ digits, step }) {
  return digits ?? (step && Math.min(6, String(step).split(".")[1]?.length ?? 0));
}

/** Whether it is a share of 1, which reads better as a percentage. */
export function isShare({ unit, min, max, share }) {
  return !unit && (share || (min >= 0 && max <= 1));
}

/** A number with its unit. */
export function asNumber(value, device) {
  if (isShare(device)) return asPercent(value);
  const { unit } = device;
  const number = asDecimal(value, device);
  return unit === "°" || !unit ? `${number}${unit ?? ""}` : `${number} ${unit}`;
}

/** "12 s", "3 min" in the student's language. */
export function asAge(seconds) {
  const [value, unit] =
    seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
  const style = { style: "unit", unit, unitDisplay: "narrow" };
  return new Intl.NumberFormat(language, { ...style, maximumFractionDigits: 0 }).format(value);
}

/** A text with a name in it: fill("Bit {n}", { n: 3 }). */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** How much larger than usual the student has text: drawings grow with it. */
export function textScale() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}
