from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.errors import BadInput, ConfigError, Interlocked, Outdated
from tests.board.conftest import Student

Make = Callable[..., Any]

BOARD = """\
devices:
  source: {driver: choice, one_of: [red, green, blue], break_time: 100ms}
  red: {driver: relay, pin: 17, access: system}
  green: {driver: relay, pin: 18, access: system, active_high: false}
  blue: {driver: relay, pin: 22, access: system}
"""
MATRIX = """\
devices:
  a: {driver: relay, pin: 17, access: system}
  b: {driver: relay, pin: 18, access: system, min_off_time: 2s}
  c: {driver: pwm_output, pin: 22, access: system}
  lid: {driver: button, pin: 27}
  matrix:
    driver: choice
    safe: open
    table:
      series: {a: on, b: on}
      parallel: {b: on, c: 0.5}
interlocks:
  - {name: lid, require: lid, for: [b]}
"""


@pytest.fixture
def make(rig: Make, student: Student) -> Make:
    def make(text: str) -> Any:
        made = rig(text, operators=student)
        made.board.open()
        if "lid" in made.values():
            made.board.simulate("lid", True)
        made.clock.advance(3)
        return made

    return make


def live(rig: Any, seconds: float) -> None:
    end = rig.clock.now() + seconds
    while rig.clock.now() < end:
        wait = rig.board.poll()
        left = end - rig.clock.now()
        rig.clock.advance(left if wait is None else min(left, wait))
    rig.board.poll()


def shown(rig: Any, *names: str) -> list[Any]:
    return [rig.values()[name] for name in names]


def test_one_is_left_before_the_next_one_is_made(make: Make) -> None:
    rig = make(BOARD)
    assert shown(rig, "source", "red") == ["off", False]
    rig.board.command("source", "set", ["red"])
    assert shown(rig, "source", "red", "green", "blue") == ["red", True, False, False]
    rig.board.command("source", "set", ["green"])
    assert shown(rig, "red", "green", "blue") == [False, False, False]
    assert rig.board.snapshot["source"]["switching"] is True
    live(rig, 0.09)
    assert shown(rig, "green") == [False]
    live(rig, 0.02)
    assert shown(rig, "source", "red", "green", "blue") == ["green", False, True, False]
    assert (rig.level("GPIO17"), rig.level("GPIO18"), rig.level("GPIO22")) == (0, 0, 0)
    assert "switching" not in rig.board.snapshot["source"]
    rig.board.command("source", "set", ["off"])
    assert shown(rig, "green") == [False]
    live(rig, 1)
    assert rig.board.poll() is None  # nothing is looked at while all is off


def test_of_quick_changes_the_last_one_counts_and_none_is_made_in_between(make: Make) -> None:
    rig = make(BOARD)
    for name in ("red", "green", "blue", "red", "blue"):
        rig.board.command("source", "set", [name])
        live(rig, 0.03)
    live(rig, 0.1)
    assert shown(rig, "source", "red", "green", "blue") == ["blue", False, False, True]
    assert rig.board.pins.pin("GPIO18").levels.count(False) == 0


def test_nobody_else_commands_its_outputs_but_to_safe(make: Make) -> None:
    rig = make(BOARD)
    with pytest.raises(Interlocked, match=r"Red is commanded by Source alone\."):
        rig.board.command("red", "on")
    with pytest.raises(BadInput, match="off, red, green, blue, not 'rde'; did you mean 'red'"):
        rig.board.command("source", "set", ["rde"])
    rig.board.command("source", "set", ["red"])
    rig.board.command("red", "off")
    live(rig, 0.5)
    assert shown(rig, "source", "red") == ["off", False]
    assert rig.board.snapshot["source"]["locked"] == {"message": "page.hindered", "name": "red"}


def test_what_is_waited_for_is_not_made_when_nobody_is_heard_any_more(
    make: Make, student: Student
) -> None:
    rig = make(BOARD.replace("pin: 17", "pin: 17, min_off_time: 10s, deadman: 3s"))
    rig.board.command("source", "set", ["red"])
    live(rig, 1)
    student.gone = True
    levels = rig.board.pins.pin("GPIO17").levels
    levels.clear()
    live(rig, 20)
    assert not any(levels)
    assert shown(rig, "source", "red") == ["off", False]


@pytest.mark.parametrize("end", ["reset", "some", "forced", "halt"])
def test_every_end_makes_all_safe(make: Make, end: str) -> None:
    rig = make(MATRIX)
    rig.board.command("matrix", "set", ["series"])
    assert shown(rig, "matrix", "a", "b", "c") == ["series", True, True, 0]
    if end == "reset":
        rig.board.reset()
    elif end == "some":
        rig.board.reset(["matrix"])
    elif end == "forced":
        rig.board.file.devices["matrix"].force("open")
    else:
        rig.board.halt("smoke")
        rig.serve()
    rig.board.poll()
    assert shown(rig, "matrix", "a", "b", "c") == ["open", False, False, 0]


def test_a_combination_that_an_interlock_breaks_goes_as_a_whole(make: Make) -> None:
    rig = make(MATRIX)
    rig.board.command("matrix", "set", ["series"])
    rig.board.simulate("lid", False)
    live(rig, 0.5)
    assert shown(rig, "matrix", "a", "b") == ["open", False, False]
    with pytest.raises(Interlocked, match="Matrix cannot be series: b does not obey"):
        rig.board.command("matrix", "set", ["series"])
    assert shown(rig, "matrix", "a", "b") == ["open", False, False]
    assert rig.board.pins.pin("GPIO17").levels.count(True) == 1


def test_what_was_clicked_before_it_fell_to_safe_by_itself_is_void(make: Make) -> None:
    rig = make(MATRIX)
    rig.board.command("matrix", "set", ["series"])
    clicked = rig.clock.now() + 0.1
    rig.clock.advance(0.2)
    rig.board.simulate("lid", False)
    live(rig, 0.5)
    rig.board.simulate("lid", True)
    live(rig, 3)
    with pytest.raises(Outdated):
        rig.board.command("matrix", "set", ["series"], asked_at=clicked)
    assert shown(rig, "matrix", "a", "b") == ["open", False, False]


def test_what_has_to_rest_is_waited_for_with_all_others_at_safe(make: Make) -> None:
    rig = make(MATRIX)
    rig.board.command("matrix", "set", ["series"])
    rig.board.command("matrix", "set", ["open"])
    rig.board.command("matrix", "set", ["parallel"])
    live(rig, 1.5)
    assert shown(rig, "matrix", "b", "c") == ["parallel", False, 0]
    live(rig, 1)
    assert shown(rig, "matrix", "a", "b", "c") == ["parallel", False, True, 0.5]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("a: on,", "x: on,", "x.yaml:10: 'matrix': there is no device 'x'"),
        ("a: on,", "a: 7,", "'matrix': 'series': a: 'value' must be true or false, not the number"),
        ("a: on,", "lid: on,", "'matrix': 'lid' is no output: a button cannot be set"),
        ("safe: open", "safe: series", "'series' is its safe choice, but 'a' is not safe in it"),
        ("17, access: system", "17", "'a' is this choice's alone: give it access: system"),
        (
            "    table:",
            "    one_of: [a]\n    table:",
            "give it either one_of, a list of switches, or",
        ),
        ("safe: open", "initial: sereis", "initial must be one of off, series, parallel, not"),
        (
            "interlocks:",
            "  z: {driver: choice, one_of: [a]}\ninterlocks:",
            "'z' uses the output a,",
        ),
        (
            "interlocks:",
            "interlocks:\n  - {name: x, when: matrix == 'serise', force: {a: off}}",
            "'matrix' is never 'serise'; did you mean 'series'?",
        ),
    ],
)
def test_a_choice_that_cannot_be_is_told_with_its_line(
    write: Callable[[str], Path], old: str, new: str, sentence: str
) -> None:
    assert old in MATRIX
    with pytest.raises(ConfigError) as caught:
        load_board(write(MATRIX.replace(old, new)))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "step",
    [
        "set: {matrix: open, b: on}",
        "set: {b: {expr: lid}}",
        "pulse: {b: 2s}",
        "ramp: {c: {to: 1, over: 1s}}",
        "call: b.toggle",
        "call: {b.set: [on]}",
        "if: {expr: lid, then: [{set: {b: on}}]}",
    ],
)
def test_a_sequence_that_commands_the_outputs_of_a_choice_is_refused_with_its_line(
    write: Callable[[str], Path], step: str
) -> None:
    steps = f"sequences:\n  on_start:\n    steps:\n      - {step}\n"
    with pytest.raises(ConfigError) as caught:
        load_board(write(MATRIX + steps))
    output = "c" if "c:" in step else "b"
    place, _, sentence = str(caught.value).partition(" ")
    assert place.endswith("/x.yaml:18:")
    assert sentence == (
        f"'{output}' cannot be set here: only 'matrix' commands it. Set 'matrix' to one of open, "
        f"series, parallel, or make '{output}' safe"
    )


def test_a_sequence_may_make_the_outputs_of_a_choice_safe(make: Make) -> None:
    rig = make(
        f"{MATRIX}sequences:\n  on_start:\n    steps:\n      - set: {{b: off, c: 0}}\n"
        "      - safe: [b]\n      - call: b.off\n      - call: {b.set: [off]}\n"
        "      - ramp: {c: {to: 0, over: 1s}}\n"
    )
    assert rig.board.file.sequences["on_start"].steps


def test_a_combination_of_which_one_output_has_to_wait_is_not_made_in_part(make: Make) -> None:
    rig = make(
        "devices:\n  a: {driver: relay, pin: 17, access: system}\n"
        "  c: {driver: relay, pin: 22, access: system, max_per_second: 1}\n"
        "  both: {driver: choice, break_time: 0, table: {x: {a: on, c: on}}}\n"
    )
    rig.board.command("both", "set", ["x"])
    rig.board.command("both", "set", ["off"])
    rig.board.command("both", "set", ["x"])
    assert shown(rig, "both", "a", "c") == ["x", False, False]
    live(rig, 1.1)
    assert shown(rig, "both", "a", "c") == ["x", True, True]
