"""Outputs, which keep their limits whatever commands them: switches, numbers, duty cycles."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from labnode.clock import earliest
from labnode.drivers.framework.commands import a_number, must_be
from labnode.drivers.framework.driver import Driver, Widget, command
from labnode.drivers.framework.readings import ValueType
from labnode.drivers.framework.services import Operator
from labnode.errors import BadInput, Busy, Interlocked, Outdated
from labnode.locale import Joined, Message
from labnode.schema import Between, Doc, Duration

log = logging.getLogger(__name__)

_DEADMAN = 5.0  # seconds, of what has a dead man by default
_SHORTEST = 2.0
_RETRY = 0.25  # seconds until what could not be made safe is tried again
_RESTS = Message("page.rests")


@dataclass(kw_only=True)
class Output(Driver):
    """A device that is driven. A subclass has `drive`, `value`, and commands that call `put`.

    It enforces the limits (`max_on_time` and so on), for which an output counts as *on* whenever it
    is not at its safe value. Going back to safe is never refused and never delayed; if `drive`
    raises an exception, it is driven to safe again and again until that works.
    """

    moves: ClassVar[bool] = False  # a motor: it has a dead man by default
    operates: ClassVar[bool] = False  # it commands other outputs, and is their operator

    safe: Annotated[
        Any, Doc("The value when labnode starts and stops, and before and after every student.")
    ] = None
    initial: Annotated[
        Any, Doc("The value at the start of a session; by default the safe value.")
    ] = None
    pulse: Annotated[
        Duration | None, Doc("The time that it stays on before it goes back to safe by itself.")
    ] = None
    max_on_time: Annotated[
        Duration | None, Doc("The longest time that it may be on before it goes back to safe.")
    ] = None
    deadman: Annotated[
        Literal["never"] | Duration | None,
        Doc(
            "How long its operator may give no sign before it goes back to safe, at least 2 s; by "
            "default 5 s for motors and outputs with max_on_time, else never."
        ),
    ] = None
    min_off_time: Annotated[
        Duration | None, Doc("How long it stays safe before it may be on again.")
    ] = None
    max_per_second: Annotated[
        float | None,
        Between(0.001, 1000),
        Doc("The most commands per second; going back to safe is always possible."),
    ] = None

    def __post_init__(self) -> None:
        for name in ("pulse", "max_on_time"):
            if getattr(self, name) == 0:
                raise ValueError(Message("driver.longer-than-0", name=name))
        if isinstance(self.deadman, float) and self.deadman < _SHORTEST:
            raise ValueError(Message("driver.deadman", shortest=f"{_SHORTEST:g}"))

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._on_since: float | None = None
        self._off_since = float("-inf")
        self._resting = False
        self._operator: Operator | None = None  # who has switched it on
        self._operated_at = float("-inf")
        self._unheard = False  # it went to safe because the operator was no longer heard
        self._void_before = float("-inf")  # what was asked for earlier is void: it went to safe
        self._retry_at: float | None = None  # when it is tried again to make it safe
        self._error: str | None = None
        self._credit = 0.0  # full at the first command: the last one was long ago
        self._credited_at = float("-inf")

    @property
    def owns(self) -> Collection[str]:
        """The outputs that only this one may command, except to safe."""
        return ()

    # ------------------------------------------------------------------ what a subclass writes

    @abstractmethod
    def drive(self, value: Any) -> None:
        """Bring the hardware to `value`, which has been checked (any thread; without waiting)."""

    def check(self, where: str, value: Any) -> Any:  # noqa: ARG002
        """The value, perhaps rounded, as `drive` gets it; BadInput (f"{where}: ...") if wrong."""
        return value

    def accept(self, where: str, value: Any) -> Any:
        """A value as a board file writes it, for `drive`; BadInput when it cannot be one."""
        (given,) = self.commands["set"].bind(where, [value]).values()
        return self._within_limits(where, given)

    # ------------------------------------------------------------------ numbers

    @property
    def least(self) -> float:
        """The lowest number that commands may set: the option `min` of a driver that has it."""
        return _number(getattr(self, "min", None), -math.inf)

    @property
    def most(self) -> float:
        """The highest number that commands may set: the option `max` of a driver that has it."""
        return _number(getattr(self, "max", None), math.inf)

    def _within_limits(self, where: str, value: Any) -> Any:
        """What `check` makes of a value; BadInput for a number outside of min, max and step."""
        checked = self.check(where, value)
        given = value if _is_number(value) else checked  # `check` may round what is allowed
        if _is_number(given) and not self._allowed(given):
            raise BadInput(Joined(f"{where}: ", must_be("'value'", self._values(), f"{given:g}")))
        return checked

    def _allowed(self, value: float) -> bool:
        if self.is_safe(value):
            return True
        if not self.least <= value <= self.most:
            return False
        step = _number(getattr(self, "step", None), 0.0)
        begin = self.least if math.isfinite(self.least) else 0.0
        steps = (value - begin) / step if step else 0.0
        return abs(steps - round(steps)) < 1e-6

    def _values(self) -> Message:
        """Which numbers are allowed."""
        return a_number(self.least, self.most, _number(getattr(self, "step", None), 0.0))

    def _check_numbers(self) -> None:
        """ValueError unless min is less than max, and `initial` allowed."""
        if self.least >= self.most:
            raise ValueError(Message("driver.min-max", min=f"{self.least:g}", max=f"{self.most:g}"))
        if self.initial is not None and not self._allowed(self.initial):
            initial = f"{self.initial:g}"
            raise ValueError(Message("driver.not-among", value=initial, allowed=self._values()))

    # ------------------------------------------------------------------ driving the hardware

    @property
    def target(self) -> Any:
        """What it is driven to, by which limits and interlocks judge it: by default its value.

        What takes its time to get there has it in its state as "target".
        """
        return self.value

    def put(self, value: Any, where: str = "set") -> None:
        """Drive the output to `value` if limits and interlocks allow it; each command ends here.

        `where` is the command's name, for the sentence of an error. BadInput if this device cannot
        have the value; Interlocked or Busy if it cannot have it now; Outdated if it has gone to
        safe since the command was sent. What `drive` raises reaches the caller.
        """
        value = self._within_limits(f"{self.name}.{where}", value)
        now = self.services.clock.now()
        self.services.permit(value)
        if not self.is_safe(value):
            self._check_asked()
            self._check_limits(now)
            if self.patience is not None or self.operates:
                self._note_operator(now)
        self._unheard = False
        self._drive(value, now)

    def _note_operator(self, now: float) -> None:
        operator = self.services.operator()
        if isinstance(operator, Output):  # which is no sign of a person
            if self.patience is not None and operator.heard_until(self.patience) <= now:
                raise Interlocked(Message("error.nobody-heard", device=operator.called))
            now = operator._operated_at
        self._operator, self._operated_at = operator, now

    def force(self, value: Any) -> None:
        """For the board's interlocks: no limit delays it."""
        self._void_before = self.services.clock.now()
        self._drive(value, self._void_before)
        self._on_since = None  # the interlock decides how long, no limit

    def release(self) -> None:
        """No interlock holds it any more: from now on its own limits count."""
        if not self.is_safe(self.target):
            self._on_since = self._operated_at = self.services.clock.now()

    def reset(self) -> None:
        self._operator, self._unheard = None, False
        self.stay_safe()

    def make_safe(self) -> None:
        self.drive(self.safe)

    def stay_safe(self) -> None:  # what does not work is tried again, and it rests
        self._void_before = self.services.clock.now()
        self._drive(self.safe, self._void_before)

    def opened(self) -> None:
        """For `open` to call at its end: nobody knows how long it was off before."""
        self._on_since = None
        self._unheard = False
        self._off_since = self._void_before = self.services.clock.now()
        self._resting = bool(self.min_off_time)

    def is_safe(self, value: Any) -> bool:
        """Whether `value` is the safe value."""
        return bool(value == self.safe)

    # ------------------------------------------------------------------ the dead man

    @property
    def patience(self) -> float | None:
        """How many seconds its operator may be silent while it is on; None: it has no dead man."""
        if self.deadman == "never":
            return None
        default = _DEADMAN if self.moves or self.max_on_time is not None else None
        return default if self.deadman is None else self.deadman

    @property
    def guarded_since(self) -> float | None:
        """Since when it is on and its dead man watches; None while it does not (any thread)."""
        return None if self.patience is None else self._on_since

    def _heard_until(self) -> float | None:
        """When the dead man brings it to safe unless the operator is heard again (any thread)."""
        if self.guarded_since is None or (patience := self.patience) is None:
            return None
        return self.heard_until(patience)

    def heard_until(self, patience: float) -> float:
        """As the operator of outputs that it commands, and of itself: see Operator."""
        until = self._operated_at + patience  # switching it was a sign, too
        operator = self._operator
        return until if operator is None else max(until, operator.heard_until(patience))

    def was_lost(self, device: str) -> None:
        """An output that it commands has gone to safe because nobody was heard."""
        if self._operator is not None:
            self._operator.was_lost(device)

    def _miss_operator(self) -> None:
        log.warning("'%s' goes to safe: nobody was heard for %g s.", self.name, self.patience)
        self._unheard = True
        self.was_lost(self.name)

    # ------------------------------------------------------------------ time

    def due(self) -> float | None:
        if self._on_since is None and not self._resting:
            return None  # most are off most of the time
        ends = self._ends_at()
        if ends is not None and self.guarded_since is not None:  # a new rule may shorten the time
            ends = min(ends, self.services.clock.now() + (self.patience or 0))
        return earliest(ends, self._rested_at())

    def poll(self) -> None:
        """Make it safe if its time is over or nobody is heard, or if that failed the last time."""
        now = self.services.clock.now()
        ends = self._ends_at()
        if ends is not None and ends <= now:
            until = self._heard_until()
            if until is not None and until <= now and not self._unheard:
                self._miss_operator()
            # A click during a pulse begins another one, should it arrive after the pulse.
            since = None if self.pulse is None or self._unheard else self._on_since
            self._void_before = now if since is None else since
            with suppress(Exception):  # it is in the state, and tried again
                self._drive(self.safe, now)
        rested = self._rested_at()
        if rested is not None and rested <= now:
            self._resting = False

    def overdue(self, now: float) -> float:
        """For how many seconds it has been on longer than `max_on_time` (any thread)."""
        since = self._on_since
        return 0.0 if since is None or self.max_on_time is None else now - since - self.max_on_time

    def unheard(self, now: float) -> float:
        """For how many seconds it has been on although its operator is gone (any thread)."""
        until = self._heard_until()
        return 0.0 if until is None else now - until

    def describe(self) -> dict[str, Any]:
        deadman = {} if self.patience is None else {"deadman": self.patience}
        return {**super().describe(), **deadman}

    def state(self) -> dict[str, Any]:
        locked = {"locked": _RESTS.words} if self._resting else {}
        unheard = {"unheard": True} if self._unheard else {}
        error = {"error": self._error} if self._error else {}
        return {**super().state(), **locked, **unheard, **error}

    def _ends_at(self) -> float | None:
        if self._retry_at is not None:
            return self._retry_at
        if self._on_since is None:
            return None
        lasts = earliest(self.pulse, self.max_on_time)
        return earliest(None if lasts is None else self._on_since + lasts, self._heard_until())

    def _rested_at(self) -> float | None:
        return self._off_since + (self.min_off_time or 0) if self._resting else None

    def _check_asked(self) -> None:
        if self.services.asked_at <= self._void_before:
            raise Outdated(Message("error.gone-safe", device=self.called))

    def _check_limits(self, now: float) -> None:
        left = self._off_since + (self.min_off_time or 0) - now
        if self._on_since is None and left > 0:
            raise Busy(
                Message("error.rests", device=self.called, seconds=f"{left:.1f}"),
                retry_after=left,
            )
        if self.max_per_second is not None:
            gained = (now - self._credited_at) * self.max_per_second
            self._credit = min(max(1.0, self.max_per_second), self._credit + gained)
            self._credited_at = now
            if self._credit < 1:
                raise Busy(
                    Message("error.rate", device=self.called, n=f"{self.max_per_second:g}"),
                    retry_after=(1 - self._credit) / self.max_per_second,
                )
            self._credit -= 1

    def _drive(self, value: Any, now: float) -> None:
        try:
            self.drive(value)
        except Exception as error:
            self._on_since = now if self._on_since is None else self._on_since
            self._retry_at = now + _RETRY
            self._error = f"{type(error).__name__}: {error}"
            if not self.is_safe(value):
                self._drive(self.safe, now)  # it may have worked half-way
            raise
        self._retry_at = None
        self._error = None
        if not self.is_safe(value):
            self._on_since = now if self._on_since is None else self._on_since
        elif self._on_since is not None:
            self._on_since, self._off_since = None, now
            self._resting = bool(self.min_off_time)


@dataclass(kw_only=True)
class SwitchOutput(Output):
    """An output that is on or off; a subclass has `drive(value: bool)` and `value`, a bool."""

    widget: ClassVar[Widget] = "switch"

    safe: bool = False
    initial: bool | None = None
    hold: Annotated[
        bool,
        Doc(
            "On while a student holds its button on the page; with a dead man of 2 s, unless "
            "`deadman` says otherwise."
        ),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hold and self.pulse is not None:
            raise ValueError(Message("driver.hold-or-pulse"))

    @property
    def value_type(self) -> ValueType:
        return ValueType(bool)

    @property
    def patience(self) -> float | None:
        default = _SHORTEST if self.hold and self.deadman is None else None
        return default or super().patience

    def describe(self) -> dict[str, Any]:
        pulse = {} if self.pulse is None else {"pulse": self.pulse}
        widget = {"widget": "button"} if pulse or self.hold else {}
        return {**super().describe(), **widget, **pulse}

    @command
    def set(self, value: bool) -> None:
        """Switch it on or off; errors as in Output.put."""
        self.put(value)

    @command
    def on(self) -> None:
        """Switch it on."""
        self.put(True, "on")

    @command
    def off(self) -> None:
        """Switch it off."""
        self.put(False, "off")

    @command
    def toggle(self) -> None:
        """Switch it on if it is off, else off."""
        self.put(not self.value, "toggle")


@dataclass(kw_only=True)
class NumberOutput(Output):
    """An output whose value is a number from `lowest` to `highest`, which the class sets.

    A subclass has `drive(value: float)` and `value`. Commands may set `min` to `max`, with `step`
    only whole steps from `min`, and always `safe`.
    """

    widget: ClassVar[Widget] = "slider"
    lowest = 0.0  # without annotations: not options
    highest = 1.0

    safe: float = 0.0
    initial: float | None = None
    min: Annotated[float | None, Doc("The lowest value that commands may set, besides safe.")] = (
        None
    )
    max: Annotated[float | None, Doc("The highest value that commands may set.")] = None
    step: Annotated[
        float | None, Between(0.000001), Doc("Commands set whole steps of this size, from min.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("safe", "initial", "min", "max"):
            value = getattr(self, name)
            if value is not None and not self.lowest <= value <= self.highest:
                numbers, given = a_number(self.lowest, self.highest), f"{value:g}"
                raise ValueError(Message("error.is", name=name, expected=numbers, value=given))
        self._check_numbers()

    @property
    def value_type(self) -> ValueType:
        return ValueType(float)

    @property
    def least(self) -> float:
        """The lowest number that commands may set, besides safe: `min`, else `lowest`."""
        return self.lowest if self.min is None else self.min

    @property
    def most(self) -> float:
        """The highest number that commands may set: `max`, else `highest`."""
        return self.highest if self.max is None else self.max

    def check(self, where: str, value: Any) -> float:  # noqa: ARG002
        return round(float(value), 6)  # as it is shown: interlocks compare the two

    def describe(self) -> dict[str, Any]:
        step = (self.highest - self.lowest) / 100 if self.step is None else self.step
        return {**super().describe(), "min": self.least, "max": self.most, "step": step}

    def nearest(self, value: float) -> float:
        """The number nearest to `value` that commands may set."""
        if self.step is not None:
            value = self.least + round((value - self.least) / self.step) * self.step
        return min(self.most, max(self.least, value))

    @command
    def set(self, value: float) -> None:
        """Set the number; errors as in Output.put."""
        self.put(value)


@dataclass(kw_only=True)
class DutyCycleOutput(NumberOutput):
    """An output that is on for a part of the time, from 0 to 1; 0 may always be set."""

    @command
    def on(self) -> None:
        self.put(self.most, "on")

    @command
    def off(self) -> None:
        self.put(0.0, "off")

    def _allowed(self, value: float) -> bool:
        return value == 0 or super()._allowed(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _number(value: Any, default: float) -> float:
    return default if value is None else float(value)
