"""The dead man of an output: it goes to safe when whoever switched it on is no longer heard."""

from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.gpio.digital_output import DigitalOutput
from labnode.drivers.gpio.motor import Motor
from labnode.drivers.gpio.pin import Pin


def heater(bench: Any, **options: Any) -> DigitalOutput:
    output: DigitalOutput = bench.open(DigitalOutput(pin=Pin(17), **options), "heater")
    return output


def pass_time(bench: Any, output: DigitalOutput, seconds: float) -> None:
    """Poll it as often as it asks for."""
    end = bench.clock.now() + seconds
    while (due := output.due()) is not None and due <= end:
        bench.clock.advance(max(0.0, due - bench.clock.now()))
        output.poll()
    bench.clock.advance(end - bench.clock.now())


def fall_silent(bench: Any) -> None:
    bench.heard_at = bench.clock.now()


def fail_twice(output: DigitalOutput) -> None:
    """Have the hardware disobey two times from now on."""
    drive, tries = output.drive, iter([OSError("no bus"), OSError("no bus")])

    def failing(value: bool) -> None:
        if error := next(tries, None):
            raise error
        drive(value)

    output.drive = failing  # type: ignore[method-assign]


def test_it_goes_to_safe_when_its_operator_is_silent_and_says_why(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    output.on()
    fall_silent(bench)
    pass_time(bench, output, 1.9)
    assert output.value is True
    pass_time(bench, output, 0.1)
    assert output.state() == {"value": False, "unheard": True}
    assert bench.lost == ["heater"]


def test_it_stays_on_as_long_as_its_operator_is_heard(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    output.on()
    pass_time(bench, output, 600)
    assert output.state() == {"value": True}


def test_it_stays_safe_until_it_is_switched_again(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    output.on()
    fall_silent(bench)
    pass_time(bench, output, 5)
    bench.heard_at = None
    pass_time(bench, output, 60)
    assert output.state() == {"value": False, "unheard": True}
    output.on()
    pass_time(bench, output, 60)
    assert output.state() == {"value": True}


def test_a_command_is_a_sign_of_life_too(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    bench.heard_at = float("-inf")
    for _ in range(3):
        output.on()
        pass_time(bench, output, 1.5)
        assert output.value is True
    pass_time(bench, output, 0.5)
    assert output.value is False


def test_an_operator_who_may_be_silent_for_less_from_now_on_is_missed_in_time(bench: Any) -> None:
    """As when a page that asked now and then gets its WebSocket."""
    output = heater(bench, deadman=2.0)
    bench.heard_at = bench.clock.now() + 60
    output.on()
    pass_time(bench, output, 3)
    fall_silent(bench)
    pass_time(bench, output, 2)
    assert output.value is False


@pytest.mark.parametrize(
    ("options", "patience"),
    [
        ({}, None),
        ({"max_on_time": 60.0}, 5.0),
        ({"max_on_time": 60.0, "deadman": 2.0}, 2.0),
        ({"max_on_time": 60.0, "deadman": "never"}, None),
        ({"deadman": 30.0}, 30.0),
        ({"hold": True}, 2.0),
        ({"hold": True, "deadman": 3.0}, 3.0),
        ({"hold": True, "deadman": "never"}, None),
    ],
)
def test_what_may_not_be_on_for_long_has_a_dead_man_by_default(
    bench: Any, options: Any, patience: float | None
) -> None:
    output = heater(bench, **options)
    assert output.patience == patience
    assert output.describe().get("deadman") == patience


def test_what_is_held_is_a_button_and_no_pulse(bench: Any) -> None:
    assert heater(bench, hold=True).describe()["widget"] == "button"
    with pytest.raises(ValueError, match="hold and pulse"):
        DigitalOutput(pin=Pin(17), hold=True, pulse=1.0)


def test_a_motor_has_a_dead_man_by_default(bench: Any) -> None:
    motor = bench.open(Motor(forward_pin=Pin(17), backward_pin=Pin(27)), "belt")
    motor.forward()
    fall_silent(bench)
    bench.clock.advance(5)
    motor.poll()
    assert motor.value == 0


def test_without_a_dead_man_nobody_has_to_be_heard(bench: Any) -> None:
    output = heater(bench)
    output.on()
    assert output.due() is None
    assert output.guarded_since is None
    assert output.unheard(bench.clock.now() + 1e6) == 0


def test_an_output_that_is_safe_when_on_is_watched_while_it_is_off(bench: Any) -> None:
    output = heater(bench, safe=True, deadman=2.0)
    output.off()
    fall_silent(bench)
    pass_time(bench, output, 2)
    assert output.value is True


def test_what_an_interlock_holds_needs_nobody_but_afterwards_it_does(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    output.force(True)
    pass_time(bench, output, 60)
    assert output.value is True
    output.release()
    pass_time(bench, output, 1.9)
    assert output.value is True
    pass_time(bench, output, 0.1)
    assert output.state() == {"value": False, "unheard": True}


def test_nobody_polling_it_is_told_as_unheard(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    output.on()
    fall_silent(bench)
    assert output.unheard(bench.clock.now() + 3.5) == 1.5


def test_hardware_that_does_not_obey_its_dead_man_is_tried_again(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    output.on()
    fall_silent(bench)
    fail_twice(output)
    bench.clock.advance(2)
    output.poll()
    assert (output.value, output.state()["error"]) == (True, "OSError: no bus")
    assert output.due() == bench.clock.now() + 0.25
    pass_time(bench, output, 1)
    assert output.state() == {"value": False, "unheard": True}
    assert bench.lost == ["heater"]


def test_what_nobody_has_switched_on_and_does_not_obey_is_tried_again(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    fail_twice(output)
    with pytest.raises(OSError, match="no bus"):
        output.reset()
    pass_time(bench, output, 1)
    assert "error" not in output.state()


def test_a_reset_forgets_why(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    output.on()
    fall_silent(bench)
    pass_time(bench, output, 3)
    output.reset()
    assert output.state() == {"value": False}


def test_what_is_opened_again_has_forgotten_why(bench: Any) -> None:
    output = heater(bench, deadman=2.0)
    output.on()
    fall_silent(bench)
    pass_time(bench, output, 3)
    output.opened()
    assert output.state() == {"value": False}


def test_what_is_opened_again_is_on_for_no_time(bench: Any) -> None:
    output = heater(bench, max_on_time=10.0)
    output.on()
    output.opened()
    assert output.overdue(bench.clock.now() + 60) == 0
