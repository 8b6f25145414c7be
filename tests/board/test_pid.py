"""Controllers on a whole board: nothing that holds for students does not hold for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.errors import ConfigError, Outdated
from tests.board.conftest import Student

Make = Callable[..., Any]

BOARD = """\
devices:
  hold: {driver: pid, input: mean, setpoint: wanted, output: heater, kp: 0.1, ki: 0.01}
  temp: {driver: thermometer, stale_after: 5s}
  mean: {driver: formula, expr: temp}
  wanted: {driver: virtual, safe: 40, min: 20, max: 60}
  heater: {driver: pwm_output, pin: 17, access: system}
  lid: {driver: button, pin: 27}
interlocks:
  - {name: lid, require: lid, for: [heater], message: Close the lid}
"""
RELAY = """\
devices:
  temp: {driver: thermometer, stale_after: 5s}
  heater: {driver: relay, pin: 17, max_on_time: 60s}
  hold:
    {driver: pid, input: temp, setpoint: 40, output: heater, kp: 0.05, cycle: 10s, min_pulse: 1s}
"""


@pytest.fixture
def make(rig: Make, thermometer: None, student: Student) -> Make:
    def make(text: str, temp: float = 35.0, lid: bool = True) -> Any:
        made = rig(text, operators=student)
        made.board.open()
        made.board.simulate("temp", temp)
        if "lid" in made.board.file.devices:
            made.board.simulate("lid", lid)
        return made

    return make


def live(rig: Any, seconds: float) -> None:
    """Time passes as a hardware thread sees it, while the thermometer is read."""
    end = rig.clock.now() + seconds
    while rig.clock.now() < end:
        wait = rig.board.poll()
        left = end - rig.clock.now()
        rig.clock.advance(left if wait is None else min(left, wait))
    rig.board.poll()


def test_on_it_drives_its_output_and_off_the_output_is_safe_at_once(make: Make) -> None:
    rig = make(BOARD)
    assert rig.values()["heater"] == 0
    rig.board.command("hold", "on")
    assert rig.values()["heater"] == pytest.approx(0.5)
    live(rig, 3)
    assert rig.values()["heater"] > 0.55
    assert rig.board.snapshot["hold"]["power"] == pytest.approx(rig.values()["heater"], abs=1e-3)
    rig.board.command("hold", "off")
    assert (rig.values()["heater"], rig.values()["hold"]) == (0, False)
    assert "power" not in rig.board.snapshot["hold"]
    live(rig, 3)
    assert rig.values()["heater"] == 0


@pytest.mark.parametrize("end", ["reset", "some", "forced", "halt"])
def test_every_end_brings_the_output_to_safe(make: Make, end: str) -> None:
    rig = make(BOARD)
    rig.board.command("hold", "on")
    if end == "reset":
        rig.board.reset()
    elif end == "some":
        rig.board.reset(["hold"])  # as after a sequence that has used it
    elif end == "forced":
        rig.board.file.devices["hold"].force(False)
    else:
        rig.board.halt("smoke")
        rig.serve()
    rig.board.poll()
    assert (rig.values()["heater"], rig.level("GPIO17"), rig.values()["hold"]) == (0, 0, False)
    live(rig, 2)
    assert rig.values()["heater"] == 0


@pytest.mark.parametrize("value", [None, "old"])
def test_it_stops_when_its_input_is_missing_or_stale_and_stays_off(make: Make, value: Any) -> None:
    rig = make(BOARD)
    rig.board.command("hold", "on")
    if value is None:
        rig.board.simulate("temp", None)
    else:
        rig.board.file.devices["temp"]._next = None  # it is read no more
    live(rig, 6.5)
    assert (rig.values()["heater"], rig.values()["hold"]) == (0, False)
    assert rig.board.snapshot["hold"]["locked"] == {"message": "page.no-input", "name": "mean"}
    rig.board.file.devices["temp"]._next = rig.clock.now()
    rig.board.simulate("temp", 30.0)
    live(rig, 2)
    assert rig.values()["heater"] == 0
    rig.board.command("hold", "on")
    assert rig.values()["heater"] > 0
    assert "locked" not in rig.board.snapshot["hold"]


def test_what_was_clicked_before_it_stopped_by_itself_does_not_switch_it_on_again(
    make: Make,
) -> None:
    rig = make(BOARD)
    rig.board.command("hold", "on")
    clicked = rig.clock.now() + 0.1
    rig.clock.advance(0.2)
    rig.board.simulate("temp", None)
    live(rig, 6.5)
    assert rig.values()["hold"] is False
    rig.board.simulate("temp", 30.0)
    live(rig, 2)
    with pytest.raises(Outdated):
        rig.board.command("hold", "on", asked_at=clicked)
    assert (rig.values()["heater"], rig.values()["hold"]) == (0, False)


def test_an_interlock_is_above_it_and_it_goes_on_afterwards(make: Make) -> None:
    rig = make(BOARD, lid=False)
    rig.board.command("hold", "on")
    assert (rig.values()["heater"], rig.values()["hold"]) == (0, True)
    assert rig.board.snapshot["hold"]["locked"] == {"message": "page.hindered", "name": "heater"}
    live(rig, 30)
    rig.board.simulate("lid", True)
    live(rig, 1)
    assert 0.5 <= rig.values()["heater"] < 0.6  # nothing has wound up meanwhile
    rig.board.simulate("lid", False)
    assert rig.values()["heater"] == 0


def test_who_switched_it_on_is_the_operator_of_the_output(make: Make, student: Student) -> None:
    rig = make(BOARD.replace("access: system", "deadman: 3s"))
    rig.board.command("hold", "on")
    live(rig, 20)
    assert rig.values()["heater"] > 0
    student.gone = True
    levels = rig.board.pins.pin("GPIO17").levels
    rig.board.poll()
    levels.clear()
    live(rig, 10)
    assert (rig.values()["heater"], rig.values()["hold"]) == (0, False)
    assert not any(levels)  # it does not flicker in between
    assert "hold" in student.lost


def test_a_switch_is_on_for_a_part_of_each_cycle(make: Make) -> None:
    rig = make(RELAY)
    rig.board.command("hold", "on")  # 5 °C below: a quarter
    on = 0.0
    for _ in range(200):
        live(rig, 0.1)
        on += 0.1 * rig.values()["heater"]
    assert on == pytest.approx(2 * 2.5, abs=0.3)


@pytest.mark.parametrize(("temp", "expected"), [(39, {False}), (21, {True}), (45, {False})])
def test_pulses_and_pauses_that_are_too_short_are_left_out(
    make: Make, temp: float, expected: set[bool]
) -> None:
    rig = make(RELAY, temp)
    rig.board.command("hold", "on")
    seen = set()
    for _ in range(30):
        live(rig, 0.5)
        seen.add(rig.values()["heater"])
    assert seen == expected


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("input: mean", "input: lid", "x.yaml:3: 'hold': 'lid' shows no number: it is a button"),
        ("input: mean", "input: maen", "there is no device 'maen'; did you mean 'mean'?"),
        ("output: heater", "output: lid", "'lid' is a button, which no controller can drive"),
        (", stale_after: 5s", "", "'hold': give 'temp' a stale_after: without it nobody notices"),
        ("kp: 0.1", "kp: 0.1, cycle: 5s", "'heater' has values between, so it is driven without"),
        ("driver: pwm_output", "driver: relay", "'heater' is only on or off: give it a cycle"),
        ("kp: 0.1", "kp: 0.1, output_max: 2", "'heater' takes 0 to 1, not 0 to 2"),
        (
            "interlocks:",
            "  two: {driver: pid, input: temp, setpoint: 3, output: heater, kp: 1}\ninterlocks:",
            "'two' uses the output heater, which 'hold' (line 3) already uses",
        ),
    ],
)
def test_a_controller_that_cannot_be_is_told_with_its_line(
    write: Callable[[str], Path], thermometer: None, old: str, new: str, sentence: str
) -> None:
    assert old in BOARD
    with pytest.raises(ConfigError) as caught:
        load_board(write(BOARD.replace(old, new)))
    assert sentence in str(caught.value)
