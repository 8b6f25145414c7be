"""Sensors whose reading takes longer than the hardware thread can wait: an io thread reads them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any

from labnode.drivers.io import IoThread
from labnode.drivers.sensor import Sensor
from labnode.schema import Between, Duration

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class SlowSensor(Sensor):
    """A subclass has `read`, which runs on the io thread, takes its time and does not touch `self`
    but for its options and what it alone uses.

    While it cannot be read its state has an "error"; its value stays and gets old.
    """

    sample_every: Annotated[Duration, Between(0.05)] = 2.0

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._io: IoThread | None = None
        self._trouble: str | None = None

    def open(self) -> None:
        """To be called at the end of a subclass's own."""
        self._trouble = None
        if not self.services.simulated:
            self._io = IoThread(self.name, self.services)
            self._io.repeat(self.sample_every, self.read, self._took, self._missed)
            self._io.start()
        self.opened()

    def opened(self) -> None:
        super().opened()
        if self._io is not None:
            self._next = None  # it is not the hardware thread that reads

    def close(self) -> None:
        io, self._io = self._io, None
        try:
            if io is not None:
                self.interrupt()
                io.stop()
        finally:
            super().close()

    def interrupt(self) -> None:
        """End the reading that may be under way (hardware thread, before the io thread stops)."""

    def state(self) -> dict[str, Any]:
        error = {} if self._trouble is None else {"error": self._trouble}
        return {**super().state(), **error}

    def _took(self, value: Any) -> None:
        if value is not None:
            self._trouble = None
            self.arrived(value)
        self.services.publish()

    def _missed(self, error: Exception) -> None:
        told, self._trouble = self._trouble, " ".join(str(error).split()) or type(error).__name__
        if self._trouble != told:  # once, not with every reading
            log.warning("device %s cannot be read: %s", self.name, self._trouble)
        self.services.publish()
