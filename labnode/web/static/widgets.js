// The cards of the devices, and what may be drawn into them: widgets, by their names.

import { makeCard } from "./card.js";
import { board, byId, make, words } from "./panel.js";

const widgets = new Map();

/**
 * Have the widget `name` drawn by `draw(device, card)`, which puts its elements into the card and
 * returns what is called with each new state of the device. The first of a name counts.
 */
export function register(name, draw) {
  if (!widgets.has(name)) widgets.set(name, draw);
}

/** Commands without arguments that the widget does not offer itself: each gets a button. */
function otherCommands({ widget, min, commands = [] }) {
  const covered = { switch: ["on", "off", "toggle"], slider: min > 0 ? ["on"] : ["on", "off"] };
  return commands.filter(
    ({ name, parameters }) => !parameters.length && !covered[widget]?.includes(name),
  );
}

function drawDevice(device) {
  const card = makeCard(device, `device-${device.name}`);
  card.element.dataset.device = device.name;
  const widget = widgets.has(device.widget) ? device.widget : "value";
  card.element.classList.add(widget);
  const follow = widgets.get(widget)(device, card);
  const buttons = otherCommands(device).map(({ name }) => {
    const text = name === "off" ? words.off : name.replaceAll("_", " ");
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => card.act(() => board.command(device.name, name)));
    return button;
  });
  if (buttons.length) card.element.append(make("p", { className: "buttons" }, ...buttons));
  card.element.append(card.error);
  follow(board.devices[device.name].state);
  board.on("change", (name, state) => name === device.name && follow(state));
  return card.element;
}

function drawSection(title, rows) {
  const heading = make("h2", {}, title ?? words.devices);
  if (title === null) heading.className = "unseen";
  const grids = rows.map((row) => make("div", { className: "grid" }, ...row.map(drawDevice)));
  byId("devices").append(make("section", {}, heading, ...grids));
}

/** The rows of the board's `page:`, then the devices that are in no row by their groups. */
export function drawDevices() {
  const rest = new Map(board.description.devices.map((device) => [device.name, device]));
  const take = (name) => {
    const device = rest.get(name);
    rest.delete(name);
    return device;
  };
  const rows = (board.description.page ?? []).map((row) => row.map(take).filter(Boolean));
  if (rows.length) drawSection(null, rows);
  const groups = new Map();
  for (const device of rest.values()) {
    const group = device.group ?? null;
    groups.set(group, [...(groups.get(group) ?? []), device]);
  }
  for (const [title, devices] of groups) drawSection(title, [devices]);
}
