from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.motor import Motor, PhaseEnableMotor
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.servo import AngularServo, Servo
from labnode.errors import BadInput


def motor(bench: Any, **options: Any) -> Motor:
    return bench.open(Motor(forward_pin=Pin(17), backward_pin=Pin(27), **options), "belt")


def test_a_motor_turns_both_ways_and_stops(bench: Any) -> None:
    belt = motor(bench, enable=Pin(22))
    levels = []
    for value in (0.5, -1, 0):
        belt.set(value)
        levels.append(tuple(bench.level(f"GPIO{pin}") for pin in (17, 27, 22)))
    assert levels == [(0.5, 0, 1), (0, 1, 1), (0, 0, 0)]


def test_a_motor_never_has_both_directions_on(bench: Any) -> None:
    seen: list[tuple[float, float]] = []
    belt = motor(bench)
    for name in ("GPIO17", "GPIO27"):
        pin = bench.pins.pin(name)
        change = pin._change_state

        def changed(value: Any, change: Any = change) -> Any:
            result = change(value)
            seen.append((bench.level("GPIO17"), bench.level("GPIO27")))
            return result

        pin._change_state = changed
    for value in (1, -1, 0.3, -0.3, 0):
        belt.set(value)
    assert len(seen) > 5
    assert all(0 in pair for pair in seen)


def test_the_directions_go_to_the_limits_and_stop_is_always_possible(bench: Any) -> None:
    belt = motor(bench, min=-0.5, max=0.8)
    values = []
    for step in (belt.forward, belt.backward, belt.stop):
        step()
        values.append(belt.value)
    assert values == [0.8, -0.5, 0]
    with pytest.raises(BadInput, match=r"a number from -0\.5 to 0\.8"):
        belt.set(0.9)


def test_a_motor_without_pulses_has_three_speeds(bench: Any) -> None:
    belt = motor(bench, pwm=False)
    belt.set(-1)
    assert (bench.level("GPIO27"), bench.pins.pin("GPIO27").frequency) == (1, None)
    with pytest.raises(BadInput, match="in steps of 1"):
        belt.set(0.5)


def test_a_bridge_with_a_phase_is_stopped_before_it_turns_round(bench: Any) -> None:
    wheel = bench.open(PhaseEnableMotor(phase=Pin(17), enable=Pin(18)))
    wheel.set(1)
    wheel.set(-0.4)
    enable, phase = bench.pins.pin("GPIO18"), bench.pins.pin("GPIO17")
    assert list(enable.levels)[-3:] == [1, 0, 0.4]
    assert (phase.state, wheel.value) == (True, -0.4)


@pytest.mark.parametrize(("value", "width"), [(-1, 0.001), (0, 0.0015), (1, 0.002)])
def test_a_servo_gets_pulses_as_long_as_its_position_wants(
    bench: Any, value: float, width: float
) -> None:
    gate = bench.open(Servo(pin=Pin(17), safe=0.5))
    gate.set(value)
    pin = bench.pins.pin("GPIO17")
    assert pin.frequency == 50
    assert pin.state == pytest.approx(width * 50)
    assert gate.value == value


def test_the_first_thing_a_servo_sees_is_its_safe_position(bench: Any) -> None:
    bench.open(Servo(pin=Pin(17), safe=1.0))
    levels = [level for level in bench.pins.pin("GPIO17").levels if level]
    assert levels == [pytest.approx(0.1)]


def test_the_pulses_of_a_servo_end_once_it_has_moved(bench: Any) -> None:
    gate = bench.open(Servo(pin=Pin(17), detach_after=1.0, max_on_time=0.5))
    gate.set(1)
    bench.clock.advance(0.5)
    assert gate.due() == bench.clock.now()
    gate.poll()  # back to safe, which is a move as well
    assert (gate.value, bench.level("GPIO17") > 0) == (0, True)
    bench.clock.advance(1)
    assert gate.due() == bench.clock.now()
    gate.poll()
    assert (gate.value, bench.level("GPIO17"), gate.due()) == (0, 0, None)


@pytest.mark.parametrize(("first", "last"), [(0, 180), (180, 0)])
def test_an_angle_is_between_its_two_pulses_in_either_order(
    bench: Any, first: float, last: float
) -> None:
    flap = bench.open(AngularServo(pin=Pin(17), min_angle=first, max_angle=last))
    flap.set(45)
    share = (45 - first) / (last - first)
    assert bench.level("GPIO17") == pytest.approx(0.05 + share * 0.05)
    assert (flap.value, flap.describe()["min"], flap.describe()["max"]) == (45, 0, 180)
    with pytest.raises(BadInput, match="a number from 0 to 180"):
        flap.set(181)
