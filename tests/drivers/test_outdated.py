"""What was asked for before a device went to safe by itself does not bring it back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from labnode.drivers.gpio.digital_output import DigitalOutput
from labnode.drivers.gpio.pin import Pin
from labnode.errors import Outdated


def on(bench: Any, **options: Any) -> DigitalOutput:
    output: DigitalOutput = bench.open(DigitalOutput(pin=Pin(17), **options), "heater")
    bench.clock.advance(1)
    output.on()
    return output


def wait_for_its_end(bench: Any, output: DigitalOutput) -> None:
    bench.heard_at = bench.clock.now()
    while output.value:
        due = output.due()
        assert due is not None
        bench.clock.advance(due - bench.clock.now())
        output.poll()


def interlocked(bench: Any, output: DigitalOutput) -> None:
    bench.clock.advance(1)
    output.force(False)


def reset(bench: Any, output: DigitalOutput) -> None:
    bench.clock.advance(1)
    output.reset()


def reopened(bench: Any, output: DigitalOutput) -> None:
    output.close()
    bench.clock.advance(1)
    output.open()


@pytest.mark.parametrize(
    ("options", "goes_to_safe"),
    [
        ({"deadman": 2.0}, wait_for_its_end),
        ({"max_on_time": 2.0, "deadman": "never"}, wait_for_its_end),
        ({}, interlocked),
        ({}, reset),
        ({}, reopened),
    ],
)
def test_what_was_asked_for_before_it_went_to_safe_is_void(
    bench: Any, options: dict[str, Any], goes_to_safe: Callable[[Any, DigitalOutput], None]
) -> None:
    output = on(bench, **options)
    bench.clock.advance(0.5)
    bench.asked_at = bench.clock.now()
    goes_to_safe(bench, output)
    with pytest.raises(Outdated, match="Heater has gone to its safe value since this was"):
        output.on()
    assert output.value is False
    output.off()  # safe is never refused
    bench.asked_at = bench.clock.now() + 0.1
    output.on()
    assert output.value is True


def test_a_task_that_switches_it_on_again_has_just_asked_for_it(bench: Any) -> None:
    output = on(bench, deadman=2.0)
    wait_for_its_end(bench, output)
    bench.asked_at = math.inf
    output.on()
    assert output.value is True


def test_off_and_on_again_by_commands_voids_nothing(bench: Any) -> None:
    output = on(bench, deadman=2.0)
    bench.asked_at = bench.clock.now()
    bench.clock.advance(1)
    output.off()
    output.on()
    assert output.value is True


def test_one_click_is_one_pulse_and_a_click_during_the_pulse_is_another(bench: Any) -> None:
    output = on(bench, pulse=1.0)
    began = bench.clock.now()
    wait_for_its_end(bench, output)
    bench.asked_at = began - 0.1
    with pytest.raises(Outdated):
        output.on()
    bench.asked_at = began + 0.5
    output.on()
    assert output.value is True
