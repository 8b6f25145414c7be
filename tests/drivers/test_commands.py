from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import pytest

from labnode.drivers.framework.commands import Command, commands_of, mark, parameters_of
from labnode.errors import BadInput
from labnode.schema import Between


class Oven:
    @mark
    def set(self, value: bool) -> None:
        """Switch it."""

    @mark
    def heat(self, degrees: float, minutes: int = 5, mode: Literal["fan", "grill"] = "fan") -> None:
        """Heat it."""

    @mark
    def name(self, text: str | None) -> None: ...

    def secret(self) -> None: ...


def bind(command: str, arguments: Any) -> dict[str, Any]:
    return commands_of(Oven)[command].bind(f"oven.{command}", arguments)


def refused(command: str, arguments: Any) -> str:
    with pytest.raises(BadInput) as raised:
        bind(command, arguments)
    return raised.value.message


def test_only_marked_methods_are_commands_in_the_order_they_are_written() -> None:
    assert list(commands_of(Oven)) == ["set", "heat", "name"]


def test_arguments_come_by_position_or_by_name() -> None:
    assert bind("heat", [180, 10]) == {"degrees": 180.0, "minutes": 10}
    assert bind("heat", {"mode": "grill", "degrees": 180.5}) == {"degrees": 180.5, "mode": "grill"}


def test_no_body_is_no_arguments() -> None:
    assert Command.of(Oven.heat).parameters[1].default == 5
    assert refused("set", None) == "oven.set needs 'value' (true or false)"


def test_a_whole_number_becomes_a_float_where_one_is_wanted() -> None:
    assert type(bind("heat", [180])["degrees"]) is float


@pytest.mark.parametrize("value", [0, 1, "true", None, [], 1.0])
def test_truth_is_only_true_or_false(value: Any) -> None:
    assert refused("set", [value]).startswith("oven.set: 'value' must be true or false, not ")


@pytest.mark.parametrize("value", [True, "3", None, {}, math.nan, math.inf, -math.inf, 10**400])
def test_a_number_is_finite_and_neither_truth_nor_text(value: Any) -> None:
    assert refused("heat", [value]).startswith("oven.heat: 'degrees' must be a number, not ")


@pytest.mark.parametrize("value", [True, 2.5, 2.0, "2"])
def test_a_whole_number_has_no_fraction(value: Any) -> None:
    sentence = refused("heat", [1, value])
    assert sentence.startswith("oven.heat: 'minutes' must be a whole number, not ")


def test_a_choice_is_one_of_its_words() -> None:
    assert refused("heat", {"degrees": 1, "mode": "steam"}) == (
        "oven.heat: 'mode' must be one of \"fan\", \"grill\", not the text 'steam'"
    )


def test_null_is_a_value_where_the_annotation_has_none() -> None:
    assert bind("name", [None]) == {"text": None}
    assert bind("name", ["x"]) == {"text": "x"}
    assert "a text or null, not the number 3" in refused("name", [3])


def test_too_many_arguments_are_refused_with_what_is_taken() -> None:
    assert refused("set", [True, 2]) == "oven.set takes 1 argument (value: true or false), not 2"


def test_an_unknown_name_gets_a_close_match() -> None:
    assert "not 'degres'; did you mean 'degrees'?" in refused("heat", {"degres": 1})


@pytest.mark.parametrize("arguments", ["x", 3, True])
def test_anything_but_a_list_or_an_object_is_refused(arguments: Any) -> None:
    assert "takes its arguments as a list or an object" in refused("set", arguments)


def test_what_came_is_cut_short_in_the_sentence() -> None:
    assert len(refused("set", ["x" * 10_000])) < 200
    assert len(refused("set", [10**1000])) < 200


def test_a_command_describes_itself_for_the_page() -> None:
    assert commands_of(Oven)["heat"].describe() == {
        "name": "heat",
        "parameters": [
            {"name": "degrees", "type": "float"},
            {"name": "minutes", "type": "int", "default": 5},
            {"name": "mode", "type": "choice", "choices": ["fan", "grill"], "default": "fan"},
        ],
    }


def test_a_parameter_that_cannot_come_as_json_is_a_mistake_of_the_driver() -> None:
    class Bad:
        @mark
        def take(self, thing) -> None: ...  # type: ignore[no-untyped-def]

    class Worse:
        @mark
        def take(self, *things: int) -> None: ...

    for cls in (Bad, Worse):
        with pytest.raises(TypeError, match="must be annotated as bool, int, float, str"):
            commands_of(cls)


def test_a_command_that_a_subclass_takes_back_is_none_any_more() -> None:
    class Cold(Oven):
        def heat(self, *_: Any, **__: Any) -> None: ...

    assert list(commands_of(Cold)) == ["set", "name"]


def test_the_parameters_of_a_task_have_types_limits_and_defaults() -> None:
    def heat(  # noqa: PLR0917
        seconds: Annotated[int, Between(1, 60)],
        power: Annotated[float, Between(0)] = 0.5,
        times=3,  # type: ignore[no-untyped-def]
        mode: Literal["slow", "fast"] = "slow",
        points: list[int] | None = None,
        note=None,  # type: ignore[no-untyped-def]
    ) -> None: ...

    described = [parameter.describe() for parameter in parameters_of(heat)]
    assert described == [
        {"name": "seconds", "type": "int", "min": 1, "max": 60},
        {"name": "power", "type": "float", "default": 0.5, "min": 0},
        {"name": "times", "type": "int", "default": 3},
        {"name": "mode", "type": "choice", "choices": ["slow", "fast"], "default": "slow"},
        {"name": "note", "type": "any", "default": None},
    ]
    seconds, power, *_ = parameters_of(heat)
    assert (seconds.accept(60), power.accept(2)) == (60, 2.0)
    with pytest.raises(ValueError, match="must be a whole number from 1 to 60, not the number 61"):
        seconds.accept(61)
    with pytest.raises(ValueError, match=r"must be a number of at least 0, not the number -0\.5"):
        power.accept(-0.5)
