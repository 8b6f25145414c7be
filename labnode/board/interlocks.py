"""Interlocks at run time: which outputs are held, what may be commanded, which faults there are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labnode.board.config.expressions import Readings
from labnode.board.config.interlock_rules import Mutex, Require, Rule, When
from labnode.board.snapshot import Snapshot
from labnode.clock import Clock
from labnode.drivers.framework.output import Output
from labnode.errors import Interlocked
from labnode.events import Bus, FaultChanged
from labnode.schema import Text

_GRACE = 1.0  # seconds; what is later than this has lost its owner


class Emergency:
    """`why` the board is stopped, or None. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self.why: str | None = None
        self._clock = clock
        self._unheard_since: float | None = None

    def begin(self, why: str) -> None:
        if self.why is None:
            self._unheard_since = self._clock.now()
        self.why = why

    def heard(self) -> None:
        """The hardware thread has made everything safe after what it was doing."""
        self._unheard_since = None

    def end(self) -> None:
        self.why = None

    def permit(self, output: Output, value: Any) -> None:
        """Interlocked for everything but the safe value, while there is one."""
        if self.why is not None and not output.is_safe(value):
            raise Interlocked(f"The board is stopped: {self.why}")

    def fault(self, outputs: Iterable[Output]) -> str | None:
        """What the hardware thread should have done and has not, or None."""
        now = self._clock.now()
        for output in outputs:
            if output.overdue(now) > _GRACE:
                return f"'{output.name}' is on for longer than its max_on_time"
        if self._unheard_since is not None and now - self._unheard_since > _GRACE:
            return "nobody has acknowledged an emergency stop"
        return None


log = logging.getLogger(__name__)

_RETRY = 0.5  # seconds until an output that could not be forced is forced again


@dataclass(frozen=True)
class Fault:
    """A `when` that acts; a latched one goes on acting when its reason is over."""

    name: str
    message: Text
    latched: bool
    active: bool


@dataclass(frozen=True)
class _Hold:
    """An output is to be at `value`, because of a rule."""

    value: Any
    rule: Rule


class Interlocks:
    """Hardware thread only, but for `faults`, which any thread may read.

    `snapshot` gives the board's latest, `latched` are the names of rules that were latched when
    the node stopped; `remember` is told those that are whenever they change.
    """

    def __init__(
        self,
        rules: Collection[Rule],
        outputs: Mapping[str, Output],
        emergency: Emergency,
        *,
        clock: Clock,
        bus: Bus,
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self.faults: tuple[Fault, ...] = ()
        self.remember: Callable[[list[str]], None] = lambda _: None
        self._rules = tuple(rules)
        self._outputs = outputs
        self._emergency = emergency
        self._clock = clock
        self._bus = bus
        self._snapshot = snapshot
        self._holds: dict[str, _Hold] = {}
        self._latched: set[str] = set()
        self._since: dict[str, float] = {}  # when the condition of a rule began to be
        self._off_at: dict[str, float] = {}  # when an output of a mutex went off
        self._on: set[str] = set()
        self._retry_at: dict[str, float] = {}
        self._locks: dict[str, Any] = {}
        self._due: float | None = None

    def restore(self, latched: Iterable[str]) -> None:
        """These were latched when the node stopped."""
        self._latched = {rule.name for rule in self._whens() if rule.latch} & set(latched)

    def settle(self) -> set[str]:
        """Hold what has to be held; the devices that may show something else now."""
        now = self._clock.now()
        readings = Readings(self._snapshot())
        self._due = None
        self._see_mutexes(now)
        held, self._holds = self._holds, self._held(readings, now)
        for name in held.keys() - self._holds.keys():
            self._let_go(name)
        told, self._locks = self._locks, {name: self.lock(name) for name in self._outputs}
        touched = {name for name, lock in self._locks.items() if lock != told.get(name)}
        for name, hold in self._holds.items():
            # An emergency stop is above all: then what is held is held safe.
            value = hold.value if self._emergency.why is None else self._outputs[name].safe
            if readings.value(name) == value:
                self._retry_at.pop(name, None)
            elif self._retry_at.get(name, now) <= now:
                self._force(name, value, hold.rule.name)
                touched.add(name)
        return touched

    def due(self) -> float | None:
        """When to settle although nothing has changed."""
        return min(
            (time for time in (self._due, *self._retry_at.values()) if time is not None),
            default=None,
        )

    def lock(self, device: str) -> Any:
        """Why an output cannot be commanded as one likes, in all languages; None when it can."""
        hold = self._holds.get(device)
        if hold is not None:
            return hold.rule.message.words
        for mutex in self._mutexes(device):
            if self._refusal(mutex, device) is not None:
                return mutex.message.words
        return None

    def permit(self, device: str, value: Any) -> None:
        """Interlocked when an output must not be `value` now, or would be forced at once."""
        hold = self._holds.get(device)
        if hold is not None and hold.value != value:
            raise Interlocked(f"'{device}' is interlocked: {hold.rule.message}")
        output = self._outputs[device]
        if not output.is_safe(value):
            for mutex in self._mutexes(device):
                if (why := self._refusal(mutex, device)) is not None:
                    raise Interlocked(why)
        state = {**self._snapshot()[device], "value": value}
        readings = Readings({**self._snapshot(), device: state})
        for rule in self._rules:
            wanted = self._wanted(rule, device)
            if wanted is None or wanted.value == value or device not in _looks_at(rule):
                continue
            if not (isinstance(rule, When) and rule.for_time) and self._acts(rule, readings):
                raise Interlocked(f"'{device}' is interlocked: {rule.message}")

    def clear(self) -> list[str]:
        """End what is latched and over; the names of what is not over yet.

        With a missing value nobody knows that it is over.
        """
        readings = Readings(self._snapshot())
        over = {
            rule.name
            for rule in self._whens()
            if rule.name in self._latched and _is_over(rule, readings)
        }
        if over:
            self._latched -= over
            self.remember(sorted(self._latched))
        return sorted(self._latched)

    # ------------------------------------------------------------------ what has to be held

    def _held(self, readings: Readings, now: float) -> dict[str, _Hold]:
        holds: dict[str, _Hold] = {}
        faults = []
        latched = set(self._latched)
        wanted: Mapping[str, Any]
        for rule in self._rules:
            if isinstance(rule, Mutex):
                names = self._on.intersection(rule.devices)
                wanted = (
                    {name: self._outputs[name].safe for name in names} if len(names) > 1 else {}
                )
            elif isinstance(rule, Require):
                wanted = self._all_safe(rule.devices) if self._acts(rule, readings) else {}
            else:
                lasts = self._lasts(rule, bool(rule.expression.evaluate(readings)), now)
                if lasts and rule.latch:
                    self._latched.add(rule.name)
                is_latched = rule.name in self._latched
                if lasts or is_latched:
                    faults.append(Fault(rule.name, rule.message, is_latched, lasts))
                wanted = rule.force if lasts or is_latched else {}
            for name, value in wanted.items():
                if name not in holds or self._outputs[name].is_safe(value):
                    holds[name] = _Hold(value, rule)
        if latched != self._latched:
            self.remember(sorted(self._latched))
        self._tell(tuple(faults))
        return holds

    def _lasts(self, rule: When, truth: bool, now: float) -> bool:
        if not truth:
            self._since.pop(rule.name, None)
            return False
        end = self._since.setdefault(rule.name, now) + rule.for_time
        if end > now:
            self._due = end if self._due is None else min(self._due, end)
        return end <= now

    def _acts(self, rule: Rule, readings: Readings) -> bool:
        if isinstance(rule, Require):
            return not rule.expression.evaluate(readings)  # a missing value is no permission
        return isinstance(rule, When) and bool(rule.expression.evaluate(readings))

    def _all_safe(self, names: Collection[str]) -> Mapping[str, Any]:
        return {name: self._outputs[name].safe for name in names}

    def _wanted(self, rule: Rule, device: str) -> _Hold | None:
        if isinstance(rule, Require) and device in rule.devices:
            return _Hold(self._outputs[device].safe, rule)
        if isinstance(rule, When) and device in rule.force:
            return _Hold(rule.force[device], rule)
        return None

    def _force(self, name: str, value: Any, rule: str) -> None:
        known = name in self._retry_at
        self._retry_at[name] = self._clock.now() + _RETRY  # unless it is seen to be at the value
        try:
            self._outputs[name].force(value)
        except Exception:
            if not known:
                log.critical("'%s' cannot be held by '%s'", name, rule, exc_info=True)

    def _let_go(self, name: str) -> None:
        self._retry_at.pop(name, None)
        try:
            self._outputs[name].release()
        except Exception:
            log.exception("nobody knows how '%s' is after an interlock", name)

    def _tell(self, faults: tuple[Fault, ...]) -> None:
        before, after = ({fault.name: fault for fault in some} for some in (self.faults, faults))
        self.faults = faults
        for name, fault in after.items():
            known = before.get(name)
            if known != fault:
                state = "latched" if fault.latched else "active"
                if known is None or known.latched != fault.latched:  # not each time it flickers
                    log.warning("Interlock '%s' is %s: %s", name, state, fault.message)
                self._bus.publish(FaultChanged(name, state, str(fault.message)))
        for name in before.keys() - after.keys():
            log.warning("Interlock '%s' is over.", name)
            self._bus.publish(FaultChanged(name, "cleared", str(before[name].message)))

    # ------------------------------------------------------------------ mutexes

    def _see_mutexes(self, now: float) -> None:
        snapshot = self._snapshot()
        for rule in self._rules:
            if not isinstance(rule, Mutex):
                continue
            for name in rule.devices:
                value = snapshot[name]["value"]
                if value is None:  # nobody knows: as before
                    continue
                if not self._outputs[name].is_safe(value):
                    self._on.add(name)
                elif name in self._on:
                    self._on.discard(name)
                    self._off_at[name] = now
                end = self._off_at.get(name, float("-inf")) + rule.wait
                if name not in self._on and end > now:
                    self._due = end if self._due is None else min(self._due, end)

    def _refusal(self, rule: Mutex, device: str) -> str | None:
        now = self._clock.now()
        for other in rule.devices:
            if other != device and other in self._on:
                return f"'{device}' cannot be on while '{other}' is: {rule.message}"
            left = self._off_at.get(other, float("-inf")) + rule.wait - now
            if other != device and left > 0:
                return f"'{device}' has to wait for {left:.1f} s after '{other}': {rule.message}"
        return None

    def _mutexes(self, device: str) -> Iterable[Mutex]:
        return (r for r in self._rules if isinstance(r, Mutex) and device in r.devices)

    def _whens(self) -> Iterable[When]:
        return (rule for rule in self._rules if isinstance(rule, When))


def _is_over(rule: When, readings: Readings) -> bool:
    truth = rule.expression.evaluate(readings)
    return truth is not None and not truth


def _looks_at(rule: Rule) -> frozenset[str]:
    return rule.expression.names if isinstance(rule, Require | When) else frozenset()
