from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_output import PwmOutput
from labnode.errors import BadInput, ConfigError
from labnode.schema import build, parse_yaml


def pwm(options: str) -> PwmOutput:
    return build(PwmOutput, parse_yaml(options, "x.yaml"))


def test_a_value_is_the_part_of_the_time_that_the_pin_is_on(bench: Any) -> None:
    fan = bench.open(PwmOutput(pin=Pin(18), frequency=50))
    fan.set(0.3)
    assert (fan.value, bench.level("GPIO18"), bench.pins.pin("GPIO18").frequency) == (0.3, 0.3, 50)


def test_a_pin_that_is_on_while_low_shows_the_value_that_was_set(bench: Any) -> None:
    fan = bench.open(PwmOutput(pin=Pin(18), active_high=False))
    fan.set(0.7)
    assert fan.value == 0.7
    assert bench.level("GPIO18") == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("safe", "active_high", "level"), [(0, True, 0), (1, True, 1), (0, False, 1), (1, False, 0)]
)
def test_from_the_first_moment_to_after_the_end_only_the_safe_level_is_driven(
    bench: Any, safe: float, active_high: bool, level: float
) -> None:
    fan = bench.open(PwmOutput(pin=Pin(18), safe=safe, active_high=active_high))
    pin = bench.pins.pin("GPIO18")
    fan.reset()
    fan.close()
    assert set(pin.levels) == {level}
    assert (pin.function, pin.frequency, pin.state) == ("output", None, level)


@pytest.mark.parametrize(
    ("safe", "active_high", "level"),
    [(0.6, True, 1), (0.4, True, 0), (0.6, False, 0), (0.5, True, 0), (0.5, False, 1)],
)
def test_a_safe_value_between_on_and_off_becomes_the_nearer_one_when_pulses_end(
    bench: Any, safe: float, active_high: bool, level: float
) -> None:
    fan = bench.open(PwmOutput(pin=Pin(18), safe=safe, active_high=active_high))
    assert fan.value == safe
    fan.close()
    assert bench.level("GPIO18") == level


def test_limits_are_for_what_is_set_and_off_is_always_possible(bench: Any) -> None:
    fan = bench.open(PwmOutput(pin=Pin(18), min=0.2, max=0.8), "fan")
    for value in (0.1, 0.9, -1.0):
        with pytest.raises(BadInput, match=r"fan.set: 'value' must be a number from 0.2 to 0.8"):
            fan.set(value)
    fan.on()
    assert fan.value == 0.8
    fan.off()
    assert fan.value == 0
    assert fan.describe() == {"min": 0.2, "max": 0.8, "step": 0.01}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("{pin: 18, frequency: 20000}", "from 0.1 to 10000, not 20000.0; driver: hardware_pwm"),
        ("{pin: 18, frequency: 0}", "'frequency': expected a number from 0.1 to 10000"),
        ("{pin: 18, safe: 1.5}", "safe is a number from 0 to 1, not 1.5"),
        ("{pin: 18, min: 0.8, max: 0.2}", r"min \(0.8\) must be less than max \(0.2\)"),
        ("{pin: 18, min: 0.8, max: 0.8}", r"min \(0.8\) must be less than max \(0.8\)"),
    ],
)
def test_options_that_cannot_be_are_refused(options: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        pwm(options)
