from __future__ import annotations

from typing import Any

import pytest

from labnode.drivers.logic.virtual import Virtual
from labnode.errors import BadInput


@pytest.mark.parametrize(
    ("options", "values", "wrong", "widget"),
    [
        ({}, [True, False], [1, "on", 0.5], "switch"),
        ({"safe": 3}, [3.5, -1e6, 4], [True, "4"], "value"),
        ({"safe": 20, "min": 20, "max": 60}, [20, 60], [19.9, 61, "x", True], "slider"),
        ({"safe": "a"}, ["b", ""], [1, True, "x" * 1001], "text"),
        ({"safe": "slow", "choices": ["slow", "fast"]}, ["fast"], ["Fast", 1, ""], "text"),
    ],
)
def test_a_variable_is_of_the_kind_of_its_safe_value(
    bench: Any, options: dict[str, Any], values: list[Any], wrong: list[Any], widget: str
) -> None:
    variable = bench.open(Virtual(**options), "mode")
    set_command = variable.commands["set"]
    for value in values:
        variable.set(**set_command.bind("mode.set", [value]))
        assert (variable.value, type(variable.value)) == (value, type(variable.safe))
    for value in wrong:
        with pytest.raises(BadInput, match=r"mode\.set: 'value' must be "):
            variable.set(**set_command.bind("mode.set", [value]))
    assert variable.describe()["widget"] == widget
    variable.reset()
    assert variable.value == options.get("safe", False)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, float("nan"), 10**400])
def test_what_is_no_value_at_all_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="must be true or false, a number or a text"):
        Virtual.commands["set"].bind("mode.set", [value])
