"""Runs in the virtual machine, beside labnode: writes down pins' levels, or joins two pins.

guest.py record FILE PIN...   each change of the pins: seconds since the kernel's start, pin, level
guest.py wire OUT IN          IN follows OUT, as with a jumper wire

With gpio-sim, the level of an input is the direction in which it is pulled.
"""

import sys
import time
from pathlib import Path


def find(pin, what):
    chips = Path("/sys/devices/platform")
    while not (found := list(chips.glob(f"gpio-sim.*/gpiochip*/sim_gpio{pin}/{what}"))):
        time.sleep(0.1)
    return found[0]


def record(name, *pins):
    values = {pin: find(pin, "value") for pin in pins}
    before = dict.fromkeys(pins)
    with Path(name).open("w") as file:
        while True:
            for pin in pins:
                level = values[pin].read_text().strip()
                if level != before[pin]:
                    before[pin] = level
                    now = time.clock_gettime(time.CLOCK_BOOTTIME)
                    print(f"{now:.3f} {pin} {level}", file=file, flush=True)
            time.sleep(0.01)


def wire(out, end):
    value, follows, pull = find(out, "value"), find(end, "value"), find(end, "pull")
    while True:
        level = value.read_text()
        if follows.read_text() != level:
            pull.write_text("pull-up" if level.strip() == "1" else "pull-down")
        time.sleep(0.001)


if __name__ == "__main__":
    {"record": record, "wire": wire}[sys.argv[1]](*sys.argv[2:])
