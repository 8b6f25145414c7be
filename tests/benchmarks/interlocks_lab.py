"""A lab that measures from the inside how long an interlock takes to act."""

from __future__ import annotations

import threading
import time

from labnode import Lab

lab = Lab()


@lab.task(unique="global", label="Wait")
def wait():
    while lab.wait(60):
        pass


@lab.app.get("/edges/<number:int>")
def edges(number):
    """Seconds from the edge of the lid's pin to the level of the heater's, `number` times."""
    pins = lab._running.board.pins
    lid, heater = pins.pin("GPIO27"), pins.pin("GPIO17")
    seconds = []
    for _ in range(number):
        lab.devices.heater.on()
        time.sleep(0.01)
        began = time.perf_counter()
        lid.drive_high()  # the lid is open, and nobody calls: as on a thread of the pin library
        while heater.state:
            if time.perf_counter() - began > 5:
                raise RuntimeError("the interlock does not act")
            time.sleep(0.0001)
        seconds.append(time.perf_counter() - began)
        lid.drive_low()
        closed = threading.Event()
        while not closed.wait(0.001):
            if lab.devices.lid.value:
                closed.set()
    return {"seconds": seconds}
