// What devices have shown since the page was opened.

import { board } from "./panel.js";

const LIMIT = 40_000; // points of a device; then every other one of the older half goes

const records = new Map(); // name -> {times, values}: seconds of performance.now(), numbers

/** The past of a device that is watched; true and false are 1 and 0, and what is unknown is NaN. */
export function history(name) {
  return records.get(name) ?? { times: [], values: [] };
}

/** Keep the past of a device from now on. */
export function watch(name) {
  if (records.has(name)) return;
  records.set(name, { times: [], values: [] });
  add(name, board.devices[name].state);
}

board.on("change", (name, state) => records.has(name) && add(name, state));

function add(name, { value }) {
  const { times, values } = records.get(name);
  const number = typeof value === "number" || typeof value === "boolean" ? Number(value) : NaN;
  times.push(performance.now() / 1000);
  values.push(number);
  if (times.length < LIMIT) return;
  const old = LIMIT / 2;
  const keep = (_, i) => i >= old || i % 2 === 0;
  records.set(name, { times: times.filter(keep), values: values.filter(keep) });
}
