"""YAML to dataclasses: what is accepted, and what a person reads about everything else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labnode.errors import ConfigError
from labnode.schema import (
    Between,
    Doc,
    Duration,
    Problems,
    Section,
    Size,
    Text,
    build,
    did_you_mean,
    load_yaml,
    options,
    parse_yaml,
)


class Edge(Enum):
    RISING = "rising"
    OFF = "off"


@dataclass(frozen=True)
class Pin:
    number: int

    @classmethod
    def from_yaml(cls, value: object) -> Pin:
        if type(value) is int and 0 <= value <= 27:
            return cls(value)
        raise ValueError("expected a pin from 0 to 27")


@dataclass(kw_only=True)
class Device:
    label: Text | None = None
    access: Literal["user", "system", "none"] = "user"


@dataclass(kw_only=True)
class Relay(Device):
    pin: Pin
    safe: bool = False
    max_on_time: Duration | None = None


@dataclass(kw_only=True)
class Servo(Device):
    low: float
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError("low has to be below high")


@dataclass(kw_only=True)
class Limits:
    users: Annotated[int, Between(1, 30)] = 1
    max_time: Duration = 3600
    timeout: Literal[-1] | Duration = 15


@dataclass(kw_only=True)
class Board:
    schema: Literal[1]
    title: Text
    session: Limits = field(default_factory=Limits)
    devices: dict[str, Section] = field(default_factory=dict)
    page: list[list[str]] | None = None
    module: Path | None = None


DRIVERS: dict[str, type[Device]] = {"relay": Relay, "servo": Servo}
GOOD = """\
schema: 1
title: {en: Demo board, es: Placa}
session:
  users: 2
  max_time: 30m
  timeout: -1
devices:
  heater: &relay {driver: relay, pin: 17, safe: off, max_on_time: 120}
  spare:
    <<: *relay
    pin: 18
    label: "on"
  arm:
    driver: servo
    low: -1
    high: 1e0
page:
- [heater, arm]
- - spare
module: demo.py
"""


def load_board(text: str) -> tuple[Board, dict[str, Device]]:
    """How a board is loaded: one file, several dataclasses, one list of problems."""
    devices = {}
    with Problems() as problems:
        document = parse_yaml(text, "b.yaml", problems)
        board = build(Board, document, problems)
        for name, section in document.child("devices").items():
            driver = section.child("driver")
            if driver.value not in DRIVERS:
                hint = did_you_mean(str(driver.value), DRIVERS)
                problems.add(driver, f"unknown driver {driver.value!r}{hint}")
                continue
            cls = DRIVERS[driver.value]
            devices[name] = build(
                cls, section, problems, name=f"device {name!r}", ignore={"driver"}
            )
    assert board is not None
    return board, {name: device for name, device in devices.items() if device is not None}


def told(call: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        call()
    return [str(problem) for problem in caught.value.problems]


def told_about(text: str, cls: Any = Any) -> list[str]:
    return told(lambda: build(cls, parse_yaml(text, "x.yaml")))


def read(text: str, cls: Any = Any) -> Any:
    return build(cls, parse_yaml(text, "x.yaml"))


# --- a whole board ---


def test_a_good_board_becomes_its_dataclasses():
    board, devices = load_board(GOOD)
    assert board.session == Limits(users=2, max_time=1800.0, timeout=-1)
    assert board.title.pick("es") == "Placa"
    assert board.page == [["heater", "arm"], ["spare"]]
    assert board.module == Path("demo.py")
    assert devices == {
        "heater": Relay(pin=Pin(17), max_on_time=120.0),
        "spare": Relay(pin=Pin(18), max_on_time=120.0, label=Text("on")),
        "arm": Servo(low=-1.0, high=1.0),
    }


def test_all_problems_of_several_dataclasses_come_at_once_in_the_order_of_the_lines():
    text = """\
schema: 2
session: {max_tim: 5, users: 31}
devices:
  heater:
    driver: relay
    pim: 17
    safe: maybe
  heater: {driver: relay, pin: 3}
  fan: {driver: realy}
  no: {driver: relay}
  arm:
    driver: servo

    low: 2
page: [heater]
"""
    assert told(lambda: load_board(text)) == [
        "b.yaml:1: 'schema': expected 1, not the number 2",
        "b.yaml:1: missing key 'title'",
        "b.yaml:2: unknown key 'max_tim' in 'session'; did you mean 'max_time'?",
        "b.yaml:2: 'session.users': expected a number from 1 to 30, not 31",
        "b.yaml:6: unknown key 'pim' in device 'heater'; did you mean 'pin'?",
        "b.yaml:7: 'safe' in device 'heater': expected true or false, not the text 'maybe'",
        "b.yaml:8: the key 'heater' is there twice, first at b.yaml:4",
        "b.yaml:9: unknown driver 'realy'; did you mean 'relay'?",
        "b.yaml:10: YAML reads the key no as a boolean, expected a name (in quotes: 'no')",
        "b.yaml:11: device 'arm': low has to be below high",
        "b.yaml:15: 'page[0]': expected a list, not the text 'heater'",
    ]


def test_an_error_that_ends_the_loading_comes_with_what_was_found_before():
    def load() -> None:
        with Problems() as problems:
            problems.add("environment X", "wrong")
            parse_yaml("a: [", "b.yaml", problems)

    assert [line.split(":")[0] for line in told(load)] == ["b.yaml", "environment X"]


def test_other_exceptions_leave_the_block_as_they_are():
    def fail() -> None:
        with Problems() as problems:
            problems.add("x", "wrong")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_the_same_problem_is_told_once():
    text = "a: &a {safe: 1, pin: 1}\nb: *a\n"
    assert told_about(text, dict[str, Relay]) == [
        "x.yaml:1: 'a.safe': expected true or false, not the number 1",
        "x.yaml:1: 'b.safe': expected true or false, not the number 1",
    ]
    problems = Problems()
    problems.add("x:1", "wrong")
    problems.add("x:1", "wrong")
    assert len(problems.error().problems) == 1


# --- reading YAML ---


def test_a_section_knows_its_value_its_lines_and_its_children():
    document = parse_yaml("# hello\na:\n  b:\n    - 1\n    -\n      c: x\n", "x.yaml")
    assert document.value == {"a": {"b": [1, {"c": "x"}]}}
    entries = document["a"]["b"]
    assert (document.where, entries.where, entries[0].where) == ("x.yaml:2", "x.yaml:3", "x.yaml:4")
    assert (entries[1]["c"].where, entries[1]["c"].key_where) == ("x.yaml:6", "x.yaml:6")
    assert [entry.value for entry in entries.entries()] == [1, {"c": "x"}]
    assert entries.items() == document["a"].entries() == []


def test_a_child_that_is_not_there_is_empty_and_has_the_place_of_its_parent():
    document = parse_yaml("a:\n  b: 1\n", "x.yaml")
    missing = document["a"].child("c").child("d")
    assert (missing.value, missing.items(), missing.where) == (None, [], "x.yaml:1")
    with pytest.raises(KeyError):
        document["c"]
    with pytest.raises(IndexError):
        document[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0x1F", -31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("on", True),
        ("No", False),
        ("~", None),
        ("", None),
        ("12:30:00", "12:30:00"),  # YAML 1.1: 45000
        ("2024-01-31", "2024-01-31"),  # YAML 1.1: a date
        ("0316", "0316"),  # YAML 1.1: 206
        ("1_000", "1_000"),
        ("oN", "oN"),
        ("28-0316a4a1f2ff", "28-0316a4a1f2ff"),
        ("°C", "°C"),
        ("'5'", "5"),
        ('"on"', "on"),
        ("!!str 5", "5"),
    ],
)
def test_scalars_are_what_a_person_expects(text: str, value: object):
    assert read(text) == value
    assert type(read(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a:\n\tb: 1", 2, "a tab character; YAML is indented with spaces"),
        ("a: Too hot: cool", 1, "has a ': ' in it; put it in quotes"),
        ("port 80\nhost: x", 2, "look for a ':' missing on the line above"),
        ("a: 1\nb", 2, "a ':' is missing after the key"),
        ("a:\n  b: 1\n c: 2", 3, "indented differently"),
        ("a: 1\n- b", 2, "indented differently"),
        ("a: 'x\nb: 1\n", 1, "a quote is not closed"),
        ("x: 1\na: {b: 1\nc: 2", 2, "a '{' is not closed"),
        ("a: [1\nc: 3", 1, "a '[' is not closed"),
        ("a: {b: 1}}", 1, "belongs to nothing"),
        ("a: 'b' c", 1, "put the whole value in quotes"),
        ('a: "C:\\dev"', 1, "use single quotes"),
        ("a: %x", 1, "a value that begins with % has to be in quotes"),
        ("a: & b", 1, "has to be in quotes"),
        ("a: !latch && x", 1, "has to be in quotes"),
        ("a: > 5", 1, "put it in quotes"),
        ("a: - b", 1, "a '- ' does not belong here"),
        ("a: ? b", 1, "a value that begins with '?' has to be in quotes"),
        ("a: [1, - 2]", 1, "has to be in quotes"),
        ("%YAML 9.9\n--- a", 1, "this is not valid YAML (found incompatible YAML document"),
        ("a: 1\n...\nb: 2", 3, "the document has ended before this line"),
        ("a: 1\n---\nb: 2", 2, "only one per file"),
        ("a:\n  - !latch", 2, "as a tag; put it in quotes"),
        ("a: !!python/object:os.system {}", 1, "as a tag"),
        ("a: *b", 1, "does not find what it repeats; put it in quotes"),
        ("a: &a [*a]", 1, "is inside what it repeats"),
        ("a:\n  <<: 5", 2, "only a mapping can be merged"),
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is there twice, first at x.yaml:1"),
        ("no: Hei", 1, "YAML reads the key no as a boolean, expected a name (in quotes: 'no')"),
        ("17: x", 1, "YAML reads the key 17 as a number"),
        (": x", 1, "a key is missing before the ':'"),
        ("a: {{ b }}", 1, "a key must be a plain text, not a mapping"),
        ("a: .nan", 1, "expected a finite number"),
        ("a: 1e999", 1, "expected a finite number"),
        ("a: " + "9" * 5000, 1, "expected a shorter number"),
        ("a: 1\nb: \x00", 2, "the character U+0000 does not belong in a YAML file"),
        ("a: 1\nb: \x07", 2, "the character U+0007"),
        ('a: "\\0"', 1, "cannot contain the character NUL"),
        ('a: "\\ud83d"', 1, "half a character"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_with_its_line(text: str, line: int, words: str):
    (sentence,) = told_about(text)
    assert sentence.startswith(f"x.yaml:{line}: ")
    assert words in sentence


def test_an_escape_beyond_all_characters_is_a_sentence():
    assert told_about('a: "\\UFFFFFFFF"') == [
        "x.yaml: an escape or a number in the file is too large for what it stands for"
    ]


def test_nesting_has_a_limit():
    assert told_about("[" * 500) == ["x.yaml:1: nested more than 40 levels deep"]
    assert told_about("- " * 5000 + "x") == ["x.yaml:1: nested more than 40 levels deep"]
    # Aliases nest as well: 30 levels in 30 levels.
    deep = "a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 30 + "*a" + "]" * 30
    assert told_about(deep) == ["x.yaml:2: nested more than 40 levels deep"]


def test_aliases_cannot_explode():
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 30)]
    (sentence,) = told_about("\n".join(["l0: &l0 lol", *levels]))
    assert "more than 20000 values in one file, aliases included" in sentence


def test_merged_keys_give_way_to_those_that_are_written_out():
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\n"
    assert read(text)["c"] == {"x": 3, "y": 1, "z": 2}


def test_a_quoted_merge_key_is_a_key_like_any_other():
    assert read('"<<": 5') == {"<<": 5}


def test_what_was_told_while_reading_is_not_told_again_while_building():
    def load() -> None:
        with Problems() as problems:
            build(Relay, parse_yaml("pin: !x\nsafe: 5", "x.yaml", problems), problems)

    sentences = told(load)
    assert [sentence[:9] for sentence in sentences] == ["x.yaml:1:", "x.yaml:2:"]


# --- files ---


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path):
    file = tmp_path / "b.yaml"
    file.write_bytes(b"\xef\xbb\xbftitle: \xc2\xb0C\r\nb: 2\r\n")
    assert load_yaml(file).value == {"title": "°C", "b": 2}


@pytest.mark.parametrize(
    ("data", "where", "words"),
    [
        (b"a: 1\nb: caf\xe9\n", ":2", "is not UTF-8 text (byte 0xe9); save it as UTF-8"),
        ("a: 1".encode("utf-16"), ":1", "is not UTF-8 text"),
        (b"# " + b"x" * (1 << 20), "", "larger than 1 MiB"),
    ],
)
def test_bytes_that_are_no_board_file_are_one_sentence(
    data: bytes, where: str, words: str, tmp_path: Path
):
    file = tmp_path / "b.yaml"
    file.write_bytes(data)
    (sentence,) = told(lambda: load_yaml(file))
    assert sentence.startswith(f"{file}{where}: ")
    assert words in sentence


def test_a_file_that_cannot_be_opened_is_one_sentence(tmp_path: Path):
    assert told(lambda: load_yaml(tmp_path / "no.yaml")) == [
        f"{tmp_path}/no.yaml: there is no such file"
    ]
    assert told(lambda: load_yaml(tmp_path)) == [
        f"{tmp_path}: this is a directory, expected a YAML file"
    ]
    file = tmp_path / "b.yaml"
    file.write_text("a: 1")
    assert "cannot be read: Not a directory" in told(lambda: load_yaml(file / "x"))[0]
    assert "cannot be read: embedded null byte" in told(lambda: load_yaml(Path("a\0b")))[0]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "---\n...\n"])
def test_an_empty_file_says_what_was_expected(text: str):
    (sentence,) = told_about(text, Board)
    assert sentence.startswith("x.yaml")
    assert sentence.endswith("expected a mapping with the keys schema, title, but there is nothing")


def test_a_file_that_is_no_mapping_says_what_was_expected():
    assert told_about("- a", Board) == [
        "x.yaml:1: expected a mapping with the keys schema, title, not a list"
    ]


# --- building ---


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (float, "5", 5.0),
        (bool, "off", False),
        (int | None, "null", None),
        (bool | Text, "false", False),
        (bool | Text, "Sure?", Text("Sure?")),
        (float | str, "5", 5.0),
        (str | list[str], "[a]", ["a"]),
        (list[int], "", []),
        (dict[str, int], "", {}),
        (tuple[int, str], "[1, a]", (1, "a")),
        (tuple[int, ...], "[1, 2, 3]", (1, 2, 3)),
        (Literal["on", "auto"], "on", "on"),
        (Literal[1, True], "true", True),
        (Edge, "rising", Edge.RISING),
        (Edge, "off", Edge.OFF),
        (list[Pin], "[4, 5]", [Pin(4), Pin(5)]),
        (Annotated[Duration, Between(1, 10)], "500s", None),
        (Annotated[str, str.upper], "abc", "ABC"),
        (dict[str, Any], "{a: [1, {b: c}]}", {"a": [1, {"b": "c"}]}),
    ],
)
def test_types_take_what_fits_them(kind: Any, text: str, value: object):
    if value is None and kind != (int | None):
        assert told_about(text, kind) == ["x.yaml:1: expected a number from 1 to 10, not 500.0"]
        return
    assert read(text, kind) == value
    assert type(read(text, kind)) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        (int, "true", "expected a whole number, not true"),
        (int, "5.0", "expected a whole number, not the number 5.0"),
        (int, "'5'", "expected a whole number, not the text '5'"),
        (int, "", "expected a whole number, but there is nothing"),
        (float, "on", "expected a number, not true (YAML reads on as true; quotes make it a text)"),
        (bool, "1", "expected true or false, not the number 1"),
        (str, "5", "expected a text, not the number 5 (quotes make it a text)"),
        (str, "no", "expected a text, not false (YAML reads no as false; quotes make it a text)"),
        (str, "false", "expected a text, not false"),
        (str, "[a]", "expected a text, not a list"),
        (str, "", "expected a text, but there is nothing"),
        (Path, "''", "expected a path, not an empty text"),
        (Path, "~nobody-here/x", "there is no such user as after the '~'"),
        (list[int], "5", "expected a list, not the number 5"),
        (list[int], "{a: 1}", "expected a list, not a mapping"),
        (dict[str, int], "[1]", "expected a mapping, not a list"),
        (tuple[int, str], "[1]", "expected a list of 2, not of 1"),
        (tuple[int, str], "1", "expected a list, not the number 1"),
        (
            Literal["user", "none"],
            "usr",
            "expected user or none, not the text 'usr'; did you mean 'user'?",
        ),
        (Literal[1, 2, 3], "true", "expected 1, 2 or 3, not true"),
        (Edge, "falling", "expected rising or off, not the text 'falling'"),
        (Edge | int, "[1]", "expected rising or off or a whole number, not a list"),
        (int | str | None, "[1]", "expected a whole number or a text or nothing, not a list"),
        (str | Relay, "5", "expected a text or a mapping, not the number 5"),
        (str | Relay, "{pin: 99}", "'pin': expected a pin from 0 to 27"),
        (str | list[int], "[a]", "'[0]': expected a whole number, not the text 'a'"),
        (Pin | None, "on", "expected a pin from 0 to 27 (YAML reads on as true; quotes make it a"),
        (str, "a" * 80, None),
    ],
)
def test_what_does_not_fit_says_what_was_expected(kind: Any, text: str, sentence: str | None):
    if sentence is None:
        assert read(text, kind) == text
        return
    (told_sentence,) = told_about(text, kind)
    assert told_sentence.startswith(f"x.yaml:1: {sentence}")


def test_long_texts_are_cut_short_in_sentences():
    (sentence,) = told_about("a" * 1000, int)
    assert len(sentence) < 150


def test_numbers_that_no_float_can_hold_do_not_fit():
    assert "expected a number" in told(lambda: build(float, Section.of(10**400, "x")))[0]
    assert "expected a number" in told(lambda: build(float, Section.of(float("inf"), "x")))[0]


def test_an_unknown_key_without_a_close_match_lists_the_keys():
    assert told_about("{low: 0, zzz: 1}", Servo) == [
        "x.yaml:1: unknown key 'zzz'; the keys are label, access, low, high"
    ]


def test_the_line_is_that_of_the_key_or_value_that_is_wrong():
    text = "\nlabel:\n  en: x\n  fr: 5\nlow:\n  nope\nhigh:\n  - 1\nother: 1\n"
    assert [sentence.split(": ")[0] for sentence in told_about(text, Servo)] == [
        "x.yaml:2",  # the mapping begins at its key
        "x.yaml:6",  # a scalar stands where it stands
        "x.yaml:7",
        "x.yaml:9",
    ]


def test_fields_of_the_author_alone_are_no_options():
    @dataclass
    class Own:
        counted: ClassVar[int] = 0
        pin: int
        scale: InitVar[int] = 1
        _state: int = 5
        opened: bool = field(default=False, init=False)

    assert [option.key for option in options(Own)] == ["pin"]
    assert read("pin: 4", Own) == Own(4)
    assert "unknown key '_state'" in told_about("{pin: 4, _state: 1}", Own)[0]


def test_an_option_tells_its_key_its_doc_and_whether_it_is_required():
    @dataclass
    class Own:
        from_: Annotated[str, Doc("Where it comes from.")] = field(metadata={"key": "from"})
        password: str = field(default="", repr=False)

    first, second = options(Own)
    assert (first.key, first.name, first.required) == ("from", "from_", True)
    assert first.doc == "Where it comes from."
    assert (second.required, second.secret) == (False, True)
    assert read("from: here", Own) == Own("here")


def test_the_doc_of_an_option_is_no_part_of_its_type_and_a_subclass_need_not_repeat_it():
    @dataclass(kw_only=True)
    class Base:
        share: Annotated[float, Between(0, 1), Doc("How much of it.")] = 0.5
        more: Annotated[int | None, Doc("What else.")] = None

    @dataclass(kw_only=True)
    class Own(Base):
        share: Annotated[float, Between(0, 2)] = 1.5
        more: Annotated[int | None, Doc("What else there is.")] = None

    share, more = options(Own)
    assert (share.type, share.doc) == (Annotated[float, Between(0, 2)], "How much of it.")
    assert (more.type, more.doc) == (int | None, "What else there is.")


def test_a_value_that_is_secret_never_stands_in_a_problem():
    @dataclass
    class Own:
        password: str | list[str] = field(repr=False)

    for text in ("password: 31415", "password: [31415]", "password: {x: 31415}"):
        assert "31415" not in "".join(told_about(text, Own))


def test_a_heading_with_nothing_under_it_has_the_defaults():
    assert read("schema: 1\ntitle: x\nsession:\ndevices:\n", Board) == Board(
        schema=1, title=Text("x")
    )


def test_a_type_that_no_option_can_have_is_a_bug_not_a_problem():
    with pytest.raises(TypeError, match="no option can have the type"):
        read("5", complex)


# --- durations, sizes, texts ---


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("0.5", 0.5), ("500ms", 0.5), ("5s", 5), ("2m", 120), ("1h", 3600), ("1.5 h", 5400)],
)
def test_durations_are_seconds(text: str, seconds: float):
    assert read(text, Duration) == seconds
    assert type(read(text, Duration)) is float


@pytest.mark.parametrize(
    "text", ["-1", "5 parsecs", "s", "true", "'5'", "[5]", "1e300", "4000d", "9" * 90, "٥s", "-5s"]
)
def test_what_is_no_duration_is_told(text: str):
    assert "expected a duration" in told_about(text, Duration)[0]


@pytest.mark.parametrize(
    ("text", "size"), [("1024", 1024), ("128KiB", 131072), ("2MB", 2000000), ("1.5kB", 1500)]
)
def test_sizes_are_bytes(text: str, size: int):
    assert read(text, Size) == size
    assert type(read(text, Size)) is int


@pytest.mark.parametrize("text", ["-1", "1.5", "1.5B", "2 elephants", "true", "", "'5'"])
def test_what_is_no_size_is_told(text: str):
    assert "expected a size such as 1024, 128KiB or 2MB" in told_about(text, Size)[0]


def test_a_text_is_picked_by_locale_then_english_then_any():
    text = read("{es: Calefactor, en: Heater, pt-BR: Aquecedor}", Text)
    assert text.pick("es_ES.UTF-8", "en") == "Calefactor"
    assert text.pick("fr", "pt_br") == "Aquecedor"
    assert text.pick("fr", None) == str(text) == "Heater"
    assert read("{fr: Chauffage}", Text).pick("de") == "Chauffage"
    assert read("Heater", Text).pick("es") == "Heater"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5", "expected a text, or one per language such as {en: Heater, es: Calefactor}, not"),
        ("{}", "expected a text, or one per language"),
        ("{english!: x}", "expected a language code such as en or pt-BR, not 'english!'"),
        ("{en: 5}", "expected a text for the language en, not the number 5"),
    ],
)
def test_what_is_no_text_is_told(text: str, sentence: str):
    assert told_about(text, Text)[0].startswith(f"x.yaml:1: {sentence}")


def test_a_close_word_is_suggested_whatever_its_case():
    assert str(did_you_mean("PIM", ["pin", "port"])) == "; did you mean 'pin'?"
    assert did_you_mean("zzz", ["pin"]) == did_you_mean("x", []) == ""


# --- anything at all ---

PIECES = [": ", "- ", "\n", "\t", "{", "}", "[", "]", '"', "'", "&a ", "*a", "*relay", "<<: ", "!"]
PIECES += ["on", "no", "~", "|", ">", "%", "? ", "#", "\0", "\x85", "﻿", "\ud800", "99", ".inf"]
PIECES += ["---\n", "...\n", "\\", '"\\U99999999"', "!!set ", "session:", "  ", "null", "1e9", ","]


@settings(max_examples=200)
@given(seed=st.integers(), pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=3)))
def test_whatever_is_done_to_a_board_it_loads_or_has_problems(seed: int, pieces: list[str]):
    chance = random.Random(seed)
    text = GOOD
    for piece in pieces:
        start = chance.randrange(len(text) + 1)
        text = text[:start] + piece + text[start + chance.choice([0, 0, 1, 5, 40]) :]
    try:
        load_board(text)
        problems = []
    except ConfigError as error:
        problems = error.problems
    assert all(
        problem.where.startswith("b.yaml:") or "escape" in str(problem.message)
        for problem in problems
    )
