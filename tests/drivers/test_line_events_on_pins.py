"""Counters and timers on edges that a real kernel stamps.

A simulated chip (gpio-sim) whose label is pinctrl-bcm2711 does it, as root, who pulls its lines::

    LABNODE_TEST_GPIO=1 python -m pytest tests/drivers/test_line_events_on_pins.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.gpio.digital_output import Led
from labnode.drivers.gpio.factories import real_factory
from labnode.drivers.gpio.gate_timer import GateTimer
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pulse_counter import PulseCounter
from labnode.errors import DeviceError
from tests.kit.waiting import eventually

PULLS = Path("/sys/devices/platform")

pytestmark = pytest.mark.skipif(
    os.environ.get("LABNODE_TEST_GPIO") != "1" or not list(PULLS.glob("gpio-sim.*")),
    reason="pulls simulated pins: set LABNODE_TEST_GPIO=1 where there is a gpio-sim",
)


class Wire:
    """Something outside that pulls a line of the simulated chip."""

    def __init__(self, line: int) -> None:
        (self._pull,) = PULLS.glob(f"gpio-sim.*/gpiochip*/sim_gpio{line}/pull")
        self.low()

    def high(self) -> None:
        self._pull.write_text("pull-up")

    def low(self) -> None:
        self._pull.write_text("pull-down")


@pytest.fixture
def real(bench: Any, tmp_path: Path) -> Iterator[Any]:
    try:
        bench.pins = real_factory(tmp_path)
    except DeviceError as error:
        pytest.skip(str(error))
    bench.simulated = False
    yield bench
    bench.close()
    bench.pins.close()


def test_every_pulse_is_counted_once_and_none_is_lost(real: Any) -> None:
    wire = Wire(26)
    counter = real.open(PulseCounter(pin=Pin(26)))
    begin = time.monotonic()
    for _ in range(2000):
        wire.high()
        wire.low()
    rate = 2000 / (time.monotonic() - begin)
    eventually(lambda: counter._tally.count == 2000)
    assert counter._tally.lost == 0
    marks = counter._tally.marks
    kernels = (marks[-1].count - marks[0].count) / (marks[-1].time - marks[0].time) * 1e9
    assert kernels == pytest.approx(rate, rel=0.2)
    counter.close()
    wire.high()
    wire.low()
    counter.open()
    wire.high()
    eventually(lambda: counter._tally.count == 1)


def test_both_edges_and_those_that_bounce_are_as_the_options_say(real: Any) -> None:
    wire = Wire(26)
    both = real.open(PulseCounter(pin=Pin(26), edge="both"), "both")
    wire.high()
    wire.low()
    eventually(lambda: both._tally.count == 2)
    both.close()
    calm = real.open(PulseCounter(pin=Pin(26), bounce_time=0.2), "calm")
    for _ in range(5):
        wire.high()
        wire.low()
    wire.high()
    eventually(lambda: calm._tally.count)
    assert calm._tally.count == 1


def test_a_time_is_that_between_two_lines(real: Any) -> None:
    first, second = Wire(26), Wire(25)
    timer = real.open(GateTimer(start=Pin(26), stop=Pin(25)))
    before = time.monotonic()
    first.high()
    middle = time.monotonic()
    time.sleep(0.05)
    there = time.monotonic()
    second.high()
    after = time.monotonic()
    assert real.until(lambda: timer.value is not None)
    assert (there - middle) * 1e6 <= timer.value <= (after - before) * 1e6


def test_a_line_that_is_in_use_is_told(real: Any) -> None:
    real.open(Led(pin=Pin(26)), "led")
    with pytest.raises(DeviceError, match=r"GPIO26 cannot be had \(Device or resource busy\)"):
        real.open(PulseCounter(pin=Pin(26)), "counter")
