// What the page has to say, in the bar on top of it: the gravest line is seen, the others on demand.

import { byId, fill, make, words } from "./panel.js";

const GRAVE = ["bad", "warn", "told", "doing"]; // kinds of lines, the gravest first

/**
 * A line of the bar; with the same name it replaces the one before, null takes it away. Who sees the
 * page dismisses what is `told`; a line of something that is `doing` may change often.
 */
export function notice(name, text, kind) {
  const place = byId("notices");
  const old = byId(`notice-${name}`);
  if ((old?.firstChild.textContent ?? null) === text) return;
  if (text !== null && old?.classList.contains(kind)) {
    old.firstChild.textContent = text;
    return;
  }
  old?.remove();
  if (place && text !== null) insert(place, makeLine(name, text, kind));
  if (place) count(place);
}

function makeLine(name, text, kind) {
  const live = kind === "doing" ? "off" : "assertive"; // nobody wants to hear every percent
  const line = make("p", { id: `notice-${name}`, className: `notice ${kind}` }, make("span", { "aria-live": live }, text));
  if (kind !== "told") return line;
  const dismiss = make("button", { type: "button" }, words.dismiss);
  dismiss.addEventListener("click", () => notice(name, null));
  line.append(dismiss);
  return line;
}

function insert(place, line) {
  const rank = (each) => GRAVE.findIndex((kind) => each.classList.contains(kind));
  const after = [...place.querySelectorAll(".notice")].find((each) => rank(each) >= rank(line));
  place.insertBefore(line, after ?? byId("notices-more"));
}

/** Say how many lines there are beside the one that is seen. */
function count(place) {
  const more = byId("notices-more") ?? makeMore(place);
  const others = place.querySelectorAll(".notice").length - 1;
  if (others < 1) open(place, more, false);
  more.hidden = others < 1;
  more.textContent = fill(words.more, { n: others });
}

function makeMore(place) {
  const more = make("button", { type: "button", id: "notices-more" });
  more.addEventListener("click", () => open(place, more, !place.classList.contains("open")));
  place.append(more);
  return more;
}

function open(place, more, all) {
  place.classList.toggle("open", all);
  more.setAttribute("aria-expanded", String(all));
}
