from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labnode.drivers.framework.expressions import Expression, ExpressionError
from labnode.drivers.framework.readings import Readings, ValueType

SNAPSHOT = {
    "temp": {"value": 80.0},
    "door": {"value": False},
    "latch": {"value": True},
    "lost": {"value": None, "error": "unplugged"},
    "old": {"value": 20, "stale": True},
    "gone": {"value": 3, "connected": False},
    "mode": {"value": "auto"},
    "nan": {"value": float("nan")},
    "sw": {"value": 0b1010},
    "half": {"value": 2.5},
    "list": {"value": [1, 2]},
    "note": {"value": ""},
}
TYPES = {
    "temp": ValueType(float),
    "door": ValueType(bool),
    "mode": ValueType(str, ("auto", "manual")),
    "note": ValueType(str),
    "sw": ValueType(float, width=4),
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
        ("sw.bit(3) and not sw.bit(0)", True),
        ("sw.bit(63)", False),
        ("mode == 'auto'", True),
        ('mode != "auto" or latch', True),
        ("'auto' == mode", True),
        ("temp == 'auto'", False),
        ("temp != mode", True),
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
        "lost == 'auto'",
        "mode < mode",
        "lost.bit(0)",
        "half.bit(0)",
        "mode.bit(0)",
        "nan.bit(0)",
        "list == 3",
    ],
)
def test_what_hangs_on_a_missing_value_is_missing(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mode + 1", "at character 1: a text is no number"),
        ("2 * (temp + mode)", "at character 13: a text is no number"),
        ("max(temp, note)", "at character 11: a text is no number"),
        ("mode > 'a'", "at character 1: a text has no order: compare it with == or !="),
        ("not mode", "at character 5: a text is neither true nor false: compare it, as in x =="),
        ("door and mode", "at character 10: a text is neither true nor false"),
        ("temp == 'hot'", "at character 1: a number and a text are never equal"),
        ("door != note", "at character 1: true or false and a text are never equal"),
        ("mode == 'atuo'", "at character 9: 'mode' is never 'atuo'; did you mean 'auto'?"),
        ("'off' == mode", "at character 1: 'mode' is never 'off'; it is one of auto, manual"),
        ("mode == auto", "at character 9: there is no device 'auto'; a text is in quotes: 'auto'"),
        ("note == 'a", "at character 9: the text has no second '"),
        ("temp.bit(1)", "'temp' is a number and has no bits"),
        ("mode.bit(1)", "'mode' is a text and has no bits"),
        ("door.bit(1)", "'door' is true or false and has no bits"),
        ("sw.bit(4)", "at character 8: expected a bit of 'sw', 0 (the lowest) to 3, not '4'"),
        ("sw.bit(-1)", "expected a bit of 'sw', 0 (the lowest) to 3, not '-'"),
        ("sw.bits(1)", "at character 4: expected 'connected' or 'bit', not 'bits'"),
        ("avg(temp, 10s) > 3", "avg looks back in time, which a device with 'driver: formula' can"),
        ("min(temp, 10s)", "min(x, 10s) looks back in time"),
        ("temp > 10s", "numbers have no unit in an expression: write 10, without 's'"),
    ],
)
def test_what_cannot_be_compared_or_calculated_is_refused_at_load(text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        Expression.parse(text, SNAPSHOT, types=TYPES)
    assert sentence in str(raised.value)


def test_where_a_type_is_unknown_the_expression_is_allowed() -> None:
    assert Expression.parse("latch + 1 > 0 or latch == 'x'", SNAPSHOT, types=TYPES).kind is bool


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
