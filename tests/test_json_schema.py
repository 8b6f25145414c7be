"""JSON Schema out of dataclasses: each kind of option."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import fastjsonschema
import pytest

from labnode.schema import (
    Between,
    Doc,
    Duration,
    Like,
    Section,
    Size,
    Text,
    build,
    codec_of,
    default_of,
    json_schema,
    options,
    parse_yaml,
)

WORDS = Text("x")


class Colour(Enum):
    RED = "red"


@dataclass
class Inner:
    name: Annotated[str, Doc("What it is called.")]
    size: Size = 1024


def passes(kind: Any, value: Any) -> bool:
    try:
        fastjsonschema.validate(json_schema(kind), value)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (bool, [True, False, "on", "No"], [1, "maybe", None]),
        (int, [0, -5], [1.5, "1", True]),
        (float, [0, 1.5], ["1", None]),
        (str, ["", "x"], [1, None]),
        (Path, ["a/b"], ["", 1]),
        (None | int, [None, 5], ["x"]),
        (Literal["a", 1], ["a", 1], ["b", 2]),
        (Colour, ["red"], ["blue"]),
        (list[int], [[], [1], None], [["x"], 1]),
        (tuple[int, str], [[1, "x"]], [[1], [1, 2], ["x", 1], [1, "x", 2]]),
        (tuple[int, ...], [[], [1, 2]], [["x"]]),
        (dict[str, int], [{}, {"a": 1}, None], [{"a": "x"}, []]),
        (Any, [1, "x", None, [], {}], []),
        (Section, [1, "x", None, [], {}], []),
        (Annotated[Section, Like(list[int])], [[1]], ["x"]),
        (Annotated[float, Between(0, 1)], [0, 1, 0.5], [-1, 1.1]),
        (Annotated[float, Between(1)], [1, 100], [0.9]),
        (Duration, [0, 1.5, "5s", "500ms", "1.5 h", "2M"], [-1, "5", "5 weeks", "s", None]),
        (Annotated[Duration, Between(1)], [1, "5s"], [0.5]),
        (Size, [0, 10, "128KiB", "2 MB", "5b"], [-1, "128", "1TB"]),
        (Text, ["x", {"en": "x", "pt-BR": "y"}], [5, {}, {"english": "x"}, {"en": 5}]),
        (Inner, [{"name": "x"}, {"name": "x", "size": "1KiB"}], [{}, {"size": 1}, {"name": 1}]),
        (int | Duration, [5, "5s"], ["x"]),
    ],
)
def test_each_kind_of_option_has_its_schema(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not passes(kind, value)] == []
    assert [value for value in bad if passes(kind, value)] == []


@pytest.mark.parametrize("text", ["5", "0.5", "500ms", "5 s", "2m", "1h", "1d", "1.5h", "7S"])
def test_what_a_duration_may_be_passes(text: str) -> None:
    section = parse_yaml(text, "x.yaml")
    assert build(Duration, section) >= 0
    assert passes(Duration, section.value)


def test_an_option_has_its_sentence_and_its_default() -> None:
    properties = json_schema(Inner)["properties"]
    assert properties["name"] == {"description": "What it is called.", "type": "string"}
    assert properties["size"]["default"] == 1024


def test_defaults_are_as_one_would_write_them() -> None:
    @dataclass
    class Own:
        needed: int
        seconds: Duration = 3600.0
        share: float = 0.5
        text: Text | None = WORDS
        empty: str = ""
        none: int | None = None
        rates: list[int] = field(default_factory=lambda: [9600])
        nothing: list[int] = field(default_factory=list)
        on: bool = False

    found = {option.key: default_of(option) for option in options(Own)}
    assert found == {
        "needed": None,
        "seconds": 3600,
        "share": 0.5,
        "text": "x",
        "empty": None,
        "none": None,
        "rates": [9600],
        "nothing": None,
        "on": False,
    }
    assert isinstance(found["seconds"], int)


def test_a_type_that_no_option_can_have_is_a_bug() -> None:
    with pytest.raises(TypeError, match="no option can have the type"):
        json_schema(object)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Duration, 0.0, "0"),
        (Duration, 0.05, "50ms"),
        (Duration, 1.5, "1.5s"),
        (Duration, 90.0, "90s"),
        (Duration, 120.0, "2m"),
        (Duration, 21600.0, "6h"),
        (Size, 0, "0"),
        (Size, 1000, "1000"),
        (Size, 131072, "128KiB"),
        (Size, 1 << 30, "1GiB"),
        (Literal[-1] | Duration, -1, -1),
        (Literal[-1] | Duration, 15.0, "15s"),
        (Annotated[Duration | None, Between(1)], 10.0, "10s"),
        (bool | int, False, False),
        (Colour, Colour.RED, "red"),
    ],
)
def test_a_value_is_shown_as_one_would_write_it(kind: Any, value: Any, text: Any) -> None:
    assert codec_of(kind).write(value) == text
    assert build(kind, parse_yaml(str(text), "x.yaml")) == value
