from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labnode.board.config.expressions import Expression, ExpressionError, Readings

SNAPSHOT = {
    "temp": {"value": 80.0},
    "door": {"value": False},
    "latch": {"value": True},
    "lost": {"value": None, "error": "unplugged"},
    "old": {"value": 20, "stale": True},
    "gone": {"value": 3, "connected": False},
    "mode": {"value": "auto"},
    "nan": {"value": float("nan")},
}


def value(text: str) -> Any:
    return Expression.parse(text, SNAPSHOT).evaluate(Readings(SNAPSHOT))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("temp", 80.0),
        ("temp > 75 and not stale(temp)", True),
        ("temp > 75 && !door", True),
        ("door || latch", True),
        ("not door and latch", True),
        ("not (door or latch)", False),
        ("!latch", False),
        ("20 + 60*latch", 80.0),
        ("20+60*door", 20.0),
        ("2 + 3 * 4", 14.0),
        ("(2 + 3) * 4", 20.0),
        ("10 - 2 - 3", 5.0),
        ("12 / 2 / 3", 2.0),
        ("-temp + 1", -79.0),
        ("- -2", 2.0),
        ("1e3 - .5", 999.5),
        ("temp <= 80 and temp >= 80", True),
        ("temp == 80", True),
        ("temp != 80", False),
        ("latch == true", True),
        ("latch == door", False),
        ("not temp < 75", True),
        ("abs(0 - temp)", 80.0),
        ("min(temp, 3, 5)", 3.0),
        ("max(temp, 3 + 100)", 103.0),
        ("max(temp)", 80.0),
        ("temp.connected", True),
        ("gone.connected or lost.connected", False),
        ("stale(old) and stale(lost)", True),
        ("true or false", True),
    ],
)
def test_an_expression_has_its_value(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "lost",
        "lost > 3",
        "lost == lost",
        "not lost",
        "-lost",
        "lost + 1 > 0",
        "min(temp, lost)",
        "lost and latch",
        "lost or door",
        "temp / 0",
        "temp / door > 3",
        "1e300 * 1e300 * temp",
        "mode + 1",
        "nan > 75",
        "nan < 75",
    ],
)
def test_what_hangs_on_a_missing_value_is_missing(text: str) -> None:
    assert value(text) is None


def test_one_side_is_enough_where_it_decides() -> None:
    assert value("lost > 3 or latch") is True
    assert value("lost > 3 and door") is False


def test_the_devices_that_it_looks_at_are_known() -> None:
    expression = Expression.parse("temp > 75 and (stale(old) or gone.connected)", SNAPSHOT)
    assert expression.names == {"temp", "old", "gone"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "at character 1: expected a device, a number or '(', not the end"),
        ("temp >", "at character 7: expected a device, a number or '(', not the end"),
        ("temp 75", "at character 6: expected and, or, a comparison or the end, not '75'"),
        ("temp > > 3", "at character 8: expected a device, a number or '(', not '>'"),
        ("temp = 3", "at character 6: '=' compares nothing: write '=='"),
        ("(temp > 3", "at character 10: expected ')', not the end"),
        ("temp > 3)", "at character 9: expected and, or, a comparison or the end, not ')'"),
        ("tmep > 3", "at character 1: there is no device 'tmep'; did you mean 'temp'?"),
        ("1 + nothing", "at character 5: there is no device 'nothing'"),
        ("temp.connectd", "at character 6: expected 'connected', not 'connectd'"),
        ("stael(temp)", "at character 1: there is no function 'stael'; did you mean 'stale'?"),
        ("sqrt(temp)", "there is no function 'sqrt'; there are abs, max, min, stale"),
        ("stale(3)", "at character 7: expected a device, not '3'"),
        ("abs(1, 2)", "at character 6: expected ')', not ','"),
        ("min()", "at character 5: expected a device, a number or '(', not ')'"),
        ("1 < temp < 3", "at character 10: one comparison at a time, as in 'a < b and b < c'"),
        ("temp and", "at character 9: expected a device, a number or '(', not the end"),
        ("and temp", "at character 1: expected a device, a number or '(', not 'and'"),
        ("temp ** 2", "at character 7: expected a device, a number or '(', not '*'"),
        ("__import__('os')", "at character 1: there is no function '__import__'"),
        ("temp.__class__", "at character 6: expected 'connected', not '__class__'"),
        ("temp\n> °", "at character 8: expected a device, a number or '(', not '°'"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place(text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        Expression.parse(text, SNAPSHOT)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "1" + ")" * 400,
        "not " * 200 + "door",
        "1" + "+1" * 499,
        "-" * 600 + "1",
        "1 " * 999,
    ],
)
def test_an_expression_that_would_need_a_deep_stack_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression.parse(text, SNAPSHOT)


@given(st.text(alphabet="temp doralch()<>=!&|+-*/.,0123456789ns\n", max_size=40))
def test_any_text_is_an_expression_or_a_sentence(text: str) -> None:
    try:
        result = value(text)
    except ExpressionError:
        return
    assert result is None or isinstance(result, bool | int | float | str)
