"""The words of a device for on and off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.board.snapshot import describe
from labnode.errors import ConfigError

Write = Callable[[str], Path]

BOARD = "devices:\n"


def test_a_device_has_its_words_in_the_student_s_language(write: Write) -> None:
    words = "{on: {en: Open, es: Abierta}, off: Closed}"
    file = load_board(write(f"{BOARD}  lid: {{driver: digital_input, pin: 17, words: {words}}}\n"))
    lid = file.devices["lid"]
    assert describe("lid", lid, ["es"])["words"] == {"on": "Abierta", "off": "Closed"}
    assert describe("lid", lid, ["en"])["words"] == {"on": "Open", "off": "Closed"}


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        (
            "{driver: pwm_led, pin: 18, words: {on: A, off: B}}",
            "x.yaml:3: 'fan' has words for on and off, and is neither",
        ),
        ("{driver: led, pin: 18, words: {on: A}}", "x.yaml:3: missing key 'off' in 'words'"),
        ("{driver: led, pin: 18, words: {on: On, off: B}}", "x.yaml:3: 'words.on'"),
    ],
)
def test_words_that_nobody_could_say_are_a_problem(write: Write, device: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_board(write(f"{BOARD}  fan: {device}\n"))
    assert problem in str(caught.value)


def test_on_and_off_are_keys_and_no_names(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_board(write(f"{BOARD}  on: {{driver: led, pin: 18}}\n"))
    assert "'on' cannot be the name of a device" in str(caught.value)
