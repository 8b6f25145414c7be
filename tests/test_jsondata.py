"""Dictionaries of JSON data: what they take, what they tell, and what they refuse."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import BadInput
from labnode.jsondata import JsonDict, Sealed, TooDeep, parse, plain


class Watched:
    """A JsonDict, and what it held each time it told of a change."""

    def __init__(self, **data: Any) -> None:
        self.seen: list[dict[str, Any]] = []
        self.data = JsonDict("user.data", data, lambda: self.seen.append(dict(self.data)))


def test_plain_data_is_a_copy_of_json_types() -> None:
    rows = [1, 2.5, None, True, "ñ\ud800"]
    made = plain({"rows": rows, "pair": (1, 2), 3: "three"}, "It")
    assert made == {"rows": rows, "pair": [1, 2], "3": "three"}
    rows.clear()
    assert made["rows"] != []


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def _loop() -> Any:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"", float("nan"), float("inf"), {(1, 2): 3}, 10**5000, _loop(), 1j],
    ids=["object", "set", "bytes", "nan", "inf", "tuple key", "huge int", "loop", "complex"],
)
def test_what_json_cannot_say_is_refused_in_one_sentence(value: Any) -> None:
    with pytest.raises(BadInput, match=r"^The result of 'x' must be JSON data: ") as caught:
        plain(value, "The result of 'x'")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [101, 500, 900, 200_000])
def test_data_that_is_nested_too_deeply_is_refused(depth: int) -> None:
    assert plain(_nested(100), "It") == _nested(100)
    assert plain([[], {}, {"a": []}], "It") == [[], {}, {"a": []}]
    with pytest.raises(BadInput, match="must be JSON data"):
        plain(_nested(depth), "It")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 64 + "1" + "]" * 64,
        "[" + ", ".join(['{"a": []}'] * 500) + "]",
        '["' + "[" * 500 + '", "\\"' + "{" * 500 + '"]',
    ],
    ids=["64 levels", "many lists that are not deep", "brackets in strings"],
)
def test_a_text_that_is_not_deep_is_read(text: str) -> None:
    assert parse(text) == parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", ["[" * 65, '{"a":' * 65 + "1" + "}" * 65, '["]", ' * 65])
def test_a_text_that_is_too_deep_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(TooDeep, match=r"^nested more than 64 levels deep$"):
        parse(text)


def test_how_deep_a_text_is_takes_linear_time_to_count() -> None:
    text = "[]" * 100 + '"' + r"\"" * 500_000  # minutes if each quote were tried as a beginning
    with pytest.raises(ValueError, match="Extra data"):
        parse(text)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], dict[str, Any]]] = {
    "assignment": (lambda d: d.__setitem__("b", 2), {"a": 1, "b": 2}),
    "deletion": (lambda d: d.__delitem__("a"), {}),
    "update": (lambda d: d.update({"a": 2}, b=3), {"a": 2, "b": 3}),
    "update by pairs": (lambda d: d.update([("b", 3)]), {"a": 1, "b": 3}),
    "or": (lambda d: d.__ior__({"b": (1,)}), {"a": 1, "b": [1]}),
    "setdefault": (lambda d: d.setdefault("b", []), {"a": 1, "b": []}),
    "pop": (lambda d: d.pop("a"), {}),
    "popitem": (lambda d: d.popitem(), {}),
    "clear": (lambda d: d.clear(), {}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_told_once_when_it_has_been_made(name: str) -> None:
    change, expected = CHANGES[name]
    watched = Watched(a=1)
    change(watched.data)
    assert watched.seen == [expected]
    assert watched.data == expected


def test_a_default_that_is_not_needed_is_no_change() -> None:
    watched = Watched(a=1)
    assert watched.data.setdefault("a", 2) == 1
    assert watched.seen == []


def test_what_is_missing_is_missing_as_in_any_dictionary() -> None:
    watched = Watched()
    for call in (lambda d: d.pop("a"), lambda d: d.popitem(), lambda d: d.__delitem__("a")):
        with pytest.raises(KeyError):
            call(watched.data)
    assert watched.data.pop("a", 5) == 5


def test_what_is_put_in_is_copied() -> None:
    watched, rows = Watched(), [1]
    watched.data["rows"] = rows
    rows.append(2)
    assert watched.data == {"rows": [1]}


@pytest.mark.parametrize("name", ["assignment", "update", "or", "setdefault", "replace"])
@pytest.mark.parametrize("new", [{"x": {1}}, {1: "x"}], ids=["value", "key"])
def test_what_is_refused_changes_nothing(name: str, new: dict[Any, Any]) -> None:
    watched = Watched(a=1)
    ((key, value),) = new.items()
    change: dict[str, Callable[[], Any]] = {
        "assignment": lambda: watched.data.__setitem__(key, value),
        "update": lambda: watched.data.update(new),
        "or": lambda: watched.data.__ior__(new),
        "setdefault": lambda: watched.data.setdefault(key, value),
        "replace": lambda: watched.data.replace(new),
    }
    with pytest.raises(BadInput, match=r"^user\.data"):
        change[name]()
    assert (watched.data, watched.seen) == ({"a": 1}, [])


def test_replaced_data_is_told_of_once_and_is_never_seen_empty() -> None:
    watched = Watched(a=1, b=2)
    watched.data.replace({"b": 3, "c": 4})
    assert watched.seen == [{"b": 3, "c": 4}]


@pytest.mark.parametrize("value", [None, [1], "text", 5], ids=lambda v: type(v).__name__)
def test_only_a_dictionary_takes_the_place_of_one(value: Any) -> None:
    watched = Watched(a=1)
    with pytest.raises(BadInput, match=r"^user\.data must be a dictionary, not "):
        watched.data.replace(value)
    assert (watched.data, watched.seen) == ({"a": 1}, [])


SEALED = Sealed({"a": 1, "rows": [1]}, "Look, don't touch.")


@pytest.mark.parametrize("name", CHANGES)
def test_sealed_data_refuses_each_change_and_says_why(name: str) -> None:
    with pytest.raises(TypeError, match=r"^Look, don't touch\.$"):
        CHANGES[name][0](SEALED)
    assert SEALED == {"a": 1, "rows": [1]}


@pytest.mark.parametrize(
    "clone",
    [copy.copy, copy.deepcopy, dict.copy, dict, lambda d: pickle.loads(pickle.dumps(d))],
    ids=["copy", "deepcopy", "method", "dict", "pickle"],
)
@pytest.mark.parametrize("kind", ["sealed", "live"])
def test_a_copy_is_an_ordinary_dictionary(kind: str, clone: Any) -> None:
    watched = Watched(a=1, rows=[1])
    original = SEALED if kind == "sealed" else watched.data
    made = clone(original)
    made["b"] = 2
    assert type(made) is dict
    assert made == {"a": 1, "rows": [1], "b": 2}
    assert (original, watched.seen) == ({"a": 1, "rows": [1]}, [])
