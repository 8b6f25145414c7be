"""The mistakes that people make in board files: each is told once, in words, at its line.

Nothing but a ConfigError comes out of a file, whatever is done to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labnode.board import load_board
from labnode.errors import ConfigError, Problem
from labnode.locale import BUILT_IN
from labnode.schema import parse_yaml
from labnode.wizard.bootconfig import boot_config
from tests.kit.english import sentences_left

OTHERS = [code for code in BUILT_IN.languages if code != "en"]

GOOD = """\
schema: 1
title: {en: Temperature control, es: Control de temperatura}
lab: {name: thermal, category: Control}
session:
  max_time: 10m
  timeout: 30s
devices:
  heater:
    driver: relay
    pin: GPIO17
    active_high: false
    max_on_time: 2m
  fan:
    driver: pwm_output
    pin: 18
    frequency: 100
    safe: 1.0
  lid:
    driver: button
    pin: BOARD13
    bounce_time: 50ms
interlocks:
  - name: lid
    require: lid
    for: [heater]
  - {name: hot, when: "heater and fan < 0.2", force: {heater: false, fan: 1.0}, latch: true}
sequences:
  on_start:
    timeout: 40s
    steps:
      - safe: all
      - set: {fan: 0.5}
      - wait_for: {expr: lid, timeout: 30s}
simulate:
  lid: not heater
page:
  - [lid]
  - [heater, fan]
"""


def told(tmp_path: Path, text: str) -> list[str]:
    """The problems of a file, without its name: "12: sentence"."""
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_board(path)
    except ConfigError as error:
        return [str(problem).removeprefix(f"{path}:").strip() for problem in error.problems]
    return []


def test_the_file_that_is_broken_here_is_right(tmp_path: Path) -> None:
    assert told(tmp_path, GOOD) == []


MISTAKES: list[tuple[str, str, str]] = [
    # what stands there, what people write instead, and what they read
    ("schema: 1\n", "", "1: missing key 'schema'; a board file begins with 'schema: 1'"),
    ("schema: 1", "schema: '1'", "1: this labnode reads board files of 'schema: 1', not the text"),
    ("schema: 1", "schema 1", "2: a ': ' does not belong here; put the text in quotes, or look"),
    ("title: {en: Temp", "title: {english: Temp", "2: 'title': expected a language code such as"),
    ("title: {en: Temp", "title: [en: Temp", "2: a '[' is not closed"),
    ("title: {en: Temperature control", "title: {en: 25", "2: 'title': expected a text for the"),
    ("devices:", "Devices:", "7: unknown key 'Devices'; did you mean 'devices'?"),
    ("devices:", "device:", "7: unknown key 'device'; did you mean 'devices'?"),
    ("session:", "sessions:", "4: unknown key 'sessions'; did you mean 'session'?"),
    ("max_time: 10m", "max_time: 10 minutes", "5: 'session.max_time': expected a duration such"),
    ("max_time: 10m", "max_time: 10 m in all", "5: 'session.max_time': expected a duration such"),
    ("max_time: 10m", "max_time: 1:30", "5: 'session.max_time': expected a duration such as"),
    ("max_time: 10m", "max_time: -5", "5: 'session.max_time': expected a duration of at least 0"),
    ("max_time: 10m", "max_time: 1e999", "5: expected a finite number"),
    ("max_time: 10m", "max_time:", "5: 'session.max_time': expected a duration such as 5"),
    ("  max_time: 10m", "\tmax_time: 10m", "5: a tab character; YAML is indented with spaces"),
    ("  timeout: 30s", "   timeout: 30s", "6: a ': ' does not belong here"),
    ("  timeout: 30s", "  max_time: 30s", "6: the key 'max_time' is there twice, first at"),
    ("timeout: 30s\n", "timeout:30s\n", "6: a space is missing after 'timeout:'"),
    ("driver: relay", "driver: Relay", "9: there is no driver 'Relay' for device 'heater'; did"),
    ("driver: relay", "driver: rellay", "9: there is no driver 'rellay' for device 'heater'; did"),
    ("    driver: relay\n", "", "8: missing key 'driver' in device 'heater'"),
    ("driver: relay", "type: relay", "8: missing key 'driver' in device 'heater'"),
    ("    pin: GPIO17\n", "", "8: missing key 'pin' in device 'heater'"),
    ("pin: GPIO17", "pin: GPIO28", "10: 'pin' in device 'heater': expected a GPIO pin such as 17"),
    ("pin: GPIO17", "pin: GPIO", "10: 'pin' in device 'heater': expected a GPIO pin such as 17"),
    ("pin: GPIO17", "pin: BOARD2", "10: 'pin' in device 'heater': BOARD2 is 5V, not a GPIO pin"),
    ("pin: GPIO17", "pin: [17]", "10: 'pin' in device 'heater': expected a GPIO pin such as 17"),
    ("pin: GPIO17", "pin: 17.0", "10: 'pin' in device 'heater': expected a GPIO pin such as 17"),
    ("pin: GPIO17", "pin: on", "10: 'pin' in device 'heater': expected a GPIO pin such as 17"),
    ("pin: GPIO17", "pin: 18", "13: 'fan' uses pin GPIO18, which 'heater' (line 8) already uses"),
    ("pin: GPIO17", "pin: 0", "8: 'heater' uses pin GPIO0, which belongs to the memory of add-on"),
    ("pin: GPIO17", "pins: GPIO17", "10: unknown key 'pins' in device 'heater'; did you mean"),
    ("active_high: false", "active_high: low", "11: 'active_high' in device 'heater': expected"),
    ("active_high: false", "active_high: 0", "11: 'active_high' in device 'heater': expected true"),
    ("active_high: false", "active_high: 'false'", "11: 'active_high' in device 'heater': expec"),
    ("max_on_time: 2m", "max_on_time: 0", "8: device 'heater': max_on_time must be longer than 0"),
    ("max_on_time: 2m", "deadman: 1s", "8: device 'heater': deadman must be at least 2 s: pages"),
    ("max_on_time: 2m", "deadman: off", "12: 'deadman' in device 'heater': expected never or a du"),
    ("frequency: 100", "frequency: 20000", "16: 'frequency' in device 'fan': expected a number fr"),
    ("frequency: 100", "frequency: 100Hz", "16: 'frequency' in device 'fan': expected a number,"),
    ("safe: 1.0", "safe: 2", "13: device 'fan': safe is a number from 0 to 1, not 2"),
    ("safe: 1.0", "safe: on", "17: 'safe' in device 'fan': expected a number, not true (YAML"),
    ("safe: 1.0", "safe: 1,0", "17: 'safe' in device 'fan': expected a number, not the text '1,0'"),
    ("  heater:", "  on:", "8: 'on' cannot be the name of a device: it means something"),
    ("  heater:", "  5:", "8: YAML reads the key 5 as a number, expected a name (in quotes: '5')"),
    ("  heater:", "  the heater:", "8: 'the heater' cannot be the name of a device"),
    ("  heater:", "  not:", "8: 'not' cannot be the name of a device: it means something"),
    ("bounce_time: 50ms", "bounce_time: 50 ns", "21: 'bounce_time' in device 'lid': expected a du"),
    ("require: lid", "require: lit", "24: the expression 'lit' for the interlock 'lid', at"),
    ("require: lid", "require: lid =", "24: the expression 'lid =' for the interlock 'lid', at"),
    ("require: lid", "requires: lid", "23: an interlock has one of the keys 'when' (with 'force'"),
    ("for: [heater]", "for: heater", "25: 'for' in interlock: expected a list, not the text"),
    ("for: [heater]", "for: [lid]", "25: 'lid' is no output: a button cannot be set"),
    ("    for: [heater]\n", "", "23: missing key 'for' in interlock"),
    ("name: hot", "name: lid", "26: there are two interlocks called 'lid'"),
    ("fan: 1.0}", "fan: 3}", "26: fan: 'value' must be a number from 0 to 1, not 3"),
    ("latch: true", "latch: maybe", "26: 'latch' in interlock: expected true or false, not the"),
    ("on_start:", "on_begin:", "28: unknown key 'on_begin' in sequences"),
    ("- safe: all", "- safe: heater", "31: expected 'all' or a list of devices"),
    ("- safe: all", "- stop: all", "31: there is no step 'stop'"),
    ("set: {fan: 0.5}", "set: {fan: 50%}", "32: fan: 'value' must be a number, not"),
    ("expr: lid", "expr: lid(", "33: the expression 'lid(' for wait_for, at character"),
    ("lid: not heater", "lid: heater not", "35: the expression 'heater not' for 'lid', at"),
    ("lid: not heater", "heater: lid", "35: 'heater' cannot be simulated: a relay is no input"),
    ("lid: not heater", "lid: !heater", "35: YAML reads a value that begins with '!' as a tag"),
    ("- [heater, fan]", "- heater, fan", "38: a row of the page is a list, even"),
    ("- [heater, fan]", "- [heater, fun]", "38: there is no device 'fun'; did you mean 'fan'?"),
    ("- [heater, fan]", "- [heater fan]", "38: there is no device 'heater fan'"),
    ("- [heater, fan]", "- [heater, fan", "38: a '[' is not closed"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "sentence"), MISTAKES, ids=lambda text: text[:40])
def test_a_mistake_is_told_at_its_line(
    tmp_path: Path, right: str, wrong: str, sentence: str
) -> None:
    assert GOOD.count(right) >= 1
    problems = told(tmp_path, GOOD.replace(right, wrong, 1))
    assert problems[0].startswith(sentence), problems


@pytest.mark.parametrize("language", OTHERS)
def test_a_mistake_leaves_no_english_in_another_language(tmp_path: Path, language: str) -> None:
    path = tmp_path / "x.yaml"
    say = BUILT_IN.best([language]).say
    for right, wrong, _ in MISTAKES:
        text = GOOD.replace(right, wrong, 1)
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_board(path)
        for problem in caught.value.problems:
            words = say(problem.words)
            left = [each for each in sentences_left(str(problem), words) if each not in text]
            assert left == [], words


BOARDS = [
    path.read_text() for path in sorted((Path(__file__).parents[2] / "boards").glob("*.yaml"))
]
TEXTS = [GOOD, *BOARDS]
BITS = (
    "| |\t|:|: |- |-|#|'|\"|[|]|{|}|,|&a|*a|!x|!secret|!secret a|>|%|@|`|?|<<: *a|---|...|\0|é|\x85"
    "|null|~|on|5|-1|1e400|0x10|999999999999999999999|.nan|include: x.yaml"
)
NASTY = st.sampled_from(BITS.split("|"))


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good file, edited as by a tired person: lines and letters moved, lost and mistyped."""
    lines = draw(st.sampled_from(TEXTS)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        cut = draw(st.integers(0, len(line)))
        match draw(st.integers(0, 7)):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines.insert(at, line)
            case 2:
                lines[at] = line[:cut] + draw(NASTY) + line[cut:]
            case 3:
                lines[at] = line[:cut] + line[cut + 1 :]
            case 4:
                lines[at] = line[:cut] + draw(NASTY)
            case 5:
                lines[at] = " " * draw(st.integers(0, 6)) + line.lstrip()
            case 6:
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], line
            case _:
                lines[at] = line.replace(": ", draw(NASTY), 1)
    return "\n".join(lines) + "\n"


scalars: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
)
words = st.sampled_from(
    ["heater", "lid", "fan", "all", "GPIO4", "led", "5s", "not lid", "blank", ""]
)
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def transplanted(draw: st.DrawFn) -> str:
    """A good file in which some values, anywhere, are something else."""
    document = yaml.safe_load(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        place = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if not (isinstance(inner, dict | list) and inner) or draw(st.integers(0, 3)) == 0:
                place[key] = draw(values)
                break
            place = inner
    dumped: str = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    return dumped


def check(folder: Path, text: str) -> None:
    """Read the file: a board that has all that its owner asks for, or sentences at its lines."""
    path = folder / "x.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    problems: list[Problem] = []
    try:
        board = load_board(path)
    except ConfigError as error:
        problems += error.problems
    else:
        assert boot_config(board).startswith("# What x.yaml needs")
        return
    assert problems
    for problem in problems:
        assert problem.where.startswith(str(path)), problem
        assert str(problem.message).strip(), problem
        assert "\n" not in str(problem), problem
        line = problem.where.removeprefix(f"{path}:")
        assert not line.isdecimal() or 1 <= int(line) <= len(text.splitlines()) + 1, problem


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boards")
    for board in (Path(__file__).parents[2] / "boards").iterdir():
        if board.is_file():
            (folder / board.name).write_bytes(board.read_bytes())
    return folder


@settings(max_examples=300)
@given(text=damaged())
@example(text="")
@example(text="\n\n")
@example(text="schema: 1\ndevices: &a {a: *a}\n")
@example(text="schema: 1\ndevices: {a: {driver: [led], pin: {}}}\n")
@example(text="schema: 1\ninterlocks: {a: b}\nsequences: [a]\npage: 5\nsimulate: 5\ndrivers: x\n")
@example(text="schema: 1\ndevices:\n  a: {driver: led, pin: 4}\npage: {a: b}\ninclude: [[]]\n")
def test_a_damaged_file_is_a_board_or_told_in_words(folder: Path, text: str) -> None:
    check(folder, text)


@settings(max_examples=100)
@given(text=transplanted())
@example(text='schema: 1\ndevices: {a: {driver: led, pin: 4}}\npage: ["\\n"]\n')
def test_a_file_with_other_values_is_a_board_or_told_in_words(folder: Path, text: str) -> None:
    check(folder, text)


@settings(max_examples=100)
@given(text=st.text(max_size=200))
def test_any_text_is_told_in_words(folder: Path, text: str) -> None:
    check(folder, text)


def test_a_transplanted_file_still_is_yaml() -> None:
    """What `transplanted` makes has to reach the board, not only the parser."""
    assert parse_yaml(yaml.safe_dump(yaml.safe_load(GOOD)), "x.yaml").value["schema"] == 1
