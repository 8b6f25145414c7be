"""The words of a device for on and off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.board.snapshot import describe
from labnode.errors import ConfigError, Interlocked
from labnode.locale import BUILT_IN

Write = Callable[[str], Path]

BOARD = "devices:\n"


def test_a_device_has_its_words_in_the_student_s_language(write: Write) -> None:
    words = "{on: {en: Open, es: Abierta}, off: Closed}"
    file = load_board(write(f"{BOARD}  lid: {{driver: digital_input, pin: 17, words: {words}}}\n"))
    lid = file.devices["lid"]
    lid.name = "lid"
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


RULES = """\
devices:
  valve: {driver: relay, pin: 17, label: {en: Valve, es: Válvula}, words: {on: Open, off: Closed}}
  pump: {driver: relay, pin: 18, label: Pump}
  fan: {driver: relay, pin: 19}
interlocks:
  - {name: one, mutex: [valve, pump]}
  - {name: air, mutex: [pump, fan], message: {en: One source at a time., es: Una fuente cada vez.}}
"""


@pytest.mark.parametrize(
    ("other", "english", "spanish"),
    [
        (
            "fan",
            "Fan cannot be on while Pump is on: One source at a time.",
            "Fan no puede estar encendido mientras lo esté Pump: Una fuente cada vez.",
        ),
        (
            "valve",
            "Valve cannot be “Open” while Pump is “On”: The interlock 'one' acts.",
            "Válvula no puede estar en «Open» mientras Pump esté en «Encendido»: "
            "Actúa el enclavamiento «one».",
        ),
    ],
)
def test_a_refusal_has_the_words_of_the_devices(
    rig: Callable[..., Any], other: str, english: str, spanish: str
) -> None:
    board = rig(RULES).board
    board.open()
    board.command("pump", "on")
    with pytest.raises(Interlocked) as caught:
        board.command(other, "on")
    assert str(caught.value) == english
    assert BUILT_IN.best(["es"]).say(caught.value.words) == spanish
