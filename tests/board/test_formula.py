from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.errors import ConfigError, Interlocked

Make = Callable[..., Any]

BOARD = """\
devices:
  watts: {driver: formula, expr: volts * amps, digits: 2, unit: W}
  volts: {driver: virtual, safe: 12, access: user}
  amps: {driver: virtual, safe: 0.5}
  double: {driver: formula, expr: 2 * watts}
"""
BOX = """\
devices:
  temp: {driver: thermometer, stale_after: 5s}
  mean: {driver: formula, expr: "avg(temp, 10s)", sample_every: 1s}
  top: {driver: formula, expr: "max(temp, 10s)", per_session: true}
  hot: {driver: formula, expr: "hysteresis(temp, 40, 45)"}
  heater: {driver: relay, pin: 17}
interlocks:
  - {name: mean, when: mean > 50, force: {heater: off}, latch: true}
  - {name: lost, when: stale(mean), force: {heater: off}, latch: true}
"""


def step(rig: Any, seconds: float) -> None:
    """Time passes as a hardware thread sees it."""
    end = rig.clock.now() + seconds
    while (wait := rig.board.poll()) is not None and rig.clock.now() + wait < end:
        rig.clock.advance(wait)
    rig.clock.advance(end - rig.clock.now())
    rig.board.poll()


def show(rig: Any, value: Any) -> None:
    rig.board.simulate("temp", value)


def test_a_formula_follows_at_once_and_formulas_follow_each_other_in_any_order(rig: Make) -> None:
    rig = rig(BOARD)
    rig.board.open()
    assert (rig.values()["watts"], rig.values()["double"]) == (6, 12)
    rig.news()
    rig.board.command("volts", "set", [3.333])
    assert rig.news() == [("volts", 3.333), ("watts", 1.67), ("double", 3.34)]
    assert rig.board.poll() is None  # nothing is waited for


def test_without_one_of_its_values_it_has_none_and_says_that_it_is_stale(
    rig: Make, thermometer: None
) -> None:
    rig = rig(BOX)
    rig.board.open()
    assert rig.board.snapshot["mean"] == {"value": None, "stale": True, "awaited": True}
    assert rig.board.faults == () or not rig.board.faults[0].latched
    show(rig, 20.0)
    assert rig.values()["mean"] == 20
    assert rig.board.snapshot["mean"]["stale"] is False
    assert rig.board.faults == ()
    show(rig, None)
    step(rig, 6)
    state = rig.board.snapshot["hot"]
    assert (state["value"], state["stale"]) == (False, True)
    assert rig.board.snapshot["mean"]["value"] is None
    assert [fault.name for fault in rig.board.faults if fault.latched] == ["lost"]


def test_an_average_moves_on_by_itself_and_trips_an_interlock(rig: Make, thermometer: None) -> None:
    rig = rig(BOX)
    rig.board.open()
    show(rig, 20.0)
    step(rig, 10)
    rig.board.command("heater", "on")
    show(rig, 100.0)
    step(rig, 3)
    assert rig.values()["mean"] == pytest.approx(20 + 0.3 * 80, abs=1)
    assert rig.values()["heater"] is True
    step(rig, 1)
    assert rig.values()["mean"] > 50
    assert rig.values()["heater"] is False


def test_a_session_begins_with_the_windows_that_it_had_unless_the_formula_is_per_session(
    rig: Make, thermometer: None
) -> None:
    rig = rig(BOX)
    rig.board.open()
    show(rig, 44.0)
    show(rig, 46.0)
    step(rig, 1)
    show(rig, 42.0)
    step(rig, 1)
    before = rig.values()
    assert (before["top"], before["hot"]) == (46, True)
    rig.board.reset()
    rig.board.prepare()
    rig.board.poll()
    after = rig.values()
    assert (after["top"], after["hot"]) == (42, True)
    assert after["mean"] == pytest.approx(before["mean"])


def test_a_command_that_a_formula_would_undo_at_once_is_refused(rig: Make) -> None:
    rule = "interlocks: [{name: weak, when: double > 20, force: {amps: 0.5}, message: Too much}]\n"
    rig = rig(BOARD + rule)
    rig.board.open()
    with pytest.raises(Interlocked, match="Too much"):
        rig.board.command("amps", "set", [1])
    assert ("amps", 1) not in rig.news()


def test_a_simulated_input_follows_a_formula(rig: Make) -> None:
    board = BOARD + "  lamp: {driver: digital_input, pin: 4}\nsimulate: {lamp: double > 20}\n"
    rig = rig(board)
    rig.board.open()
    rig.board.command("amps", "set", [1])
    assert rig.values()["lamp"] is True


@pytest.mark.parametrize(
    ("devices", "sentence"),
    [
        (
            "  a: {driver: formula, expr: b + 1}\n  b: {driver: formula, expr: c}\n"
            "  c: {driver: formula, expr: 'max(a, 1s)'}\n",
            "x.yaml:7: 'a' follows from itself: a -> b -> c -> a",
        ),
        ("  a: {driver: formula, expr: vlots}\n", "x.yaml:7: the expression 'vlots' for 'a', at"),
        ("  a: {driver: formula, expr: volts == '12'}\n", "a number and a text are never equal"),
        (
            "  a: {driver: formula, expr: b == 'x'}\n  b: {driver: formula, expr: volts}\n",
            "x.yaml:7: the expression \"b == 'x'\" for 'a', at character 1: a number and a text",
        ),
        ("  a: {driver: formula, expr: 'avg(volts)'}\n", "expected ',', not ')'"),
        ("  a: {driver: formula, expr: 'avg(volts, 10)'}\n", "expected a time such as 10s, not '1"),
        ("  a: {driver: formula, expr: 'avg(volts, 2d)'}\n", "looks back a day at most"),
        ("  a: {driver: formula, expr: 'rate(volts + 1)'}\n", "expected ')', not '+'"),
        ("  a: {driver: formula, expr: [volts]}\n", "expected an expression such as temp > 40"),
    ],
)
def test_a_formula_that_cannot_be_is_told_with_its_line(
    write: Callable[[str], Path], devices: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_board(write(BOARD + devices))
    assert sentence in str(caught.value)


def test_how_a_formula_is_shown_depends_on_its_type(write: Callable[[str], Path]) -> None:
    text = "  a: {driver: formula, expr: volts > 3}\n  b: {driver: formula, expr: volts}\n"
    devices = load_board(write(BOARD + text)).devices
    assert [devices[name].describe()["widget"] for name in "ab"] == ["lamp", "value"]


def test_a_circle_of_formulas_alone_is_one_mistake(write: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_board(write("devices:\n  a: {driver: formula, expr: a + 1}\n"))
    assert [str(problem.message) for problem in caught.value.problems] == [
        "'a' follows from itself: a -> a"
    ]
