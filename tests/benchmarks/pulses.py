"""A pulse counter at several rates: a process writes events as the kernel does, into a pipe.

    python -m tests.benchmarks.pulses

What does not fit into the pipe is lost, and its number is missing, as with the kernel's buffer.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys

from labnode.clock import Clock
from labnode.drivers.gpio.gpiochips import LineRequest
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pulse_counter import PulseCounter
from tests.benchmarks.table import head, row
from tests.drivers.conftest import Bench

SECONDS = 5
RATES = (1_000, 10_000, 50_000)
FLOOD = 20_000  # edges in a second, from which on the pin is given back for a while

KERNEL = """
import os, struct, sys, time
end, rate, number = int(sys.argv[1]), int(sys.argv[2]), 0
os.set_blocking(end, False)
begin = time.monotonic_ns()
while True:
    due = (time.monotonic_ns() - begin) * rate // 10**9
    while number < due:
        batch = range(number + 1, min(due, number + 80) + 1)
        events = [struct.pack("<QIIII24x", begin + n * 10**9 // rate, 1, 17, n, n) for n in batch]
        number = batch[-1]
        try:
            os.write(end, b"".join(events))
        except BlockingIOError:
            pass
        except BrokenPipeError:
            sys.exit()
    time.sleep(0.001)
"""


def main() -> None:
    head()
    for rate in RATES:
        measure(rate)


def measure(rate: int) -> None:
    kernels: list[subprocess.Popen[bytes]] = []

    def line_events(request: LineRequest) -> int:
        end(kernels)
        descriptor, far = os.pipe()
        command = [sys.executable, "-S", "-c", KERNEL, str(far), str(rate)]
        kernels.append(subprocess.Popen(command, pass_fds=[far]))
        os.close(far)
        return descriptor

    bench = Bench()
    bench.simulated = False
    bench.clock = clock = Clock()  # type: ignore[assignment]
    bench.pins.line_events = line_events
    counter = PulseCounter(pin=Pin(17), measure="frequency")
    bench.attach(counter)
    counter.open()
    clock.event().wait(1.0)  # until events come
    before, begin, count = _processor(), clock.now(), counter._tally.count
    paused = 0
    for _ in range(100 * SECONDS):
        clock.event().wait(0.01)
        paused += "edges_paused" in counter.state()
        if (due := counter.due()) is not None and due <= clock.now():
            counter.poll()
    seconds = clock.now() - begin
    share = (_processor() - before) / seconds
    found, lost = (counter._tally.count - count) / seconds, counter._tally.lost
    value = counter.value or 0
    counter.close()
    end(kernels)
    row(f"{rate} edges/s: counted in a second", found, rate if rate < FLOOD else None, "/s")
    row(f"{rate} edges/s: of them not read in time, of {rate * SECONDS}", lost, None, "")
    row(f"{rate} edges/s: value", value, rate, "Hz")
    row(f"{rate} edges/s: the pin was given back for", paused / SECONDS, None, "% of the time")
    row(f"{rate} edges/s: of one processor", 100 * share, None, "%")


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def end(kernels: list[subprocess.Popen[bytes]]) -> None:
    while kernels:
        kernels.pop().kill()


if __name__ == "__main__":
    main()
