// The cards of the devices, and what may be drawn into them: widgets, by their names.

import { makeCard } from "./card.js";
import { asAge, board, fill, inWords, language, make, words } from "./panel.js";

const widgets = new Map();

/**
 * Have the widget `name` drawn by `draw(device, card)`, which puts its elements into the card and
 * returns what is called with each new state of the device. The first of a name counts.
 */
export function register(name, draw) {
  if (!widgets.has(name)) widgets.set(name, draw);
}

export function widget(name) {
  return widgets.get(name);
}

/** Commands without arguments that the widget does not offer itself: each gets a button. */
const COVERED = {
  switch: ["on", "off", "toggle"],
  button: ["on", "off", "toggle", "press"],
  slider: ["on", "off"],
  dial: ["on", "off"],
  rgb: ["on", "off", "toggle"],
  upload: ["blank", "program"],
};

function otherCommands({ widget, min, commands = [] }) {
  const covered = (COVERED[widget] ?? []).filter((name) => name !== "off" || !(min > 0));
  return commands.filter(({ name, parameters }) => !parameters.length && !covered.includes(name));
}

/** The card of a device. */
export function drawDevice(device) {
  const card = makeCard(device, `device-${device.name}`);
  card.element.dataset.device = device.name;
  const kind = widgets.has(device.widget) ? device.widget : "value";
  card.element.dataset.widget = kind;
  card.element.dataset.size = device.size ?? "normal";
  const show = widget(kind)(device, card);
  const buttons = otherCommands(device).map(({ name }) => {
    const text = words[`command:${name}`] ?? name.replaceAll("_", " ");
    const button = make("button", { type: "button" }, text);
    card.guard(button, () => name === "off");
    button.addEventListener("click", () => card.act(() => board.command(device.name, name)));
    return button;
  });
  if (buttons.length) card.element.append(make("p", { className: "buttons" }, ...buttons));
  const deadman = make("p", { className: "deadman", role: "status" });
  if (device.deadman) card.element.append(deadman);
  card.element.append(card.slot);

  attend(device, card, (state) => {
    const guarded = state.unheard ? "unheard" : "deadman";
    deadman.textContent = fill(words[guarded], { n: device.deadman });
    deadman.classList.toggle("acted", Boolean(state.unheard));
    show(state);
  });
  return card.element;
}

/** Have a card show how its device is, now and at every change: `show(state)`. */
export function attend(device, card, show) {
  const look = (name) => {
    if (name !== device.name) return;
    const state = board.expected(name);
    card.element.classList.toggle("stale", Boolean(state.stale));
    card.element.classList.toggle("wanted", Boolean(state.wanted));
    card.block(whyNot(state), state.held);
    show(state);
  };
  look(device.name);
  board.on("change", look);
  board.on("expect", look);
  setInterval(() => {
    const { state } = board.devices[device.name];
    if (state.stale && !document.hidden) card.block(whyNot(state), state.held); // it grows older
  }, 1000);
}

/** Why a device cannot be used as it is now; "" where it can. */
function whyNot(state) {
  if (state.locked) return inWords(state.locked);
  if (state.lent) return words["console:lent"];
  if (state.error) {
    const own = language === "en" && state.error !== "device"; // drivers speak English
    return own ? fill(words["device-error"], { error: state.error }) : words["error:device"];
  }
  if (state.connected === false) return words.disconnected;
  if (!state.stale) return "";
  const age = board.age(state);
  return Number.isNaN(age) ? words.stale : fill(words["stale-since"], { age: asAge(age) });
}
