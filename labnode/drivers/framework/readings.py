"""What expressions are made of: functions of the readings of a board, and what these are."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class ValueType:
    """What is known of a device's value before it is read."""

    kind: type | None = None  # bool, float (any number) or str
    choices: tuple[str, ...] = ()  # of a text; (): any
    width: int = 0  # of a bank: how many bits the number has


UNKNOWN = ValueType()


class Past(Protocol):
    """What a formula remembers: hardware thread only."""

    def over(self, function: str, device: str, seconds: float) -> float | None:
        """The "avg", "max", "min" or "rate" of a value over its last `seconds`."""

    def switched(self, place: int, value: Any, low: Any, high: Any) -> bool | None:
        """True from above `high` until below `low`; `place` is that of a hysteresis."""


@dataclass(frozen=True)
class Readings:
    """The board's snapshot as an expression sees it, with the `named` values of a sequence.

    With `patient`, what is still awaiting its first reading is missing, but not stale.
    """

    snapshot: Mapping[str, Mapping[str, Any]]
    patient: bool = False
    named: Mapping[str, Any] = field(default_factory=dict)
    past: Past | None = None

    def value(self, device: str) -> Any:
        """None: missing."""
        return self.snapshot.get(device, {}).get("value")

    def target(self, device: str) -> Any:
        """What an output is driven to; None: missing."""
        state = self.snapshot.get(device, {})
        return state.get("target", state.get("value"))

    def connected(self, device: str) -> bool:
        state = self.snapshot.get(device, {"connected": False})
        return "error" not in state and bool(state.get("connected", True))

    def stale(self, device: str) -> bool:
        """Whether the value is missing or too old to be trusted."""
        if self.patient and self.snapshot.get(device, {}).get("awaited"):
            return False
        return self.value(device) is None or bool(self.snapshot[device].get("stale", False))

    def over(self, function: str, device: str, seconds: float) -> float | None:
        return None if self.past is None else self.past.over(function, device, seconds)

    def switched(self, place: int, value: Any, low: Any, high: Any) -> bool | None:
        return None if self.past is None else self.past.switched(place, value, low, high)


Node = Callable[[Readings], Any]  # a part of an expression: its value, None when that is missing


def constant(value: bool | float | str) -> Node:
    return lambda _readings: value


def reading(read: Callable[[Readings, str], Any], device: str) -> Node:
    return lambda readings: read(readings, device)


def bit(device: str, number: int) -> Node:
    def evaluate(readings: Readings) -> bool | None:
        value = readings.value(device)
        if not isinstance(value, int | float) or value % 1:
            return None
        return bool(int(value) >> number & 1)

    return evaluate


def calculation(function: Callable[..., Any], *operands: Node) -> Node:
    def evaluate(readings: Readings) -> Any:
        values = [operand(readings) for operand in operands]
        if not all(isinstance(value, int | float) for value in values):
            return None
        try:
            if not all(math.isfinite(value) for value in values):  # nan > 75 would be false
                return None
            result = function(*values)
            return result if math.isfinite(result) else None
        except (ZeroDivisionError, OverflowError):
            return None

    return evaluate


def equality(sign: str, left: Node, right: Node) -> Node:
    numbers = calculation(COMPARISONS[sign], left, right)

    def evaluate(readings: Readings) -> Any:
        values = left(readings), right(readings)
        if None in values or not any(isinstance(value, str) for value in values):
            return numbers(readings)
        return COMPARISONS[sign](*values)

    return evaluate


def negation(operand: Node) -> Node:
    def evaluate(readings: Readings) -> Any:
        value = operand(readings)
        return None if value is None else not value

    return evaluate


def junction(decisive: bool, left: Node, right: Node) -> Node:
    """`or` (True is decisive), or `and` (False is)."""

    def evaluate(readings: Readings) -> Any:
        missing = False
        for side in (left, right):
            value = side(readings)
            if value is None:
                missing = True
            elif bool(value) is decisive:
                return decisive
        return None if missing else not decisive

    return evaluate
