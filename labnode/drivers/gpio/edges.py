"""Inputs that follow the edges of their pins, and sample the pins if there are too many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from labnode.clock import earliest
from labnode.drivers.framework.input import Input
from labnode.drivers.framework.services import PendingPost
from labnode.errors import DeviceError

_FLOOD = 1000  # edges in a second: with more, the pins are sampled
_SAMPLE_EVERY = 0.01  # seconds
_SAMPLES = 100  # a second of samples shows whether the pins are calm
_CALM = 10  # samples of these that may differ from the one before


@dataclass(kw_only=True)
class EdgeInput(Input):
    """An input that is read after an edge of one of its pins.

    `open` calls `watch`; the pin library's thread calls `edge`, which posts a reading to the
    hardware thread unless one is pending. After more than 1,000 edges in a second, edge detection
    pauses (`edges_paused` in the state) and the pins are sampled 100 times a second, until at most
    10 samples of a second differ from the one before.
    """

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        # The callbacks of the pins while edge detection is paused.
        self._paused: list[Callable[[Any, Any], None]] = []
        self._sample_at = 0.0

    @property
    def may_pause(self) -> bool:
        """Whether edge detection may pause while there are too many edges."""
        return True

    def watch(self, *pins: Any) -> None:
        """Call this in `open`, before the library calls `edge`."""
        self._pins: Sequence[Any] = pins
        self._turn = PendingPost(self.services, self._changed)
        self._second = self.services.clock.now()
        self._edges = 0

    def edge(self) -> None:
        """A pin has changed (the pin library's thread)."""
        if self._paused:  # `poll` reads
            return
        now = self.services.clock.now()
        if now - self._second >= 1.0:
            self._second, self._edges = now, 0
        self._edges += 1
        self._turn.post()

    def state(self) -> dict[str, Any]:
        return {**super().state(), "edges_paused": True} if self._paused else super().state()

    def due(self) -> float | None:
        return earliest(super().due(), self._sample_at if self._paused else None)

    def poll(self) -> None:
        super().poll()
        if self._paused and self._sample_at <= self.services.clock.now():
            self._sample_at = self.services.clock.now() + _SAMPLE_EVERY
            self._sample_pins()
            self.arrived(self.read())

    def _changed(self) -> None:
        if self.hardware is not None:
            if self._edges > _FLOOD and self.may_pause:
                self._pause()
            with suppress(DeviceError):  # the pin cannot be read, which the state says
                self.arrived(self.read())
            self.services.publish()

    def _pause(self) -> None:
        self._levels = [pin.state for pin in self._pins]
        self._samples = self._changes = self._edges = 0
        self._sample_at = self.services.clock.now() + _SAMPLE_EVERY
        self._paused = [pin.when_changed for pin in self._pins]  # from now on `poll` reads
        for pin in self._pins:
            pin.when_changed = None

    def _sample_pins(self) -> None:
        before, self._levels = self._levels, [pin.state for pin in self._pins]
        self._changes += self._levels != before
        self._samples += 1
        callbacks = self._paused
        if self._samples >= _SAMPLES:  # more when a pin failed
            if self._changes <= _CALM:
                for pin, when_changed in zip(self._pins, callbacks, strict=True):
                    pin.when_changed = when_changed
                self._paused = []
            self._samples = self._changes = 0
        # As if they were edges: gpiozero compares the next edge with the last one that it got, so
        # this comes last, after edge detection may have resumed.
        for pin, when_changed in zip(self._pins, callbacks, strict=True):
            when_changed(self.services.pins.ticks(), pin.state)

    def _forget(self) -> None:
        super()._forget()
        self._paused = []


@dataclass(kw_only=True)
class LevelInput(EdgeInput):
    """An input whose value is the levels of its pins at any time, also of a simulation's pins."""

    @property
    def value(self) -> Any:
        return self.read()

    def _sample(self) -> Any:
        return self.read()
