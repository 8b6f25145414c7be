"""A board without hardware: outputs linked to inputs, as if there were wires between them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from labnode.board.config.expressions import Expression, Readings
from labnode.clock import Clock

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


def in_order(links: Mapping[str, Link]) -> dict[str, Link]:
    """The links, each after those whose inputs it reads; ValueError when they form a circle.

    A link with a lag follows values that were there before, so it may be part of a circle.
    """
    ordered: dict[str, Link] = {}

    def add(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " -> ".join((*way[way.index(name) :], name))
            raise ValueError(f"the links go in a circle: {circle}")
        if name in links and name not in ordered:
            for source in sorted(links[name].value.names) if not links[name].lag else ():
                add(source, (*way, name))
            ordered[name] = links[name]

    for name in links:
        add(name, ())
    return ordered


class MockBoard(Protocol):
    """A board, as far as its simulation needs it."""

    @property
    def snapshot(self) -> Mapping[str, Mapping[str, Any]]: ...

    def drive_input(self, name: str, value: Any) -> None:
        """Make the mock hardware of an input show `value`."""


class Simulation:
    """Drives the mock hardware of inputs: by their links, or by hand. Hardware thread only."""

    def __init__(self, links: Mapping[str, Link], board: MockBoard, clock: Clock) -> None:
        self._links = in_order(links)
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
        self._board.drive_input(name, value)
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
            self._board.drive_input(name, position + self._random.gauss(0, link.noise))
            if link.noise or abs(target - position) > _NEAR * max(1.0, abs(target)):
                self._due = now + _TICK
        return self._due

    def restart(self) -> None:
        """Forget what was driven: the hardware has just been opened."""
        self._driven.clear()
        self._positions.clear()
        self._by_hand.clear()
        self._dead.clear()
        self._due = self._followed = None
        self.settle()
        self.move()

    def _wake(self) -> None:
        if self._due is None:
            self._moved_at = self._clock.now()
            self._due = self._moved_at
