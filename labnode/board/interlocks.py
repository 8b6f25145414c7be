"""Interlocks at run time: which outputs are held, what may be commanded, which faults there are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from labnode.board.config.interlock_rules import Mutex, Require, Rule, When
from labnode.board.services import FaultStore
from labnode.clock import Clock, earliest
from labnode.drivers.framework.driver import Derived
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import Readings
from labnode.errors import Interlocked
from labnode.events import Bus, FaultChanged
from labnode.locale import Message, Wording

log = logging.getLogger(__name__)

_GRACE = 1.0  # seconds; what is later than this was forgotten by a hardware thread that hangs
_RETRY = 0.5  # seconds until an output that could not be forced is forced again
_KEY = "faults"  # what the store calls the latched ones

State = Mapping[str, Mapping[str, Any]]  # a snapshot


class Emergency:
    """`why` the board is stopped, or None. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self.why: str | None = None
        self._clock = clock
        self._unacknowledged_since: float | None = None

    def begin(self, why: str) -> None:
        """Stop the board; the first reason counts."""
        if self.why is None:
            self._unacknowledged_since = self._clock.now()
            self.why = why

    def acknowledge(self) -> None:
        """The hardware thread makes everything safe, after what it was doing."""
        self._unacknowledged_since = None

    def end(self) -> None:
        self.why = None

    def permit(self, output: Output, value: Any) -> None:
        """Interlocked for everything but the safe value, while the board is stopped."""
        if self.why is not None and not output.is_safe(value):
            raise Interlocked(Message("error.board-stopped", why=self.why))

    def fault(self, outputs: Iterable[Output]) -> str | None:
        """What the hardware thread should have done and has not, or None."""
        now = self._clock.now()
        for output in outputs:
            if output.overdue(now) > _GRACE:
                return f"'{output.name}' is on for longer than its max_on_time"
            if output.unheard(now) > _GRACE:
                return f"'{output.name}' is on although nobody is heard who switched it on"
        since = self._unacknowledged_since
        if since is not None and now - since > _GRACE:
            return "nobody has acknowledged an emergency stop"
        return None


class Commander:
    """Outputs that command others: whose operator they are, and which are theirs alone.

    Hardware thread only.
    """

    def __init__(self, outputs: Mapping[str, Output]) -> None:
        self.current: Output | None = None
        self._outputs = outputs
        self._owners = {name: output for output in outputs.values() for name in output.owns}

    @contextmanager
    def acting(self, name: str) -> Iterator[None]:
        """Inside the block a device commands others; it is their operator if it `operates`."""
        before, output = self.current, self._outputs.get(name)
        self.current = output if output is not None and output.operates else None
        try:
            yield
        finally:
            self.current = before

    def permit(self, output: Output, value: Any) -> None:
        """Interlocked for an output that only another one may bring away from safe."""
        owner = self._owners.get(output.name)
        if owner is not None and owner is not self.current and not output.is_safe(value):
            raise Interlocked(
                Message("error.commanded-by", device=output.called, owner=owner.called)
            )


@dataclass(frozen=True)
class Fault:
    """A `when` that acts; a latched one still acts when its expression is false again."""

    name: str
    message: Wording
    latched: bool
    active: bool


@dataclass(frozen=True)
class _Hold:
    """An output has to be at `value`, because of a rule."""

    value: Any
    rule: Rule


class Interlocks:
    """Hardware thread only, but for `faults`, which any thread may read.

    Faults that are latched are restored from `store`, and kept there.
    """

    def __init__(
        self,
        rules: Collection[Rule],
        outputs: Mapping[str, Output],
        derived: Mapping[str, Derived],
        emergency: Emergency,
        *,
        clock: Clock,
        bus: Bus,
        store: FaultStore,
    ) -> None:
        self.faults: tuple[Fault, ...] = ()
        self._rules = tuple(rules)
        self._outputs = outputs
        self._derived = derived
        self._emergency = emergency
        self._clock = clock
        self._bus = bus
        self._store = store
        self._holds: dict[str, _Hold] = {}
        latching = {rule.name for rule in rules if isinstance(rule, When) and rule.latch}
        self._latched = latching & set(store.recall(_KEY) or [])
        self._true_since: dict[str, float] = {}  # when the condition of a rule became true
        self._off_at: dict[str, float] = {}  # when an output of a mutex went off
        self._on: set[str] = set()  # outputs of mutexes
        self._retries: dict[str, tuple[float, Any]] = {}  # when an output is forced again, to what
        self._locks: dict[str, Any] = {}
        self._due: float | None = None
        self._settled: tuple[State | None, str | None] = None, None  # with what, the last time

    def settle(self, snapshot: State) -> set[str]:
        """Force outputs to what rules demand; the devices whose state may have changed.

        With the same snapshot as before (none ever changes) there is nothing to do until `due`.
        """
        now, why = self._clock.now(), self._emergency.why
        due, (settled, with_why) = self.due(), self._settled
        if settled is snapshot and with_why == why and (due is None or now < due):
            return set()
        self._settled = snapshot, why
        readings = Readings(snapshot)
        self._due = None
        self._track_mutexes(readings, now)
        before, self._holds = self._holds, self._demands(readings, now)
        for name in before.keys() - self._holds.keys():
            self._release(name)
        locks = self._locks
        self._locks = {name: (self.lock(name), self.holds(name)) for name in self._outputs}
        touched = {name for name, lock in self._locks.items() if lock != locks.get(name)}
        for name, hold in self._holds.items():
            # An emergency stop comes first: during it, what is held is held safe.
            value = hold.value if self._emergency.why is None else self._outputs[name].safe
            if readings.target(name) == value:
                self._retries.pop(name, None)
                continue
            at, last = self._retries.get(name, (now, value))
            # Nothing delays safe; rules that set off each other switch on no more than every 0.5 s.
            if at <= now or (last != value and self._outputs[name].is_safe(value)):
                self._force(name, value, hold.rule.name)
                touched.add(name)
        return touched

    def due(self) -> float | None:
        """When to settle although nothing has changed."""
        return earliest(self._due, *(at for at, _ in self._retries.values()))

    def lock(self, device: str) -> Any:
        """Why an output cannot be commanded freely, in all languages; None when it can."""
        hold = self._holds.get(device)
        if hold is not None:
            return hold.rule.message.words
        for mutex in self._mutexes(device):
            if self._refusal(mutex, device) is not None:
                return mutex.message.words
        return None

    def holds(self, device: str) -> bool:
        """Whether a rule keeps an output at a value, so that no command can change it."""
        return device in self._holds

    def permit(self, device: str, value: Any, snapshot: State) -> None:
        """Interlocked when an output must not be `value` now, or would be forced at once."""
        hold = self._holds.get(device)
        if hold is not None and hold.value != value:
            raise self._interlocked(device, hold.rule)
        if not self._outputs[device].is_safe(value):
            for mutex in self._mutexes(device):
                if (why := self._refusal(mutex, device)) is not None:
                    raise Interlocked(why)
        supposed = self._suppose(device, value, snapshot)
        readings = Readings({**snapshot, **supposed})
        for rule in self._rules:
            if isinstance(rule, Mutex) or not rule.expression.names & supposed.keys():
                continue
            if isinstance(rule, When) and rule.for_time:
                continue
            if self._demand(rule).get(device, value) != value and _acts(rule, readings):
                raise self._interlocked(device, rule)

    def _interlocked(self, device: str, rule: Rule) -> Interlocked:
        label = self._outputs[device].called
        return Interlocked(Message("error.interlock", device=label, why=rule.message))

    def _suppose(self, device: str, value: Any, snapshot: State) -> dict[str, Mapping[str, Any]]:
        """How an output, and what follows from it at once, would be."""
        supposed: dict[str, Mapping[str, Any]] = {device: {**snapshot[device], "value": value}}
        for name, driver in self._derived.items():
            if not driver.remembers and not supposed.keys().isdisjoint(driver.sources):
                follows = driver.suppose({**snapshot, **supposed})
                supposed[name] = {**snapshot[name], "value": follows}
        return supposed

    def clear(self, snapshot: State) -> list[str]:
        """End the latched faults that are over; the names of those that are not.

        While a value is missing, nobody knows that one is over.
        """
        readings = Readings(snapshot)
        over = set()
        for rule in self._rules:
            if isinstance(rule, When) and rule.name in self._latched:
                truth = rule.expression.evaluate(readings)
                if truth is not None and not truth:
                    over.add(rule.name)
        if over:
            self._latched -= over
            self._settled = None, None
            self._store.remember_soon(_KEY, sorted(self._latched))
        return sorted(self._latched)

    # ------------------------------------------------------------------ what rules demand

    def _demands(self, readings: Readings, now: float) -> dict[str, _Hold]:
        """What each output is held at; of several demands the safe one, else the first."""
        holds: dict[str, _Hold] = {}
        faults = []
        latched = set(self._latched)
        patient = replace(readings, patient=True)  # no sensor that warms up latches
        for rule in self._rules:
            acts = self._acts_now(rule, readings, now)
            if isinstance(rule, When):
                if acts and rule.latch and _acts(rule, patient):
                    self._latched.add(rule.name)
                is_latched = rule.name in self._latched
                if acts or is_latched:
                    faults.append(Fault(rule.name, rule.message, is_latched, acts))
                acts = acts or is_latched
            for name, value in self._demand(rule).items() if acts else ():
                if name not in holds or self._outputs[name].is_safe(value):
                    holds[name] = _Hold(value, rule)
        if latched != self._latched:
            self._store.remember_soon(_KEY, sorted(self._latched))
        self._report(tuple(faults))
        return holds

    def _demand(self, rule: Rule) -> Mapping[str, Any]:
        """The values that a rule demands of outputs while it acts."""
        if isinstance(rule, When):
            return rule.force
        names = self._on.intersection(rule.devices) if isinstance(rule, Mutex) else rule.devices
        return {name: self._outputs[name].safe for name in names}

    def _acts_now(self, rule: Rule, readings: Readings, now: float) -> bool:
        if isinstance(rule, Mutex):
            return len(self._on.intersection(rule.devices)) > 1
        if isinstance(rule, Require):
            return _acts(rule, readings)
        if not _acts(rule, readings):
            self._true_since.pop(rule.name, None)
            return False
        end = self._true_since.setdefault(rule.name, now) + rule.for_time
        self._wake_at(end, now)
        return end <= now

    def _wake_at(self, time: float, now: float) -> None:
        if time > now:
            self._due = earliest(self._due, time)

    def _force(self, name: str, value: Any, rule: str) -> None:
        known = name in self._retries
        self._retries[name] = self._clock.now() + _RETRY, value  # unless it is seen at the value
        try:
            self._outputs[name].force(value)
        except Exception:
            if not known:
                log.critical("'%s' cannot be held by '%s'", name, rule, exc_info=True)

    def _release(self, name: str) -> None:
        self._retries.pop(name, None)
        try:
            self._outputs[name].release()
        except Exception:
            log.exception("nobody knows how '%s' is after an interlock", name)

    def _report(self, faults: tuple[Fault, ...]) -> None:
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

    def _track_mutexes(self, readings: Readings, now: float) -> None:
        for rule in self._rules:
            if not isinstance(rule, Mutex):
                continue
            for name in rule.devices:
                value = readings.target(name)
                if value is None:  # nobody knows: as before
                    continue
                if not self._outputs[name].is_safe(value):
                    self._on.add(name)
                elif name in self._on:
                    self._on.discard(name)
                    self._off_at[name] = now
                if name not in self._on:
                    self._wake_at(self._ends_waiting(name, rule), now)

    def _ends_waiting(self, name: str, rule: Mutex) -> float:
        """When another output may be on after this one."""
        return self._off_at.get(name, float("-inf")) + rule.wait

    def _refusal(self, rule: Mutex, device: str) -> Message | None:
        now, label = self._clock.now(), self._outputs[device].called
        for other in rule.devices:
            if other == device:
                continue
            first, why = self._outputs[other].called, rule.message
            if other in self._on:
                words = [self._outputs[name].words for name in (device, other)]
                if not any(words):
                    return Message("error.not-together", device=label, other=first, why=why)
                on, first_on = (each.on if each else Message("page.on") for each in words)
                return Message(
                    "error.not-together-words",
                    device=label,
                    state=on,
                    other=first,
                    other_state=first_on,
                    why=why,
                )
            left = self._ends_waiting(other, rule) - now
            if left > 0:
                seconds = f"{left:.1f}"
                return Message(
                    "error.wait-after", device=label, seconds=seconds, other=first, why=why
                )
        return None

    def _mutexes(self, device: str) -> Iterator[Mutex]:
        return (r for r in self._rules if isinstance(r, Mutex) and device in r.devices)


def _acts(rule: Require | When, readings: Readings) -> bool:
    """Whether the expression makes a rule act; a missing value is no permission, and no fault."""
    truth = bool(rule.expression.evaluate(readings))
    return not truth if isinstance(rule, Require) else truth
