"""When devices want to be polled, and the polls that are due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labnode.board.snapshot import Snapshots
from labnode.clock import Clock
from labnode.drivers.base import Driver

_RETRY = 0.25  # seconds until a device that could not be polled is polled again


class Polls:
    """Hardware thread only."""

    def __init__(self, devices: Mapping[str, Driver], snapshots: Snapshots, clock: Clock) -> None:
        self._devices = devices
        self._snapshots = snapshots
        self._clock = clock
        self._not_before: dict[str, float] = {}  # of those that failed

    def run(self, names: Iterable[str]) -> None:
        """Poll those of `names` that are due."""
        now = self._clock.now()
        for name in names:
            due = self.due(name)
            if due is not None and due <= now:
                if self._snapshots.poll(name):
                    self._not_before.pop(name, None)
                else:
                    self._not_before[name] = now + _RETRY
                self._snapshots.read([name])

    def due(self, name: str) -> float | None:
        """When a device is to be polled next."""
        due = self._devices[name].due()
        return None if due is None else max(due, self._not_before.get(name, due))
