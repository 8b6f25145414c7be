"""The jumper wire: whether it is there, and the level at its end with the time of each edge."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from labnode.clock import Clock
from labnode.drivers.gpio.pin import Pin, header
from labnode.errors import DeviceError
from labnode.locale import Message

_SETTLES = 1.0  # seconds until a level has to be at the other end of the wire
_LOOK_EVERY = 0.02  # seconds


@dataclass(frozen=True)
class Edge:
    """The level that the wire's end has had since `at`, in seconds of the clock."""

    level: bool
    at: float


class Wire:
    """Watches the pin at the wire's end, from its making to `close`; a context manager.

    `pins` is a gpiozero factory that the caller closes. DeviceError when the pin cannot be had.
    """

    def __init__(self, pins: Any, end: Pin, clock: Clock, *, pull: str = "floating") -> None:
        self._clock = clock
        self._changed = clock.event()
        self._pin = pins.pin(end.name)
        self._pin.function = "input"
        self._pin.pull = pull
        self.edges = [Edge(bool(self._pin.state), clock.now())]
        self._pin.when_changed = self._edge

    @property
    def level(self) -> bool:
        return self.edges[-1].level

    def until(self, level: bool, timeout: float) -> float | None:
        """Since when the wire has `level`; None when that did not come within `timeout` s."""
        deadline = self._clock.now() + timeout
        while (edge := self.edges[-1]).level is not level:
            if self._clock.now() >= deadline:
                return None
            if not self._changed.wait(_LOOK_EVERY):
                self._look()
            self._changed.clear()
        return edge.at

    def rose_after(self, at: float) -> bool:
        """Whether it has been high at any time after `at`."""
        return any(edge.level and edge.at > at for edge in list(self.edges))

    def close(self) -> None:
        self._pin.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _look(self) -> None:
        """Notice a change whose edge was lost, as some are while a line is being requested."""
        if (level := bool(self._pin.state)) is not self.level:
            self.edges.append(Edge(level, self._clock.now()))

    def _edge(self, _ticks: float, state: Any) -> None:
        """On the pin library's thread."""
        self.edges.append(Edge(bool(state), self._clock.now()))
        self._changed.set()


def check_wire(pins: Any, out: Pin, end: Pin, clock: Clock) -> None:
    """DeviceError, with the header's pins to join, unless `end` follows `out`; leaves that low."""
    driven = pins.pin(out.name)
    for level in (True, False, True, False):
        driven.output_with_state(level)
        with Wire(pins, end, clock, pull="down" if level else "up") as wire:
            if wire.until(level, _SETTLES) is None:
                first, second = position(out), position(end)
                words = Message(
                    "cli.prove-no-wire", end=end.name, out=out.name, first=first, second=second
                )
                raise DeviceError(words)


def position(pin: Pin) -> int:
    """Where it is on the 40-pin header."""
    return next(number for number, name in header().items() if name == pin.name)
