from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.rotary_encoder import RotaryEncoder

# What the two contacts do for a step, as (pin, low): clockwise, A leads.
STEP = [("a", True), ("b", True), ("a", False), ("b", False)]


def turn(bench: Any, knob: RotaryEncoder, steps: int) -> None:
    for _ in range(abs(steps)):
        for contact, low in STEP:
            name = {"a": knob.a, "b": knob.b}[contact if steps > 0 else "ab".strip(contact)].name
            pin = bench.pins.pin(name)
            (pin.drive_low if low else pin.drive_high)()
    bench.serve()


def encoder(bench: Any, **options: Any) -> RotaryEncoder:
    bench.simulated = False  # the pins are turned by hand
    return bench.open(RotaryEncoder(a=Pin(17), b=Pin(27), **options))


def test_it_counts_its_steps_both_ways_and_publishes_them(bench: Any) -> None:
    knob = encoder(bench)
    turn(bench, knob, 3)
    assert knob.value == 3
    turn(bench, knob, -5)
    assert (knob.value, bench.published[-1]) == (-2, -2)


def test_it_ends_at_its_most_steps_or_goes_on_at_the_other_end(bench: Any) -> None:
    knob = encoder(bench, max_steps=2)
    turn(bench, knob, 4)
    assert knob.value == 2
    knob.close()
    knob.wrap = True
    knob.open()
    turn(bench, knob, 3)
    assert knob.value == -2


def test_it_counts_from_0_after_a_reset_and_shows_angles_if_it_is_told_so(bench: Any) -> None:
    knob = encoder(bench, scale=18.0, max_steps=0)
    turn(bench, knob, 20)
    assert knob.value == 360
    knob.reset()
    assert knob.value == 0
    turn(bench, knob, -1)
    assert knob.value == -18


def test_it_tells_how_fast_it_turns_and_that_it_stands_still(bench: Any) -> None:
    wheel = encoder(bench, measure="speed", max_steps=0, gate=1.0)
    for _ in range(10):  # 20 steps per second
        turn(bench, wheel, 4)
        bench.clock.advance(0.2)
        wheel.poll()
    assert wheel.value == 20
    turn(bench, wheel, -20)
    assert wheel.value < 20
    for _ in range(6):
        bench.clock.advance(0.2)
        wheel.poll()
    assert wheel.value == 0


def test_a_speed_needs_an_encoder_without_an_end() -> None:
    with pytest.raises(ValueError, match="measure: speed needs max_steps: 0"):
        RotaryEncoder(a=Pin(17), b=Pin(27), measure="speed")
