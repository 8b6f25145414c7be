"""Inputs whose pins never rest: a turn is asked for once, and a flood is sampled instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labnode.drivers.framework.driver import Driver
from labnode.drivers.gpio.digital_input import Button, DigitalInput, DigitalInputBank
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.rotary_encoder import RotaryEncoder
from tests.drivers.conftest import Bench
from tests.drivers.test_rotary_encoder import turn

DRIVERS: dict[str, Callable[[], Driver]] = {
    "digital_input": lambda: DigitalInput(pin=Pin(17)),
    "digital_input_bank": lambda: DigitalInputBank(pins=[Pin(17), Pin(27)]),
    "rotary_encoder": lambda: RotaryEncoder(a=Pin(17), b=Pin(27), max_steps=0),
}

every_edge_driver = pytest.mark.parametrize("kind", DRIVERS)


def opened(bench: Bench, kind: str) -> Any:
    bench.simulated = False  # the pins are driven by hand
    return bench.open(DRIVERS[kind]())


def contacts(bench: Bench, number: int) -> None:
    """Turn a knob at the pins, which changes an input at one of them 2 * `number` times."""
    a, b = bench.pins.pin("GPIO17"), bench.pins.pin("GPIO27")
    a.drive_high()
    b.drive_high()
    for _ in range(number):
        a.drive_low()
        b.drive_low()
        a.drive_high()
        b.drive_high()


def flooded(bench: Bench, kind: str) -> Any:
    device = opened(bench, kind)
    contacts(bench, 1001)
    bench.serve()
    return device


def samples(bench: Bench, device: Any, number: int) -> None:
    for _ in range(number):
        bench.clock.advance(device.due() - bench.clock.now())
        device.poll()


@every_edge_driver
def test_a_device_posts_once_until_it_has_had_its_turn(bench: Bench, kind: str) -> None:
    opened(bench, kind)
    contacts(bench, 3)
    assert len(bench.posted) == 1
    bench.serve()
    assert len(bench.published) == 1
    contacts(bench, 3)
    assert len(bench.posted) == 1


@every_edge_driver
def test_a_flood_pauses_edge_detection_and_its_state_says_so(bench: Bench, kind: str) -> None:
    device = opened(bench, kind)
    assert "edges_paused" not in device.state()
    contacts(bench, 1001)
    bench.serve()
    assert device.state()["edges_paused"] is True
    contacts(bench, 1)
    assert bench.posted == []


@every_edge_driver
def test_as_many_edges_in_more_than_a_second_are_no_flood(bench: Bench, kind: str) -> None:
    device = opened(bench, kind)
    for _ in range(10):
        contacts(bench, 200)
        bench.serve()
        bench.clock.advance(1.0)
    assert "edges_paused" not in device.state()


def test_a_flood_is_sampled_100_times_a_second(bench: Bench) -> None:
    device = flooded(bench, "digital_input")
    assert device.due() == bench.clock.now() + 0.01
    for level in (False, True, False):
        (bench.pins.pin("GPIO17").drive_high if level else bench.pins.pin("GPIO17").drive_low)()
        samples(bench, device, 1)
        assert device.value is level


@every_edge_driver
def test_edges_are_seen_again_after_a_calm_second(bench: Bench, kind: str) -> None:
    device = flooded(bench, kind)
    samples(bench, device, 100)
    assert "edges_paused" not in device.state()
    assert device.due() is None
    contacts(bench, 1)
    assert len(bench.posted) == 1


def test_edges_are_not_seen_again_while_the_samples_go_on_changing(bench: Bench) -> None:
    device = flooded(bench, "digital_input")
    pin = bench.pins.pin("GPIO17")
    for _ in range(200):
        pin.drive_high()
        samples(bench, device, 1)
        pin.drive_low()
        samples(bench, device, 1)
    assert device.state()["edges_paused"] is True


@pytest.mark.parametrize("level", [False, True])
def test_the_first_edge_after_a_flood_is_seen_whatever_the_pin_did_meanwhile(
    bench: Bench, level: bool
) -> None:
    device = flooded(bench, "digital_input")
    pin = bench.pins.pin("GPIO17")
    (pin.drive_high if level else pin.drive_low)()
    samples(bench, device, 100)
    (pin.drive_low if level else pin.drive_high)()
    bench.serve()
    assert bench.published[-1] is not level


def test_a_knob_loses_no_step_while_the_hardware_thread_is_busy(bench: Bench) -> None:
    knob = opened(bench, "rotary_encoder")
    contacts(bench, 700)
    assert len(bench.posted) == 1
    bench.serve()
    assert abs(knob.value) == 700


def test_a_knob_counts_right_after_a_flood(bench: Bench) -> None:
    knob = flooded(bench, "rotary_encoder")
    samples(bench, knob, 100)
    before = knob.value
    turn(bench, knob, 5)
    assert knob.value == before + 5


def failing(monkeypatch: pytest.MonkeyPatch, pin: Any, name: str, times: int) -> list[None]:
    """Make the next accesses to an attribute of a pin fail; each is noted."""
    failed: list[None] = []
    plain = getattr(type(pin), name)

    def fail() -> None:
        if len(failed) < times:
            failed.append(None)
            raise OSError("the chip does not answer")

    def read(pin: Any) -> Any:
        fail()
        return plain.fget(pin)

    def write(pin: Any, value: Any) -> None:
        fail()
        plain.fset(pin, value)

    monkeypatch.setattr(type(pin), name, property(read, write))
    return failed


@every_edge_driver
def test_a_pin_that_fails_when_edge_detection_pauses_is_read_all_the_same(
    bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = opened(bench, kind)
    contacts(bench, 1001)
    failed = failing(monkeypatch, bench.pins.pin("GPIO17"), "state", 1)
    with pytest.raises(OSError, match="does not answer"):
        bench.serve()
    assert failed
    contacts(bench, 1)
    bench.serve()
    samples(bench, device, 100)
    assert "edges_paused" not in device.state()


@every_edge_driver
def test_edge_detection_that_cannot_resume_is_tried_again(
    bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = flooded(bench, kind)
    samples(bench, device, 99)
    failed = failing(monkeypatch, bench.pins.pin("GPIO17"), "when_changed", 1)
    with pytest.raises(OSError, match="does not answer"):
        samples(bench, device, 1)
    assert failed
    samples(bench, device, 1)
    assert "edges_paused" not in device.state()
    contacts(bench, 1)
    assert len(bench.posted) == 1


@every_edge_driver
def test_what_was_paused_sees_edges_when_it_is_opened_again(bench: Bench, kind: str) -> None:
    device = flooded(bench, kind)
    device.close()
    device.open()
    assert "edges_paused" not in device.state()
    contacts(bench, 1)
    assert len(bench.posted) == 1


def test_an_edge_before_it_was_closed_keeps_none_from_being_seen_after(bench: Bench) -> None:
    button = bench.open(Button(pin=Pin(17)))
    bench.pins.pin("GPIO17").drive_low()
    button.close()
    bench.posted.clear()
    button.open()
    bench.pins.pin("GPIO17").drive_low()
    assert len(bench.posted) == 1


def test_a_pressed_emergency_stop_stops_everything_although_a_turn_is_asked_for(
    bench: Bench,
) -> None:
    bench.open(Button(pin=Pin(17), role="estop"), "stop")
    pin = bench.pins.pin("GPIO17")
    pin.drive_low()
    pin.drive_high()
    bench.emergencies.clear()
    assert len(bench.posted) == 1
    pin.drive_low()
    assert bench.emergencies == ["'stop' is pressed"]


def test_edge_detection_of_an_emergency_stop_never_pauses(bench: Bench) -> None:
    button = bench.open(Button(pin=Pin(17), role="estop"), "stop")
    contacts(bench, 1001)
    bench.serve()
    assert "edges_paused" not in button.state()
    bench.emergencies.clear()
    bench.pins.pin("GPIO17").drive_low()
    assert bench.emergencies == ["'stop' is pressed"]
