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

export function asText(value) {
  if (value === null || value === undefined) return words["no-value"];
  if (typeof value === "boolean") return value ? words.on : words.off;
  return typeof value === "string" ? value : JSON.stringify(value);
}

export function asPercent(share) {
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(share);
}

/** A number with its unit; a share of 1 reads better as a percentage. */
export function asNumber(value, { unit, min, max }, step = 0.001) {
  if (!unit && min >= 0 && max <= 1) return asPercent(value);
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step))));
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
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
