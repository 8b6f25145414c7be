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
// While the lab does not answer nobody knows what devices show.
board.on("offline", () => records.forEach((_, name) => add(name, { value: null })));
board.on("online", () => records.forEach((_, name) => add(name, board.devices[name].state)));

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
    records.set(name, {
      times: [...before.map(([seconds]) => seconds + shift), ...known.times],
      values: [...before.map((row) => asNumber(row[i + 1])), ...known.values],
    });
  });
}

function asNumber(value) {
  return typeof value === "number" || typeof value === "boolean" ? Number(value) : NaN;
}

/** A value that is stale is none since it was read last. */
function add(name, state) {
  const { times, values } = records.get(name);
  const now = performance.now() / 1000;
  const age = state.stale ? board.age(state) || 0 : 0;
  times.push(Math.max(now - age, times.at(-1) ?? 0));
  values.push(state.stale ? NaN : asNumber(state.value));
  if (times.length < LIMIT) return;
  const old = LIMIT / 2;
  const keep = (_, i) => i >= old || i % 2 === 0;
  records.set(name, { times: times.filter(keep), values: values.filter(keep) });
}
