from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.digital_input import Button, DigitalInput
from labnode.drivers.gpio.pin import Pin


def test_a_button_is_on_while_it_pulls_its_pin_low(bench: Any) -> None:
    button = bench.open(Button(pin=Pin(27)))
    assert button.value is False
    bench.pins.pin("GPIO27").drive_low()
    assert button.value is True


def test_an_edge_is_only_posted_and_then_published(bench: Any) -> None:
    bench.open(Button(pin=Pin(27)))
    bench.pins.pin("GPIO27").drive_low()
    assert bench.published == []
    bench.serve()
    bench.pins.pin("GPIO27").drive_high()
    bench.serve()
    assert bench.published == [True, False]


def test_after_closing_no_edge_is_seen_and_the_pin_is_an_input(bench: Any) -> None:
    button = bench.open(Button(pin=Pin(27)))
    button.close()
    pin = bench.pins.pin("GPIO27")
    pin.drive_low()
    assert (bench.posted, pin.function) == ([], "input")


@pytest.mark.parametrize(
    "options",
    [
        {"pull_up": True},
        {"pull_up": False},
        {"pull_up": None, "active_state": True},
        {"pull_up": None, "active_state": False},
    ],
)
def test_a_simulated_input_shows_what_it_is_told_whatever_its_wiring(
    bench: Any, options: dict[str, Any]
) -> None:
    lid = bench.open(DigitalInput(pin=Pin(27), **options))
    for value in (True, False, 1.0, 0):
        lid.simulate(value)
        assert lid.value is bool(value)
