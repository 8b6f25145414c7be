// Where the cards stand: the stage and the rows of the board's `page:`, then what is in none of them.

import { board, byId, make, words } from "./panel.js";
import { drawTask } from "./tasks.js";
import { drawDevice, widget } from "./widgets.js";

const MOST = 0.65; // of a phone's screen may be taken by the bar and a stage that stays

const rest = { devices: new Map(), tasks: new Map() };

/** Draw all cards of the board; a page of the lab's own may have places for some of them. */
export function drawBoard() {
  const { devices, tasks, page, stage, picture } = board.description;
  const places = [...document.querySelectorAll("[data-picture]")];
  for (const device of devices) rest.devices.set(device.name, device);
  for (const task of tasks) rest.tasks.set(task.name, task);
  let drawn = 0;
  const draw = (item) => {
    if (typeof item === "string") return take("devices", item, drawDevice);
    if (item.device !== undefined) return widen(take("devices", item.device, drawDevice), item.columns);
    if (item.picture) return places.length ? null : widget("picture")(picture);
    if (item.task !== undefined) return take("tasks", item.task, drawTask);
    return item.plot ? widget("plot")(item, drawn++) : drawProse(item);
  };
  for (const place of document.querySelectorAll("[data-card]")) {
    const [, kind, name] = /^(task:)?(.*)$/.exec(place.dataset.card);
    const card = draw(kind ? { task: name } : name);
    if (card) place.replaceChildren(card);
  }
  for (const place of places) if (picture) place.replaceChildren(widget("picture")(picture));
  if (stage && byId("stage")) drawStage(byId("stage"), stage, draw);
  let section = { title: null, rows: [] }; // rows of one group, one after the other, have its heading
  const sections = [section];
  for (const row of page ?? []) {
    const title = groupOf(row);
    if (title !== section.title) sections.push((section = { title, rows: [] }));
    section.rows.push(row.map(draw).filter(Boolean));
  }
  const place = byId("devices")?.appendChild(make("div", { className: "sections" }));
  for (const { title, rows } of sections) addSection(place, title, rows);
  const groups = new Map();
  for (const device of rest.devices.values()) {
    const group = device.group ?? null;
    groups.set(group, [...(groups.get(group) ?? []), device.name]);
  }
  for (const [title, names] of groups) addSection(place, title, [names.map(draw)]);
  const left = [...rest.tasks.keys()].map((name) => draw({ task: name }));
  if (left.length && byId("tasks")) {
    byId("tasks").hidden = false;
    byId("tasks").querySelector(".grid").append(...left);
  }
  byId("devices")?.after(...recordingLinks());
}

/** What stays in view: all at once, or one at a time under its tab. */
function drawStage(place, { items, layout }, draw) {
  const drawn = items.map((item) => [titleOf(item), draw(item)]).filter(([, element]) => element);
  if (!drawn.length) return;
  place.hidden = false;
  place.dataset.layout = layout;
  const around = place.parentElement;
  around.classList.add("staged");
  place.append(make("h2", { className: "unseen" }, words.board));
  const alone = layout !== "tabs" || drawn.length === 1;
  place.append(...(alone ? drawn.map(([, element]) => element) : makeTabs(drawn)));
  // What has the focus must not be under the bar or, on a phone, under the stage; one that would leave
  // too little room for the cards does not stay.
  const header = document.querySelector("header");
  const root = document.documentElement.style;
  const measure = () => {
    const bar = header?.offsetHeight ?? 0;
    const above = place.offsetWidth > around.clientWidth / 1.3;
    const room = above ? innerHeight * MOST - bar : innerHeight - bar;
    place.classList.toggle("tall", place.offsetHeight > room);
    const covers = above && getComputedStyle(place).position === "sticky";
    root.setProperty("--header-height", `${bar}px`);
    root.setProperty("--stage-height", `${covers ? place.offsetHeight : 0}px`);
  };
  const observer = new ResizeObserver(measure);
  for (const element of [place, header ?? place]) observer.observe(element);
  addEventListener("resize", measure);
}

function titleOf(item) {
  if (item.picture) return words.board;
  const device = rest.devices.get(item) ?? rest.tasks.get(item.task);
  return device?.label || item.label || (typeof item === "string" ? item : words["over-time"]);
}

function makeTabs(drawn) {
  const panels = drawn.map(([, element], index) => {
    const panel = { id: `panel-${index}`, role: "tabpanel", "aria-labelledby": `tab-${index}` };
    return make("div", panel, element);
  });
  const tabs = drawn.map(([title], index) => {
    const tab = { type: "button", role: "tab", id: `tab-${index}`, "aria-controls": `panel-${index}` };
    return make("button", tab, title);
  });
  const choose = (chosen) =>
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(index === chosen));
      tab.tabIndex = index === chosen ? 0 : -1;
      panels[index].hidden = index !== chosen;
    });
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => choose(index));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (!step) return;
      const next = (index + step + tabs.length) % tabs.length;
      choose(next);
      tabs[next].focus();
    });
  });
  choose(0);
  return [make("div", { className: "tabs", role: "tablist" }, ...tabs), ...panels];
}

function widen(card, columns) {
  if (card) card.dataset.columns = columns;
  return card;
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
  const names = row.map((item) => item.device ?? item).filter((name) => typeof name === "string");
  const groups = names.map((name) => rest.devices.get(name)?.group ?? null);
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
