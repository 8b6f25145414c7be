"""Types of values in the expressions of a whole board file: wherever expressions stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.errors import ConfigError

BOARD = """\
devices:
  absorber: {driver: virtual, safe: none, choices: [none, lead, alu]}
  note: {driver: virtual, safe: ""}
  sw: {driver: digital_input_bank, pins: [5, 6]}
  lamp: {driver: led, pin: 17}
  door: {driver: button, pin: 27}
"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "interlocks: [{name: a, require: absorber, for: [lamp]}]",
            "x.yaml:8: the expression 'absorber' for the interlock 'a' is a text, neither true",
        ),
        (
            "interlocks: [{name: a, when: \"absorber == 'laed'\", force: {lamp: off}}]",
            "x.yaml:8: the expression \"absorber == 'laed'\" for the interlock 'a', at character "
            "13: 'absorber' is never 'laed'; did you mean 'lead'?",
        ),
        (
            "sequences: {on_boot: {steps: [{wait_for: sw.bit(2)}]}}",
            "expected a bit of 'sw', 0 (the lowest) to 1, not '2'",
        ),
        ("simulate: {door: note}", "x.yaml:8: 'door' shows no text, other than 'note'"),
    ],
)
def test_a_wrong_type_is_told_with_its_line(
    write: Callable[[str], Path], text: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_board(write(f"{BOARD}{text}\n"))
    assert sentence in str(caught.value)


def test_bits_and_texts_hold_outputs_and_are_followed(rig: Callable[..., Any]) -> None:
    rules = (
        "interlocks:\n"
        "  - {name: shield, require: \"absorber == 'lead' and not sw.bit(1)\", for: [lamp]}\n"
        "simulate: {door: \"absorber == 'lead'\"}\n"
    )
    board = rig(BOARD + rules).board
    board.open()
    assert (board.snapshot["lamp"]["locked"], board.snapshot["door"]["value"]) != (None, True)
    board.command("absorber", "set", ["lead"])
    assert board.snapshot["door"]["value"] is True
    board.command("lamp", "on")
    board.simulate("sw", 0b10)
    assert board.snapshot["lamp"]["value"] is False
