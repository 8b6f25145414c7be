"""Bodies: JSON or a form by their bytes, and nothing in them that breaks what comes after."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labnode.errors import BadInput
from labnode.weblab.bodies import get_flag, get_number, get_object, get_text, read_body


def refused(body: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read_body(body)
    return str(caught.value)


def test_a_json_object_and_a_form_are_told_apart_by_their_bytes() -> None:
    assert read_body(b' {"action": "delete"}\n') == {"action": "delete"}
    assert read_body(b"action=delete&back=http%3A%2F%2Fx%2F%C3%A9&empty=") == {
        "action": "delete",
        "back": "http://x/é",
        "empty": "",
    }


def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    assert read_body(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_an_empty_body_has_no_fields() -> None:
    assert read_body(b"") == {}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xff{}", "The body is not UTF-8 (byte 0)."),
        (b"a=%ff", "The form is not UTF-8."),
        (b"&".join([b"a=1"] * 200), "The body is neither JSON nor a form"),
        (b"a=1&a=2", "The body is neither JSON nor a form: 'a' appears twice."),
        (b'{"a": 1, "b": {"c": 2, "c": 3}}', "The body is not JSON: 'c' appears twice."),
        (b"[1]", "The body must be a JSON object or a form, not a list."),
        (b'{"a": NaN}', "The body is not JSON: NaN is not a number of JSON."),
        (b'{"a": -Infinity}', "The body is not JSON: -Infinity is not a number of JSON."),
        (b'{"a": 1e999}', "The body is not JSON: 1e999 is out of range."),
        (b'{"a": ' + b"9" * 5000 + b"}", "The body is not JSON: "),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "The body is nested more than 64 levels deep."),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "The body is nested more than 64 levels deep."),
        (b"[" * 200_000, "The body is nested more than 64 levels deep."),
        (b'{"a":' * 100_000, "The body is nested more than 64 levels deep."),
        (b'{"a": "\x00"}', "The body is not JSON: Invalid control character"),
        (b'{"a"', "The body is not JSON: "),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_cannot_be_used_is_one_clear_error(body: bytes, message: str) -> None:
    assert refused(body).startswith(message)


def test_a_body_may_be_nested_64_levels_deep() -> None:
    body = b'{"a":' * 64 + b"1" + b"}" * 64
    assert read_body(body) == json.loads(body)


def test_half_surrogate_pairs_become_replacement_characters_and_whole_ones_stay() -> None:
    body = rb'{"name": "Ada \ud83d", "\udc00": ["\ud83d\ude00", "\udfff"]}'
    assert read_body(body) == {"name": "Ada \ufffd", "\ufffd": ["😀", "\ufffd"]}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=50)
@given(fields=st.dictionaries(st.text(), JSON))
def test_every_json_object_is_read_as_it_was_written(fields: dict[str, Any]) -> None:
    assert read_body(json.dumps(fields).encode()) == fields


@given(body=st.binary() | st.text().map(str.encode))
def test_any_bytes_are_fields_that_can_be_written_again_or_bad_input(body: bytes) -> None:
    try:
        fields = read_body(body)
    except BadInput:
        return
    json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()


@given(value=JSON)
def test_a_value_of_any_type_is_read_or_refused_by_its_key(value: Any) -> None:
    for get in (get_object, get_number, get_text, lambda f, k: get_flag(f, k, True)):
        refusal = None
        try:
            get({"the.key": value}, "the.key")
        except BadInput as error:
            refusal = str(error)
        assert refusal is None or refusal.startswith("the.key ")


@pytest.mark.parametrize(
    ("value", "number"),
    [("5", 5.0), (" 2.5 ", 2.5), (7, 7.0), (0, 0.0), ("-1e2", -100.0), (None, None), ("", None)],
)
def test_numbers_may_be_written_as_strings(value: Any, number: float | None) -> None:
    assert get_number({"n": value}, "n") == number


@pytest.mark.parametrize("value", [True, "five", [], {}, "nan", "inf", 10**400])
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="n must be a number, not "):
        get_number({"n": value}, "n")


@pytest.mark.parametrize(
    ("value", "flag"),
    [(True, True), (False, False), ("true", True), ("False", False), ("1", True), (0, False)],
)
def test_flags_may_be_written_as_strings_or_digits(value: Any, flag: bool) -> None:
    assert get_flag({"f": value}, "f", not flag) is flag


def test_missing_values_are_the_default() -> None:
    assert get_flag({"f": ""}, "f", False) is False
    assert get_text({"t": ""}, "t") is None
    assert get_object({"o": " "}, "o") == {}


def test_strings_with_nul_are_refused() -> None:
    with pytest.raises(BadInput, match="t must be a string"):
        get_text({"t": "a\0b"}, "t")
