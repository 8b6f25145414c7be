// What devices have shown: since the page was opened, and before that as far as it was recorded.

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

/** Put what the lab has recorded before what is known of the devices that are watched. */
export async function recall() {
  const recorded = board.description.record?.devices.some((name) => records.has(name));
  const { devices, rows } = recorded ? await board.recording().catch(() => ({})) : {};
  if (!rows?.length) return;
  const shift = performance.now() / 1000 - rows.at(-1)[0]; // the last row is of just now
  devices.forEach((name, i) => {
    const known = records.get(name);
    if (!known) return;
    const before = rows.filter(([seconds]) => seconds + shift < known.times[0]);
    known.times.unshift(...before.map(([seconds]) => seconds + shift));
    known.values.unshift(...before.map((row) => asNumber(row[i + 1])));
  });
}

function asNumber(value) {
  return typeof value === "number" || typeof value === "boolean" ? Number(value) : NaN;
}

function add(name, { value }) {
  const { times, values } = records.get(name);
  times.push(performance.now() / 1000);
  values.push(asNumber(value));
  if (times.length < LIMIT) return;
  const old = LIMIT / 2;
  const keep = (_, i) => i >= old || i % 2 === 0;
  records.set(name, { times: times.filter(keep), values: values.filter(keep) });
}
