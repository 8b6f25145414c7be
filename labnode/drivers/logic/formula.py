"""A value that follows from those of other devices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.driver import Driver, Widget
from labnode.drivers.framework.expressions import Expression
from labnode.drivers.framework.readings import Readings, ValueType
from labnode.drivers.framework.registry import register
from labnode.drivers.logic.windows import FormulaMemory
from labnode.schema import Between, Doc, Duration

_WIDGETS: dict[type | None, Widget] = {bool: "lamp", str: "text"}


@register("formula")
@dataclass(kw_only=True)
class Formula(Driver):
    """A value that is calculated from other devices whenever one of them changes.

    Besides what every expression knows, a formula looks back in time: `avg(x, 10s)`, `min(x, 10s)`
    and `max(x, 10s)` over the last seconds, `rate(x)` or `rate(x, 10s)` per second, and
    `hysteresis(x, low, high)`, which is true from above `high` until below `low`. It has no value
    while one that it needs is missing, and is stale while one that it needs is.

    Example::

        power: {driver: formula, expr: "avg(volts, 5s) * amps", unit: W, digits: 2}
    """

    expr: Annotated[Expression, Doc("The expression that is its value.")]
    digits: Annotated[int, Between(0, 12), Doc("The decimals of a number.")] = 3
    sample_every: Annotated[
        Duration,
        Between(0.02),
        Doc("How often avg, min, max and rate go on while nothing changes."),
    ] = 0.5
    per_session: Annotated[
        bool, Doc("Whether what it remembers is forgotten when a session starts.")
    ] = False

    widget: ClassVar[Widget] = "value"

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._memory = FormulaMemory(self.expr.windows)
        self._forget()

    def open(self) -> None:
        self._forget()
        self.opened()

    def close(self) -> None:
        self._forget()

    def prepare(self) -> None:
        if self.per_session:
            self._forget()

    def _forget(self) -> None:
        self._memory.forget()
        self._value: Any = None
        self._seen: list[Any] | None = None  # the states that the value follows from
        self._freshness: dict[str, Any] = {"stale": True}
        self._next = self.services.clock.now()

    # ------------------------------------------------------------------ what it follows from

    @property
    def sources(self) -> Collection[str]:
        return self.expr.names

    @property
    def remembers(self) -> bool:
        return bool(self.expr.windows) or self.expr.switches > 0

    def derive(self, snapshot: Mapping[str, Mapping[str, Any]]) -> bool:
        now = self.services.clock.now()
        states = [snapshot.get(name) for name in self.expr.names]
        same = self._seen is not None and all(
            one is two for one, two in zip(self._seen, states, strict=True)
        )
        if same and not (self.expr.windows and self._next <= now):
            return False
        self._seen, self._next = states, now + self.sample_every
        self._memory.watch(now, snapshot)
        before = self._value, self._freshness
        self._value = self._rounded(self.expr.evaluate(Readings(snapshot, past=self._memory)))
        self._freshness = self._fresh(Readings(snapshot))
        return before != (self._value, self._freshness)

    def suppose(self, snapshot: Mapping[str, Mapping[str, Any]]) -> Any:
        return self._rounded(self.expr.evaluate(Readings(snapshot)))

    def _rounded(self, value: Any) -> Any:
        return round(value, self.digits) if type(value) is float else value

    def _fresh(self, readings: Readings) -> dict[str, Any]:
        """How old the value is: as old as the oldest that it follows from."""
        needed = [readings.snapshot.get(name, {}) for name in self.expr.values]
        times = [state["sampled"] for state in needed if state.get("sampled") is not None]
        stale = [name for name in self.expr.values if readings.stale(name)]
        awaited = all(readings.snapshot[name].get("awaited") for name in stale)
        return {
            "stale": bool(stale) or self._value is None,
            **({"sampled": min(times)} if times else {}),
            **({"awaited": True} if stale and awaited else {}),
        }

    # ------------------------------------------------------------------ what it shows

    def due(self) -> float | None:
        return self._next if self.expr.windows or self._seen is None else None

    @property
    def value(self) -> Any:
        return self._value

    @property
    def value_type(self) -> ValueType:
        return ValueType(self.expr.kind)

    def state(self) -> dict[str, Any]:
        return {**super().state(), **self._freshness}

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "widget": _WIDGETS.get(self.expr.kind, self.widget)}
