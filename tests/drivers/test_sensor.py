from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labnode.drivers.framework.input import Sensor
from labnode.drivers.gpio.digital_input import Button
from labnode.drivers.gpio.pin import Pin


@dataclass(kw_only=True)
class Thermometer(Sensor):
    """A sensor that reads what a test puts into `there`."""

    there = 20.0

    def open(self) -> None:
        self.opened()

    def read(self) -> float | None:
        if self.there < -100:
            raise OSError("it does not answer")
        return self.there


def test_it_is_read_at_once_and_then_every_so_often(real: Any) -> None:
    sensor = real.open(Thermometer(sample_every=2.0))
    assert (sensor.value, sensor.due()) == (None, real.clock.now())
    sensor.poll()
    assert (sensor.value, sensor.due()) == (20.0, real.clock.now() + 2)
    assert sensor.state() == {"value": 20.0, "sampled": real.clock.now(), "stale": False}


def test_a_value_grows_stale_when_nothing_new_comes(real: Any) -> None:
    sensor = real.open(Thermometer(sample_every=1.0, stale_after=3.0))
    sensor.poll()
    sensor.there = -273.0
    for _ in range(3):
        real.clock.advance(1)
        with pytest.raises(OSError, match="it does not answer"):
            sensor.poll()
    assert sensor.state()["stale"] is True
    sensor.there = 21.0
    real.clock.advance(1)
    sensor.poll()
    assert (sensor.value, sensor.state()["stale"]) == (21.0, False)


def test_the_moment_at_which_it_grows_stale_is_due(real: Any) -> None:
    sensor = real.open(Thermometer(sample_every=10.0, stale_after=12.0))
    sensor.poll()
    real.clock.advance(10)
    sensor.there = -273.0
    with pytest.raises(OSError, match="it does not answer"):
        sensor.poll()
    assert sensor.due() == real.clock.now() + 2
    real.clock.advance(2)
    sensor.poll()
    assert sensor.state()["stale"] is True
    assert sensor.due() == real.clock.now() + 8  # and not at once again


def test_scale_and_offset_make_it_right(real: Any) -> None:
    sensor = real.open(Thermometer(scale=1.8, offset=32.0))
    sensor.poll()
    assert sensor.value == 68.0


@given(st.floats(-50, 150))
def test_a_calibration_goes_through_its_points_and_on_in_straight_lines(read: float) -> None:
    sensor = Thermometer(calibration=[(0, 10), (50, 20), (100, 100)])
    expected = 10 + read / 5 if read <= 50 else 20 + (read - 50) * 1.6
    assert sensor.corrected(read) == pytest.approx(expected)


def test_simulated_it_shows_what_it_is_told_and_stays_fresh(bench: Any) -> None:
    sensor = bench.open(Thermometer(stale_after=3.0, scale=2.0))
    sensor.simulate(30)
    for _ in range(5):
        bench.clock.advance(1)
        sensor.poll()
    assert (sensor.value, sensor.state()["stale"]) == (30.0, False)


def test_simulated_it_dies_when_it_is_told_nothing(bench: Any) -> None:
    sensor = bench.open(Thermometer(stale_after=3.0))
    sensor.poll()
    sensor.simulate(None)
    for _ in range(3):
        bench.clock.advance(1)
        sensor.poll()
    assert sensor.state()["stale"] is True


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sample_every": 5.0, "stale_after": 5.0}, "must be longer than sample_every"),
        ({"calibration": [(0, 1)]}, "two pairs at least"),
        ({"calibration": [(1, 1), (1, 2)]}, "what is read rising"),
        ({"calibration": [(0, 1), (1, 2)], "scale": 2.0}, "give one of them"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Thermometer(**options)


def test_a_pin_may_be_read_from_time_to_time_too(bench: Any) -> None:
    button = bench.open(Button(pin=Pin(27), sample_every=1.0, stale_after=2.0))
    bench.clock.advance(1)
    button.poll()
    assert button.state() == {"value": False, "sampled": bench.clock.now(), "stale": False}


@pytest.mark.parametrize(
    ("options", "resolution", "decimals"),
    [
        ({}, None, None),
        ({}, 1 / 16, 2),
        ({"scale": 100.0}, 0.01, 0),
        ({"calibration": [(0.0, 0.0), (1.0, 10.0), (2.0, 11.0)]}, 0.01, 2),
        ({"digits": 1}, 0.001, 1),
    ],
)
def test_a_page_shows_the_decimals_of_the_resolution(
    options: dict[str, Any], resolution: float | None, decimals: int | None
) -> None:
    class Part(Thermometer):
        @property
        def resolution(self) -> float | None:
            return resolution

    assert Part(**options).describe().get("digits") == decimals
