/**
 * What devices are to be, until they are: of all that is wanted of a device, or of one bit of it,
 * the last counts. What is lost on its way is sent again, which does no harm to a value.
 */

import { sleep } from "./sleep.js";

const PAUSE = 40; // milliseconds between an answer and the next value of a device that is moved
const TRY_FOR = 15_000; // how long a value is sent again while no answer comes
const AGAIN = 300;

export class Wishes {
  #send;
  #changed;
  #devices = new Map(); // name -> bit, or undefined for the whole -> its wish

  /** `send(device, value, bit)` asks the lab; `changed(device)` hears that `over` is different. */
  constructor(send, changed) {
    this.#send = send;
    this.#changed = changed;
  }

  /** Want a value; ends when it, or what was wanted after it, is there, or with why it is refused. */
  make(device, value, bit) {
    const wishes = this.#of(device);
    const whole = wishes.get(undefined);
    if (whole && bit !== undefined) return this.make(device, withBit(whole.value, bit, value));
    if (bit === undefined) for (const each of wishes.values()) each.waits = false;
    const wish = wishes.get(bit) ?? {};
    Object.assign(wish, { value, waits: true, until: performance.now() + TRY_FOR });
    if (!wishes.has(bit)) {
      const before = bit === undefined ? [...wishes.values()].map((each) => each.end) : [];
      wishes.set(bit, wish);
      wish.end = this.#fulfil(device, bit, wish, before);
    }
    this.#changed(device);
    return wish.end;
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
        return await this.#send(device, wish.value, bit);
      } catch (problem) {
        if (wish.waits && problem.code !== "session-over") return; // what is wanted now may be taken
        if (problem.code !== "offline" || performance.now() + pause > wish.until) throw problem;
      }
      await sleep(pause);
    }
  }
}

/** With powers of two and no shift: banks may be wider than the 32 bits of those. */
function withBit(number, bit, on) {
  return number + (Number(on) - (Math.floor(number / 2 ** bit) % 2)) * 2 ** bit;
}
