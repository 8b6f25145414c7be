/**
 * What devices are to be, until they are: of all that is wanted of a device, or of one bit of it,
 * the last counts. What is lost on its way is sent again, which does no harm to a value.
 */

import { sleep } from "./sleep.js";

const PAUSE = 40; // milliseconds between an answer and the next value of a device that is moved
const TRY_FOR = 15_000; // how long a value is sent again while no answer comes
const AGAIN = 300;
const LOST = ["offline", "timeout"]; // no answer came, or the lab got it too late to act on it

export class Wishes {
  #send;
  #changed;
  #devices = new Map(); // name -> bit, or undefined for the whole -> its wish

  /**
   * `send(device, [value], asked)`, or `send(device, [bit, value], asked)`, asks the lab, and tells
   * it when the student did; `changed(device)` hears that `over` is different.
   */
  constructor(send, changed) {
    this.#send = send;
    this.#changed = changed;
  }

  /** Want a value; ends when it, or what was wanted after it, is there, or with why it is refused. */
  make(device, value, bit) {
    const wishes = this.#of(device);
    const whole = wishes.get(undefined);
    if (whole && bit !== undefined) return this.make(device, withBit(whole.value, bit, value));
    if (bit === undefined) this.drop(device);
    const wish = wishes.get(bit) ?? {};
    Object.assign(wish, { value, waits: true, replaced: false, asked: performance.now() });
    if (!wishes.has(bit)) {
      const before = bit === undefined ? [...wishes.values()].map((each) => each.end) : [];
      wishes.set(bit, wish);
      wish.end = this.#fulfil(device, bit, wish, before);
    }
    this.#changed(device);
    return wish.end;
  }

  /** Want nothing more of a device; what is on its way stays so. */
  drop(device) {
    for (const wish of this.#devices.get(device)?.values() ?? []) Object.assign(wish, { waits: false, replaced: true });
  }

  /** The value of a device as it will be. */
  over(device, value) {
    const wishes = this.#devices.get(device) ?? [];
    for (const [bit, wish] of wishes) value = bit === undefined ? wish.value : withBit(value, bit, wish.value);
    return value;
  }

  has(device) {
    return this.#devices.has(device);
  }

  #of(device) {
    if (!this.#devices.has(device)) this.#devices.set(device, new Map());
    return this.#devices.get(device);
  }

  async #fulfil(device, bit, wish, before) {
    await Promise.allSettled(before);
    try {
      while (wish.waits) {
        await this.#insist(device, bit, wish);
        if (wish.waits) await sleep(PAUSE);
      }
    } finally {
      const wishes = this.#of(device);
      wishes.delete(bit);
      if (!wishes.size) this.#devices.delete(device);
      this.#changed(device);
    }
  }

  /** Have the newest value answered. */
  async #insist(device, bit, wish) {
    for (let pause = AGAIN; ; pause *= 2) {
      wish.waits = false;
      try {
        return await this.#send(device, bit === undefined ? [wish.value] : [bit, wish.value], wish.asked);
      } catch (problem) {
        if (problem.code === "session-over") throw problem;
        if (wish.waits || wish.replaced) return; // what is wanted now may be taken
        if (!LOST.includes(problem.code) || performance.now() + pause > wish.asked + TRY_FOR) throw problem;
      }
      await sleep(pause);
      if (wish.replaced) return;
    }
  }
}

/** With powers of two and no shift: banks may be wider than the 32 bits of those. */
export function hasBit(number, bit) {
  return Math.floor(number / 2 ** bit) % 2 === 1;
}

function withBit(number, bit, on) {
  return number + (Number(on) - Number(hasBit(number, bit))) * 2 ** bit;
}
