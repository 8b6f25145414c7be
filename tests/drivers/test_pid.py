"""The control law of pid, on a box of numbers."""

from __future__ import annotations

import pytest

from labnode.drivers.framework.driver import Ref
from labnode.drivers.logic.pid import Controller, Pid


def box(temperature: float, heated: float, seconds: float = 1.0) -> float:
    """A box 60 °C above the room when heated, in 40 s for the most."""
    return temperature + (22 + 60 * heated - temperature) * seconds / 40


@pytest.mark.parametrize("setpoint", [30, 45, 60])
def test_a_setpoint_is_held_without_shooting_far_over_it(setpoint: float) -> None:
    controller, temperature, seen = Controller(0.06, 0.0012, 0.25, 0, 1), 22.0, []
    for _ in range(900):
        temperature = box(temperature, controller.output(setpoint, temperature, 1, obeyed=True))
        seen.append(temperature)
    assert max(seen) < setpoint + 3
    assert seen[-1] == pytest.approx(setpoint, abs=0.2)


def test_the_integral_does_not_wind_up_at_a_limit_and_unwinds_from_it() -> None:
    controller = Controller(0.06, 0.0012, 0, 0, 1)
    for _ in range(1000):
        assert controller.output(100, 20, 1, obeyed=True) == 1
    assert controller.integral == 0
    controller.integral = 0.8
    controller.output(20, 100, 1, obeyed=True)
    assert controller.integral == 0.8  # at the other limit: it grows no further there either
    controller.output(99, 100, 1, obeyed=True)
    assert controller.integral < 0.8


def test_the_integral_rests_while_the_output_does_not_obey() -> None:
    controller = Controller(0.01, 0.01, 0, 0, 1)
    for _ in range(10):
        controller.output(10, 0, 1, obeyed=False)
    assert controller.integral == 0


def test_a_new_setpoint_is_no_blow_and_negative_gains_cool() -> None:
    controller = Controller(0, 0, 5, 0, 1)
    assert [controller.output(wanted, 20, 1, obeyed=True) for wanted in (20, 90)] == [0, 0]
    cooling = Controller(-0.1, 0, 0, 0, 1)
    assert cooling.output(20, 25, 1, obeyed=True) == 0.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"safe": True}, "a controller is safe while it is off"),
        ({"ki": -1.0}, "kp, ki and kd are all positive, or all negative"),
        ({"cycle": 2.0, "min_pulse": 1.5}, "cycle is at least sample_time, and twice min_pulse"),
    ],
)
def test_options_that_exclude_each_other_are_told(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Pid(input=Ref("a"), setpoint=1.0, output=Ref("b"), kp=1.0, **options)  # type: ignore[arg-type]
