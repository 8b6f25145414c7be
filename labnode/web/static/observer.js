// What only an observer sees, a teacher say: what the student does, and whether they ask for help.

import { notice } from "./notices.js";
import { asAge, asNumber, asText, board, byId, fill, make, words } from "./panel.js";

const list = make("ol", {});
const title = make("h2", { id: "deeds-title" }, fill(words.deeds, { name: nameOf(board.session) }));
const section = make("section", { id: "deeds", className: "card", "aria-labelledby": title.id }, title, list);
byId("devices")?.before(section);

function nameOf({ full_name: full, username }) {
  return full || username || "?";
}

/** A deed in words: the name of what was used, and what was done with it. */
function inWords({ device, command, arguments: given, task, file }) {
  if (task) {
    const { label } = board.description.tasks.find(({ name }) => name === task) ?? { label: task };
    return [label, words.start];
  }
  const description = board.devices[device]?.description ?? { label: device };
  if (file !== undefined) return [description.label, file];
  const values = Array.isArray(given) ? given : Object.values(given ?? {});
  const shown = (value) => (typeof value === "number" ? asNumber(value, description) : asText(value, description));
  if (command === "set") return [description.label, shown(values[0])];
  if (command === "set_bit") {
    const [bit, value] = values;
    return [description.label, `${description.bits?.[bit] ?? fill(words.bit, { n: bit })}: ${shown(Boolean(value))}`];
  }
  if (description.words && (command === "on" || command === "off")) return [description.label, shown(command === "on")];
  const name = words[`command:${command}`] ?? command.replaceAll("_", " ");
  return [description.label, [name, ...values.map(shown)].join(" ")];
}

function draw() {
  section.hidden = board.deeds.length === 0;
  list.replaceChildren(
    ...[...board.deeds].reverse().map((deed) => {
      const [label, what] = inWords(deed);
      const age = asAge(board.age({ sampled: deed.at }));
      return make("li", {}, make("b", {}, label), ` ${what} `, make("span", { className: "ago" }, age));
    }),
  );
}

function tellHand(session) {
  const asks = session.hand_raised ? fill(words["hand-of"], { name: nameOf(session) }) : null;
  notice("hand", asks, "warn");
}

board.on("deeds", draw);
board.on("session", tellHand);
setInterval(() => document.hidden || draw(), 1000);
draw();
tellHand(board.session);
