from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.digital_output import DigitalOutput, Led, Relay
from labnode.drivers.gpio.pin import Pin


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("active_high", [False, True])
def test_an_output_drives_nothing_but_its_safe_level_until_it_is_commanded(
    bench: Any, safe: bool, active_high: bool
) -> None:
    level = safe == active_high
    relay = bench.open(Relay(pin=Pin(17), active_high=active_high, safe=safe))
    pin = bench.pins.pin("GPIO17")
    assert list(pin.levels) == [level]
    relay.set(not safe)
    relay.close()
    assert (pin.function, pin.state) == ("output", level)
    assert list(pin.levels) == [level, not level, level]


def test_on_off_toggle_and_set_are_all_one_value(bench: Any) -> None:
    led = bench.open(Led(pin=Pin(17)))
    seen = []
    for step in (led.on, led.toggle, led.toggle, led.off):
        step()
        seen.append(led.value)
    led.set(True)
    assert [*seen, led.value] == [True, False, True, False, True]
    assert bench.level("GPIO17") == 1


def test_an_output_opens_again_on_the_pin_that_it_left_driven(bench: Any) -> None:
    valve = bench.open(DigitalOutput(pin=Pin(17), safe=True))
    valve.off()
    valve.close()
    valve.open()
    assert valve.value is True
