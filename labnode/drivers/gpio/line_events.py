"""Edges of pins as the kernel has stamped and numbered them, read in batches on an io thread."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from labnode.drivers.framework.input import Input
from labnode.drivers.framework.io_thread import IoLoop
from labnode.drivers.framework.services import Services
from labnode.drivers.gpio.digital_input import bounce_warnings
from labnode.drivers.gpio.gpiochips import EVENT, MOST_EVENTS, LineRequest
from labnode.drivers.gpio.pin import Pin
from labnode.errors import DeviceError
from labnode.locale import Message, Wording
from labnode.schema import Doc, Duration

log = logging.getLogger(__name__)

_GATHER = 0.01  # seconds between two reads: 100 a second, however many edges there are
_FLOOD = 20_000  # edges in a second: with more, the kernel is asked to look away for a while
_PAUSE = 1.0  # seconds


class Edges(Protocol):
    """Whoever wants the edges."""

    def take(self, data: bytes, now: float) -> int:
        """Take a batch of events (io thread); how many edges they stand for, with lost ones."""

    def restarted(self) -> None:
        """The next event has the number 1 (io thread)."""

    def failed(self, error: Exception) -> None:
        """No further event will come (hardware thread)."""


class EdgeReader:
    """Reads the events of a request on the thread `io-NAME` and hands them over in batches.

    After more than 20,000 edges in a second the request is given back for a second, `paused`
    meanwhile.
    """

    def __init__(self, name: str, services: Services, request: LineRequest, edges: Edges) -> None:
        self.paused = False  # any thread
        self._clock = services.clock
        self._services = services
        self._request = request
        self._edges = edges
        self._io = IoLoop(name, services, self._loop)
        self._descriptor: int | None = services.pins.line_events(request)
        self._io.start()

    def stop(self) -> None:
        """End it and give the lines back (hardware thread)."""
        self._io.stop()

    def _loop(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - the driver shows it
            failure = error
            self._io.post(lambda: self._edges.failed(failure))
        finally:
            self._release()

    def _read(self) -> None:
        second, number = self._clock.now(), 0
        while not self._io.stopping:
            assert self._descriptor is not None
            ready, _ = self._io.wait(reading=[self._descriptor])
            if not ready:
                continue
            data = os.read(self._descriptor, MOST_EVENTS * EVENT.size)
            if not data:
                raise DeviceError("the GPIO chip is gone")
            now = self._clock.now()
            if now - second >= 1.0:
                second, number = now, 0
            number += self._edges.take(data, now)
            if number > _FLOOD:
                self._look_away()
                second, number = self._clock.now(), 0
            else:
                self._io.wait(_GATHER)

    def _look_away(self) -> None:
        """Let the processor rest: each edge is an interrupt of the kernel, read or not."""
        self._release()
        self.paused = True
        self._io.post(self._services.publish)
        self._io.wait(_PAUSE)
        self._edges.restarted()
        self._descriptor = self._services.pins.line_events(self._request)
        self.paused = False
        self._io.post(self._services.publish)

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@dataclass(kw_only=True)
class LineEventInput(Input):
    """An input whose pins' edges are stamped by the kernel.

    A subclass has `request`, and `take` and `restarted` for its `EdgeReader`. In a simulation there
    is no reader: the value is what `simulate` says.
    """

    pull_up: Annotated[
        bool | None,
        Doc("Whether the pin is pulled up (true), pulled down (false) or floats (null)."),
    ] = False
    bounce_time: Annotated[
        Duration | None, Doc("Shorter changes are ignored; by default every edge counts.")
    ] = None

    def warnings(self) -> list[str | Wording]:
        return [*super().warnings(), *bounce_warnings(self.bounce_time)]

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._reader: EdgeReader | None = None
        self._failure: str | None = None

    @abstractmethod
    def request(self) -> LineRequest:
        """Which edges it needs."""

    @abstractmethod
    def take(self, data: bytes, now: float) -> int:
        """See Edges."""

    @abstractmethod
    def restarted(self) -> None:
        """See Edges; called by `open`, too."""

    def open(self) -> None:
        self._failure = None
        self.restarted()
        if not self.services.simulated:
            self._reader = EdgeReader(self.name, self.services, self.request(), self)
        self.opened()

    def close(self) -> None:
        reader, self._reader = self._reader, None
        try:
            if reader is not None:
                reader.stop()
        finally:
            super().close()

    def state(self) -> dict[str, Any]:
        paused = self._reader is not None and self._reader.paused
        error = {} if self._failure is None else {"error": self._failure}
        return {**super().state(), **({"edges_paused": True} if paused else {}), **error}

    def failed(self, error: Exception) -> None:
        self._failure = " ".join(str(error).split()) or type(error).__name__
        log.warning("device %s cannot be read: %s", self.name, self._failure)
        self.services.publish()

    def _check_pull(self, *pins: Pin) -> None:
        for pin in pins:
            if pin.fixed_pull_up and self.pull_up is not True:
                raise ValueError(Message("driver.pulled-up", pin=pin.name))
