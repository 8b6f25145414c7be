"""The tree that an expression becomes, and how it is evaluated; None is a missing value."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "max": max, "min": min}


@dataclass(frozen=True)
class Readings:
    """The board's snapshot as an expression sees it."""

    snapshot: Mapping[str, Mapping[str, Any]]

    def value(self, device: str) -> Any:
        """None: missing."""
        return self.snapshot.get(device, {}).get("value")

    def connected(self, device: str) -> bool:
        state = self.snapshot.get(device, {"connected": False})
        return "error" not in state and bool(state.get("connected", True))

    def stale(self, device: str) -> bool:
        """Whether the value is missing or too old to be trusted."""
        return self.value(device) is None or bool(self.snapshot[device].get("stale", False))


class Node(Protocol):
    def evaluate(self, readings: Readings) -> Any: ...


@dataclass(frozen=True)
class Constant:
    value: bool | float

    def evaluate(self, readings: Readings) -> Any:  # noqa: ARG002
        return self.value


@dataclass(frozen=True)
class Reading:
    read: Callable[[Readings, str], Any]  # Readings.value, .connected or .stale
    device: str

    def evaluate(self, readings: Readings) -> Any:
        return self.read(readings, self.device)


@dataclass(frozen=True)
class Calculation:
    function: Callable[..., Any]
    operands: tuple[Node, ...]

    def evaluate(self, readings: Readings) -> Any:
        values = [operand.evaluate(readings) for operand in self.operands]
        if not all(isinstance(value, int | float) for value in values):
            return None
        try:
            if not all(math.isfinite(value) for value in values):  # nan > 75 would be false
                return None
            result = self.function(*values)
            return result if math.isfinite(result) else None
        except (ZeroDivisionError, OverflowError):
            return None


@dataclass(frozen=True)
class Not:
    operand: Node

    def evaluate(self, readings: Readings) -> Any:
        value = self.operand.evaluate(readings)
        return None if value is None else not value


@dataclass(frozen=True)
class Junction:
    decisive: bool  # True: or; False: and
    left: Node
    right: Node

    def evaluate(self, readings: Readings) -> Any:
        missing = False
        for side in (self.left, self.right):
            value = side.evaluate(readings)
            if value is None:
                missing = True
            elif bool(value) is self.decisive:
                return self.decisive
        return None if missing else not self.decisive
