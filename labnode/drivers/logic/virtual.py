"""A variable that sequences, Python and students can set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from labnode.drivers.framework.commands import a_number, must_be, one_of
from labnode.drivers.framework.driver import command
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import ValueType
from labnode.drivers.framework.registry import register
from labnode.errors import BadInput
from labnode.locale import Joined, Message
from labnode.schema import Doc, sentence_of

_LONGEST = 1000  # characters of a text
_WIDGETS = {bool: "switch", str: "text"}


@register("virtual")
@dataclass(kw_only=True)
class Virtual(Output):
    """A variable: true/false, a number or a text that sequences, Python and students can set.

    The type of `safe` is the type of the variable. A number with `min` and `max` is a slider.

    Example::

        setpoint: {driver: virtual, safe: 20, min: 20, max: 60, step: 0.5, unit: °C}
    """

    safe: bool | float | str = False
    initial: bool | float | str | None = None
    min: Annotated[float | None, Doc("The lowest number.")] = None
    max: Annotated[float | None, Doc("The highest number.")] = None
    step: Annotated[float | None, Doc("The steps of the slider.")] = None
    choices: Annotated[list[str] | None, Doc("The texts that are allowed; by default any.")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._kind is not float and (self.min, self.max, self.step) != (None, None, None):
            raise ValueError(Message("driver.virtual-number"))
        if self._kind is not str and self.choices is not None:
            raise ValueError(Message("driver.virtual-text"))
        for name in ("safe", "initial"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, self._checked(name, value))

    def open(self) -> None:
        self._value = self.safe
        self.opened()

    def check(self, where: str, value: Any) -> Any:
        try:
            return self._checked("'value'", value)
        except ValueError as error:
            raise BadInput(Joined(f"{where}: ", sentence_of(error))) from None

    def _allowed(self, value: float) -> bool:  # noqa: ARG002
        return True  # `check` knows min and max, and `step` is the slider's alone

    def drive(self, value: Any) -> None:
        self._value = value

    @property
    def value(self) -> Any:
        return self._value

    @property
    def value_type(self) -> ValueType:
        return ValueType(self._kind, tuple(self.choices or ()))

    def describe(self) -> dict[str, Any]:
        limits = {name: getattr(self, name) for name in ("min", "max", "step", "choices")}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        slider = "slider" if {"min", "max"} <= given.keys() else "value"
        return {**super().describe(), "widget": _WIDGETS.get(self._kind, slider), **given}

    @command
    def set(self, value: bool | float | str) -> None:
        self.put(value)

    def _checked(self, name: str, value: Any) -> Any:
        if self._kind is float and type(value) in (int, float):
            if (self.min is None or value >= self.min) and (self.max is None or value <= self.max):
                return float(value)
        elif (self._kind is bool and isinstance(value, bool)) or (
            self._kind is str
            and isinstance(value, str)
            and (len(value) <= _LONGEST if self.choices is None else value in self.choices)
        ):
            return value
        raise ValueError(must_be(name, self._expected(), repr(value)))

    def _expected(self) -> Message:
        if self._kind is bool:
            return Message("yaml.true-or-false")
        if self._kind is str:
            return one_of(self.choices) if self.choices else Message("yaml.a-text")
        return a_number(self.least, self.most)

    @property
    def _kind(self) -> type:
        return type(self.safe) if isinstance(self.safe, bool | str) else float
