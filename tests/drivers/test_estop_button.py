"""Buttons that stop everything."""

from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.digital_input import Button, DigitalInput
from labnode.drivers.gpio.pin import Pin
from tests.drivers.conftest import Bench

PIN = Pin(27)


def test_a_pressed_button_stops_everything_from_the_thread_that_notices(bench: Bench) -> None:
    button = bench.open(Button(pin=PIN, role="estop"), "stop")
    assert bench.emergencies == []
    bench.pins.pin("GPIO27").drive_low()  # as the pin library's thread would
    assert bench.emergencies == ["'stop' is pressed"]  # before the hardware thread has a turn
    bench.serve()
    assert len(bench.emergencies) == 2  # and once more when the hardware thread hears of it
    assert button.value is True


def test_letting_go_of_it_stops_nothing(bench: Bench) -> None:
    bench.open(Button(pin=PIN, role="estop"))
    bench.pins.pin("GPIO27").drive_low()
    bench.pins.pin("GPIO27").drive_high()
    assert len(bench.emergencies) == 1


def test_a_button_that_is_pressed_at_the_start_stops_everything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    button = Button(pin=PIN, role="estop", normally_closed=True)
    monkeypatch.setattr(button, "simulate", lambda _rest: None)  # the contact stays open
    bench.open(button, "stop")
    assert bench.emergencies == ["'stop' is pressed"]


def test_a_button_that_is_sampled_stops_everything_without_an_edge(bench: Bench) -> None:
    button = bench.open(Button(pin=PIN, role="estop", sample_every=0.1))
    button.hardware.when_activated = button.hardware.when_deactivated = None
    bench.pins.pin("GPIO27").drive_low()
    assert bench.emergencies == []
    bench.clock.advance(0.1)
    button.poll()
    assert bench.emergencies == ["'thing' is pressed"]


def test_another_button_stops_nothing(bench: Bench) -> None:
    bench.open(Button(pin=PIN))
    bench.pins.pin("GPIO27").drive_low()
    assert bench.emergencies == []


def test_a_normally_closed_contact_stops_everything_when_it_opens(bench: Bench) -> None:
    button = bench.open(Button(pin=PIN, role="estop", normally_closed=True))
    assert (button.value, bench.emergencies) == (False, [])
    bench.pins.pin("GPIO27").drive_high()  # pressed, or the wire is broken
    assert button.value is True
    assert len(bench.emergencies) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"pull_up": True},
        {"pull_up": False},
        {"pull_up": None, "active_state": True},
        {"pull_up": None, "active_state": False},
    ],
)
@pytest.mark.parametrize("normally_closed", [False, True])
def test_a_simulated_input_shows_what_it_is_told(
    bench: Bench, options: dict[str, Any], normally_closed: bool
) -> None:
    switch = bench.open(DigitalInput(pin=PIN, normally_closed=normally_closed, **options))
    for value in (True, False, True):
        switch.simulate(value)
        assert switch.value is value


def test_a_button_that_is_closed_notices_nothing(bench: Bench) -> None:
    button = bench.open(Button(pin=PIN, role="estop"))
    button.close()
    button._edge()
    assert bench.emergencies == []
