"""A lab that floods its own inputs and measures from the inside who waits for that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from labnode import Lab

lab = Lab()


@lab.task(unique="global", label="Do not wait")
def compute(seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@lab.task(unique="global", label="Wait")
def wait():
    while lab.wait(60):
        pass


@lab.app.get("/flood/<rate:int>/<number:int>")
def flood(rate, number):
    """Seconds that calls and the interlock take while edges come `rate` times a second."""
    with _edges(rate) as count:
        began = time.perf_counter()
        measured = _measure(number)
        lasted = time.perf_counter() - began
    return {**measured, "rate": count[0] / lasted}


@lab.app.get("/busy/<rate:int>/<seconds:int>")
def busy(rate, seconds):
    """Seconds from the end of a job, in which edges came, to the end of a call that waited."""
    with _edges(rate):
        task = compute.delay(float(seconds))
        time.sleep(0.1)
        task.join(seconds + 60)
        began = time.perf_counter()
        lab.devices.heater.on()
        return {"seconds": time.perf_counter() - began}


def _measure(number):
    lid, heater = _pin("GPIO27"), _pin("GPIO17")
    calls, trips = [], []
    for _ in range(number):
        time.sleep(0.02)  # all of it takes longer than the pins need to be sampled
        began = time.perf_counter()
        lab.devices.heater.on()
        calls.append(time.perf_counter() - began)
        began = time.perf_counter()
        lid.drive_high()  # the lid is open, and nobody calls: as on a thread of the pin library
        while heater.state:
            if time.perf_counter() - began > 60:
                raise RuntimeError("the interlock does not act")
            time.sleep(0.0001)
        trips.append(time.perf_counter() - began)
        lid.drive_low()
        while not lab.devices.lid.value:
            time.sleep(0.001)
    return {"calls": calls, "trips": trips}


@contextmanager
def _edges(rate: int) -> Iterator[list[int]]:
    """Inside the block the pins of three inputs change, together `rate` times a second."""
    over = threading.Event()
    count = [0]

    def drive() -> None:
        pins = [_pin(name) for name in ("GPIO22", "GPIO5", "GPIO23", "GPIO24")]
        began = time.perf_counter()
        while not over.wait(0.001):
            due = round((time.perf_counter() - began) * rate)
            for _ in range(min(due - count[0], rate)):
                turn, pin = divmod(count[0], len(pins))
                (pins[pin].drive_low if turn % 2 else pins[pin].drive_high)()
                count[0] += 1

    thread = threading.Thread(target=drive, name="flood", daemon=True)
    thread.start()
    try:
        yield count
    finally:
        over.set()
        thread.join()


def _pin(name):
    return lab._running.board.pins.pin(name)
