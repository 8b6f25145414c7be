// Where the cards stand: the rows of the board's `page:`, then what is in none of them.

import { board, byId, make, words } from "./panel.js";
import { drawTask } from "./tasks.js";
import { drawDevice, widget } from "./widgets.js";

const rest = { devices: new Map(), tasks: new Map() };

/** Draw all cards of the board; a page of the lab's own may have places for some of them. */
export function drawBoard() {
  const { devices, tasks, page } = board.description;
  for (const device of devices) rest.devices.set(device.name, device);
  for (const task of tasks) rest.tasks.set(task.name, task);
  let drawn = 0;
  const draw = (item) => {
    if (typeof item === "string") return take("devices", item, drawDevice);
    if (item.task !== undefined) return take("tasks", item.task, drawTask);
    return item.plot ? widget("plot")(item, drawn++) : drawProse(item);
  };
  for (const place of document.querySelectorAll("[data-card]")) {
    const [, kind, name] = /^(task:)?(.*)$/.exec(place.dataset.card);
    const card = draw(kind ? { task: name } : name);
    if (card) place.replaceChildren(card);
  }
  let section = { title: null, rows: [] }; // rows of one group, one after the other, have its heading
  const sections = [section];
  for (const row of page ?? []) {
    const title = groupOf(row);
    if (title !== section.title) sections.push((section = { title, rows: [] }));
    section.rows.push(row.map(draw).filter(Boolean));
  }
  for (const { title, rows } of sections) addSection(byId("devices"), title, rows);
  const groups = new Map();
  for (const device of rest.devices.values()) {
    const group = device.group ?? null;
    groups.set(group, [...(groups.get(group) ?? []), device.name]);
  }
  for (const [title, names] of groups) addSection(byId("devices"), title, [names.map(draw)]);
  const left = [...rest.tasks.keys()].map((name) => draw({ task: name }));
  if (left.length && byId("tasks")) {
    byId("tasks").hidden = false;
    byId("tasks").querySelector(".grid").append(...left);
  }
  byId("devices")?.after(...recordingLinks());
}

/** Where what the lab records can be had, also when the session is over; nothing if it does not. */
export function recordingLinks() {
  if (!board.description.record || board.session.read_only) return [];
  const links = ["csv", "json"].map((kind) =>
    make("a", { href: board.url(`api/recording.${kind}`), download: "" }, kind.toUpperCase()),
  );
  return [make("p", { className: "recording" }, `${words.recording} `, links[0], " · ", links[1])];
}

/** The group that all devices of a row are in; null for a row of several, or of none. */
function groupOf(row) {
  const groups = row.filter((item) => typeof item === "string").map((name) => rest.devices.get(name)?.group ?? null);
  return groups.length && groups.every((group) => group === groups[0]) ? groups[0] : null;
}

/** Each is drawn once. */
function take(kind, name, draw) {
  const description = rest[kind].get(name);
  rest[kind].delete(name);
  return description && draw(description);
}

function addSection(place, title, rows) {
  const grids = rows.filter((row) => row.length).map((row) => make("div", { className: "grid" }, ...row));
  if (!grids.length || !place) return;
  const heading = make("h2", {}, title ?? words.devices);
  if (title === null) heading.className = "unseen";
  place.append(make("section", {}, heading, ...grids));
}

function drawProse({ text, label }) {
  const paragraphs = text.split(/\n\s*\n/).map((each) => make("p", {}, each.trim()));
  const heading = label ? [make("h3", { className: "label" }, label)] : [];
  return make("div", { className: "card", "data-widget": "prose" }, ...heading, ...paragraphs);
}
