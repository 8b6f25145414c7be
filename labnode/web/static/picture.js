// The picture of the board, with its devices on it: lights, switches, push buttons, digits, readings.

import { makeCard } from "./card.js";
import { pressable } from "./controls.js";
import { asNumber, asText, board, byId, draw, fill, make, words } from "./panel.js";
import { attend, register } from "./widgets.js";
import { hasBit } from "./wishes.js";

register("picture", drawPicture);

const SHAPES = { led: drawLed, slide: drawSlide, push: drawPush, reading: drawReading, digits: drawDigits };
export const SIZES = { led: 0.03, slide: 0.055, push: 0.055, reading: 0.13, digits: 0.12 }; // of the picture's width
const COLOURS = {
  red: "#ff4136",
  orange: "#ff9416",
  yellow: "#ffdc2e",
  green: "#2fe070",
  blue: "#4c9dff",
  white: "#fff6dc",
};
const USUAL = { led: "green", digits: "red" };
const ZOOMS = [1, 1.5, 2, 3, 4];

/** Load the style of what is on a picture, once. */
export function useStyle() {
  if (byId("picture-style")) return;
  const href = new URL("picture.css", import.meta.url);
  document.head.append(make("link", { id: "picture-style", rel: "stylesheet", href }));
}

/** The picture of the board, as `board.description.picture` says, with `devices` on it. */
export function drawPicture({ width, height, alt, devices }) {
  useStyle();
  const image = make("img", { src: board.url("api/picture"), alt: "", draggable: false });
  const spots = make("div", { className: "spots" });
  const ground = make("div", { className: "ground" }, image, spots);
  ground.style.setProperty("--ratio", width / height);
  const view = make("div", { className: "view" }, ground);
  const loose = make("div", { className: "loose" });
  const name = make("span", { className: "named", "aria-hidden": "true" });
  const says = make("div", { className: "says" }, name);
  const label = alt || fill(words.picture, { title: board.title });
  const foot = make("div", { className: "foot" }, says, makeZoom(ground, view));
  const figure = make("div", { className: "picture", role: "group", "aria-label": label }, view, loose, foot);
  for (const spot of devices) {
    const drawn = drawSpot(spot);
    if (!drawn) continue;
    (spot.at ? spots : loose).append(drawn.element);
    says.append(drawn.slot);
    const choose = () => {
      name.textContent = drawn.title();
      for (const slot of says.querySelectorAll(".slot")) slot.classList.toggle("current", slot === drawn.slot);
    };
    for (const event of ["pointerenter", "pointerdown", "focusin"]) drawn.element.addEventListener(event, choose);
    drawn.element.addEventListener("said", () => says.querySelector(".current") === drawn.slot && choose());
  }
  return figure;
}

/** A device on the picture: its `element`, the `slot` of what it has to say, and its `title` as it is. */
export function drawSpot(spot) {
  const { bit, shape } = spot;
  const device = board.devices[spot.device]?.description;
  if (!device) return null;
  const card = makeCard({ ...device, icon: "", label: labelOf(device, bit) }, `spot-${spot.device}${bit ?? ""}`);
  const { element } = card;
  element.className = "spot";
  element.dataset.shape = shape;
  element.dataset.spot = spot.device + (bit === undefined ? "" : `.${bit}`);
  card.head.className = "unseen";
  place(element, spot);
  const label = card.head.textContent;
  const settable = device.commands?.some(({ name }) => name === "set");
  const read = ({ value }) => (bit === undefined || value === null ? value : hasBit(value, bit));
  let text = "";
  const show = SHAPES[shape]({ spot, device, card, settable, read });
  attend(device, card, (state) => {
    const value = read(state);
    text = show(value) ?? textOf(value, device);
    const control = element.querySelector("[role=img]");
    control?.setAttribute("aria-label", `${label}: ${text}`);
    element.dispatchEvent(new Event("said"));
  });
  return { element, slot: card.slot, title: () => `${label}: ${text}` };
}

/** Put a spot where it says, in its size. */
export function place(element, { at, size, rotate, shape }) {
  const [x, y] = at ?? [];
  if (at) {
    element.style.left = `${100 * x}%`;
    element.style.top = `${100 * y}%`;
  }
  element.style.setProperty("--size", size ?? SIZES[shape]);
  element.style.setProperty("--turn", `${rotate ?? 0}deg`);
}

function labelOf({ name, label, bits }, bit) {
  if (bit === undefined) return label || name;
  return `${label || name}: ${bits?.[bit] ?? fill(words.bit, { n: bit })}`;
}

function textOf(value, device) {
  return typeof value === "number" ? asNumber(value, device) : asText(value);
}

/** Buttons that enlarge the picture in its frame, about the middle of what is seen. */
function makeZoom(ground, view) {
  let at = 0;
  const buttons = [-1, 1].map((step) => {
    const label = words[step > 0 ? "zoom-in" : "zoom-out"];
    const button = make("button", { type: "button", title: label, "aria-label": label }, step > 0 ? "+" : "−");
    button.addEventListener("click", () => {
      const next = Math.min(ZOOMS.length - 1, Math.max(0, at + step));
      const growth = ZOOMS[next] / ZOOMS[at];
      const middle = (start, seen) => (start + seen / 2) * growth - seen / 2;
      const [x, y] = [middle(view.scrollLeft, view.clientWidth), middle(view.scrollTop, view.clientHeight)];
      at = next;
      ground.style.setProperty("--zoom", ZOOMS[at]);
      view.classList.toggle("zoomed", at > 0);
      view.scrollTo(x, y);
      limit();
    });
    return button;
  });
  const limit = () => {
    buttons[0].setAttribute("aria-disabled", String(at === 0));
    buttons[1].setAttribute("aria-disabled", String(at === ZOOMS.length - 1));
  };
  limit();
  return make("span", { className: "zoom" }, ...buttons);
}

/** What is seen and, where it may be set, clicked: it is named by the card's label. */
function makeControl({ spot, card, settable, read }, ...drawing) {
  if (!settable) {
    const seen = make("span", { className: "control", role: "img" }, ...drawing);
    card.element.append(seen);
    return { control: seen, follow: () => {} };
  }
  const properties = { type: "button", className: "control", role: "switch", "aria-labelledby": card.labelId };
  const button = make("button", properties, ...drawing);
  const now = () => Boolean(read(board.expected(spot.device)));
  card.guard(button, now); // off is always possible
  button.addEventListener("click", () => card.put(!now(), spot.bit));
  card.element.append(button);
  return { control: button, follow: (value) => button.setAttribute("aria-checked", String(Boolean(value))) };
}

function colourOf({ color, shape }) {
  const name = color ?? USUAL[shape];
  return COLOURS[name] ?? name;
}

/** How strongly something is lit: a number between its limits, or on and off. */
function share(value, { min = 0, max = 1 }) {
  if (typeof value !== "number") return Number(Boolean(value) && value !== "#000000");
  return Math.min(1, Math.max(0, (value - min) / (max - min)));
}

function drawLed(parts) {
  const { spot, card, device, settable } = parts;
  const isSwitch = settable && (spot.bit !== undefined || device.widget === "switch");
  const { follow } = makeControl({ ...parts, settable: isSwitch }, make("span", { className: "bulb" }));
  card.element.style.setProperty("--glow", colourOf(spot));
  return (value) => {
    const coloured = typeof value === "string" && value.startsWith("#") && value !== "#000000";
    if (coloured) card.element.style.setProperty("--glow", value);
    card.element.style.setProperty("--lit", share(value, device));
    card.element.dataset.lit = value === null ? "unknown" : String(share(value, device) > 0);
    follow(value);
  };
}

function drawSlide(parts) {
  const { card } = parts;
  const { follow } = makeControl(parts, make("span", { className: "track" }, make("span", { className: "knob" })));
  return (value) => {
    card.element.dataset.lit = value === null ? "unknown" : String(Boolean(value));
    follow(value);
  };
}

function drawPush(parts) {
  const { spot, card, device, settable } = parts;
  const cap = make("span", { className: "cap" });
  if (settable) {
    const button = make("button", { type: "button", className: "control", "aria-labelledby": card.labelId }, cap);
    card.guard(button);
    pressable(button, device, card);
    card.element.append(button);
  } else {
    makeControl({ ...parts, spot }, cap);
  }
  return (value) => card.element.classList.toggle("pressed", Boolean(value));
}

function drawReading({ card, device }) {
  const shown = make("span", { className: "control", role: "img" });
  card.element.append(shown);
  return (value) => {
    shown.textContent = textOf(value, device);
  };
}

// The segments of a digit, as lines in a box of 12 x 20.
const LINES = {
  a: "M3 2H9",
  b: "M10 3V9",
  c: "M10 11V17",
  d: "M3 18H9",
  e: "M2 11V17",
  f: "M2 3V9",
  g: "M3 10H9",
};
const FORMS = {
  ...{ 0: "abcdef", 1: "bc", 2: "abdeg", 3: "abcdg", 4: "bcfg", 5: "acdfg", 6: "acdefg", 7: "abc", 8: "abcdefg" },
  ...{ 9: "abcdfg", "-": "g", A: "abcefg", B: "cdefg", C: "adef", D: "bcdeg", E: "adefg", F: "aefg", H: "bcefg" },
  ...{ L: "def", N: "ceg", O: "cdeg", P: "abefg", R: "eg", T: "defg", U: "bcdef" },
};
const ORDER = ["a", "b", "c", "d", "e", "f", "g", "dp"];

function drawDigits({ spot, card, device }) {
  const isBank = device.widget === "bank"; // its bits are the segments of one digit
  const count = isBank ? 1 : spot.digits;
  const digits = Array.from({ length: count }, (_, index) => makeDigit(index));
  const box = { viewBox: `-1 0 ${14 * count} 20`, "aria-hidden": "true" };
  const seen = make("span", { className: "control", role: "img" }, draw("svg", box, ...digits.map(({ drawing }) => drawing)));
  card.element.append(seen);
  card.element.style.setProperty("--glow", colourOf(spot));
  return (value) => {
    if (isBank) {
      const lit = new Set((spot.segments ?? ORDER).filter((_, bit) => value !== null && hasBit(value, bit)));
      digits[0].light(lit);
      return charOf(lit);
    }
    const text = fitted(value, count, device.digits);
    const parts = text.match(/[^.]\.?|\./g) ?? [];
    digits.forEach(({ light }, index) => {
      const part = parts[index - count + parts.length] ?? "";
      const lit = FORMS[part[0]?.toUpperCase()] ?? "";
      light(new Set([...lit, ...(part.endsWith(".") ? ["dp"] : [])]));
    });
    return undefined;
  };
}

function makeDigit(index) {
  const lines = Object.entries(LINES).map(([name, d]) => [name, draw("path", { d })]);
  const point = draw("circle", { cx: 12, cy: 18.4, r: 1.1 });
  const drawing = draw("g", { transform: `translate(${14 * index} 0)` }, ...lines.map(([, line]) => line), point);
  const light = (names) => {
    for (const [name, line] of [...lines, ["dp", point]]) line.classList.toggle("lit", names.has(name));
  };
  return { drawing, light };
}

/** A number or a text in so many digits; dashes for what does not fit. */
function fitted(value, count, decimals) {
  if (value === null || value === undefined) return "-".repeat(count);
  if (typeof value !== "number") return String(value).slice(0, count);
  for (let most = Math.min(decimals ?? 3, count - 1); most >= 0; most--) {
    const text = decimals === undefined ? String(Number(value.toFixed(most))) : value.toFixed(most);
    if (text.replace(".", "").length <= count) return text;
  }
  return "-".repeat(count);
}

/** The character that segments make; else their letters, for those who do not see them. */
function charOf(lit) {
  const names = [...lit].filter((name) => name !== "dp").sort().join("");
  const found = Object.entries(FORMS).find(([, form]) => form === names);
  return found?.[0] ?? (names || "–");
}
