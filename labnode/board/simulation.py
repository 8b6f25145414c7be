"""A board without hardware: inputs follow outputs, and a lab's own drivers touch nothing."""

from __future__ import annotations

import copy
import logging
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from labnode.clock import Clock
from labnode.drivers.framework.commands import Command, commands_of
from labnode.drivers.framework.driver import Conversing, Driver, Lendable, Programmable
from labnode.drivers.framework.expressions import Expression
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import Readings
from labnode.drivers.framework.services import Counting

log = logging.getLogger(__name__)

_TICK = 0.2  # seconds between two steps of what moves
_NEAR = 1e-3  # of the target: what is as near as this has arrived


@dataclass(frozen=True)
class Link:
    """What drives a simulated input: an expression, followed with a first-order `lag` (seconds).

    `noise` is the standard deviation of what is added, `start` the value that a lag begins with.
    """

    value: Expression
    lag: float = 0.0
    noise: float = 0.0
    start: float | None = None

    @property
    def moves(self) -> bool:
        """Whether it changes while its expression stays the same."""
        return bool(self.lag or self.noise)


class MockBoard(Protocol):
    """A board, as far as its simulation needs it."""

    @property
    def snapshot(self) -> Mapping[str, Mapping[str, Any]]: ...

    def drive_input(self, name: str, value: Any) -> None:
        """Make the mock hardware of an input show `value`."""


class Simulation:
    """Drives the mock hardware of inputs: by their `links`, in order, or by hand.

    Hardware thread only.
    """

    def __init__(self, links: Mapping[str, Link], board: MockBoard, clock: Clock) -> None:
        self._links = links
        self._board = board
        self._clock = clock
        self._random = random.Random(0)
        self._driven: dict[str, Any] = {}
        self._positions: dict[str, float] = {}  # of what moves
        self._by_hand: set[str] = set()  # what stays where it was driven
        self._dead: set[str] = set()  # what cannot be read until it is driven again
        self._moved_at = 0.0
        self._due: float | None = None
        self._followed: Mapping[str, Any] | None = None  # the snapshot that inputs have followed
        self._shown: dict[str, Any] = {}  # what each input was driven to the last time

    def drive(self, name: str, value: Any) -> None:
        """Make the input `name` show `value` until its link has something new to say.

        With None it cannot be read any more, whatever its link says, until this is called again.
        """
        self._by_hand.add(name)
        self._dead.discard(name)
        self._positions.pop(name, None)
        lags = name in self._links and self._links[name].lag
        if lags and isinstance(value, int | float) and math.isfinite(value):
            self._positions[name] = float(value)
        self._show(name, value)
        if value is None:
            self._dead.add(name)
        self._followed = None
        self.settle()

    def settle(self) -> None:
        """Drive every linked input to what its expression says now.

        An input keeps its value while its expression is missing one or says the same as before:
        what was driven by hand in between stays.
        """
        if self._followed is self._board.snapshot:
            return
        self._followed = self._board.snapshot
        for name, link in self._links.items():
            value = link.value.evaluate(Readings(self._board.snapshot))
            if value is None or name in self._dead or self._driven.get(name) == value:
                continue
            self._driven[name] = value
            self._by_hand.discard(name)
            if link.moves:
                self._positions.setdefault(name, value if link.start is None else link.start)
                self._wake()
            else:
                self._show(name, value)

    def show_again(self, names: Iterable[str]) -> None:
        """Some devices were reset: inputs that count from 0 then are where they were driven to."""
        for name in names:
            if self._shown.get(name) is not None:
                self._show(name, self._shown[name])

    def _show(self, name: str, value: Any) -> None:
        self._shown[name] = value
        self._board.drive_input(name, value)

    def move(self) -> float | None:
        """Move inputs that have a lag or noise; when to call this again."""
        now = self._clock.now()
        if self._due is None or self._due > now:
            return self._due
        passed, self._moved_at, self._due = now - self._moved_at, now, None
        for name, link in self._links.items():
            if name in self._by_hand or name not in self._positions:
                continue
            target, position = float(self._driven[name]), self._positions[name]
            part = 1 - math.exp(-passed / link.lag) if link.lag else 1.0
            self._positions[name] = position = position + (target - position) * part
            self._show(name, position + self._random.gauss(0, link.noise))
            if link.noise or abs(target - position) > _NEAR * max(1.0, abs(target)):
                self._due = now + _TICK
        return self._due

    def restart(self) -> None:
        """Forget what was driven: the hardware has just been opened."""
        self._driven.clear()
        self._positions.clear()
        self._by_hand.clear()
        self._dead.clear()
        self._shown.clear()
        self._due = self._followed = None
        self.settle()
        self.move()

    def _wake(self) -> None:
        if self._due is None:
            self._moved_at = self._clock.now()
            self._due = self._moved_at


# ---------------------------------------------------------------------- a lab's own drivers

# What a lab's own driver may do on any machine: reading a board file does it, too.
_PURE = {
    "accept",
    "boot_config",
    "check",
    "claims",
    "is_safe",
    "mistakes",
    "rest_level",
    "warnings",
}
_ASKED_OF_SOME = {
    name
    for protocol in (Conversing, Counting, Lendable, Programmable)
    for name, member in vars(protocol).items()
    if callable(member) and not name.startswith("_")
} | {"simulate"}


def without_hardware(name: str, driver: Driver) -> Driver:
    """The driver of a simulated board's device `name`: a stand-in where it might reach hardware.

    labnode's own drivers, and those of labs that say `simulates = True`, stay as they are. A
    stand-in holds values as its base in labnode does. Of the lab's own methods it runs only those
    that `labnode check` runs as well.
    """
    own = type(driver)
    theirs = [cls for cls in own.__mro__ if not _is_ours(cls) and issubclass(cls, Driver)]
    harmless = _harmless(own) if theirs and not own.simulates else {}
    if not harmless:
        return driver
    log.warning("%s: its driver has no simulation, so a stand-in holds its values.", name)
    kind = _Holding if _of_labnode(own, "value") is vars(Driver)["value"] else _StandIn
    stand_in = copy.copy(driver)
    stand_in.__class__ = type(own.__name__, (kind, type(own.__name__, (own,), harmless)), {})
    return stand_in


class _StandIn(Driver):
    def state(self) -> dict[str, Any]:
        return {**super().state(), "stand_in": True}


class _Holding(_StandIn):
    """Holds the value of what has none in labnode."""

    def open(self) -> None:
        self._held = getattr(self, "safe", None)
        self.opened()

    def reset(self) -> None:
        self._held = getattr(self, "safe", None)
        super().reset()

    def drive(self, value: Any) -> None:
        self._held = value

    @property
    def value(self) -> Any:
        return self._held


def _harmless(own: type[Driver]) -> dict[str, Any]:
    """What takes the place of the methods of a lab's driver that could reach hardware."""
    found: dict[str, Any] = {}
    ours = commands_of(next(cls for cls in own.__mro__ if _is_ours(cls)))
    for name in {n for cls in own.__mro__ if not _is_ours(cls) for n in vars(cls)} - _PURE:
        mine = next(vars(cls)[name] for cls in own.__mro__ if name in vars(cls))
        if name.startswith("__") or not (callable(mine) or hasattr(mine, "__get__")):
            continue  # a value, such as an option's default
        base = _of_labnode(own, name)
        spec = own.commands.get(name)
        if spec is not None and spec != ours.get(name):
            found[name] = _held_command(spec)
        elif base is not None and not getattr(base, "__isabstractmethod__", False):
            found[name] = base
        elif name in _ASKED_OF_SOME:
            found[name] = _not_run(name)
    return found


def _held_command(spec: Command) -> Callable[..., None]:
    """A command of a stand-in: `set` holds its value, another one is only logged."""
    if spec.name != "set" or len(spec.parameters) != 1:
        return _not_run(spec.name)
    (parameter,) = spec.parameters

    def hold(self: Any, **arguments: Any) -> None:
        put = self.put if isinstance(self, Output) else self.drive
        put(arguments[parameter.name])

    return hold


def _not_run(name: str) -> Callable[..., None]:
    def log_it(self: Driver, *_args: Any, **_arguments: Any) -> None:
        log.info("Simulated, so not run: %s.%s", self.name, name)

    return log_it


def _of_labnode(own: type, name: str) -> Any:
    """What labnode's classes among the bases have under a name; None: nothing."""
    return next((vars(c)[name] for c in own.__mro__ if _is_ours(c) and name in vars(c)), None)


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in ("labnode", "builtins", "typing", "abc")
