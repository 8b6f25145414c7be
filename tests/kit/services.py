"""What a driver gets of its board, where a test has only the driver."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any

from labnode.clock import Clock
from tests.kit.waiting import PATIENCE


class Thread:
    """A board's services, and the test's own thread as its hardware thread."""

    pins = None

    def __init__(self, *, simulated: bool) -> None:
        self.simulated = simulated
        self.clock = Clock()
        self.published = 0
        self.stopping = False
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.post = self._posted.put

    def publish(self) -> None:
        self.published += 1

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        end = time.monotonic() + seconds
        while not self.stopping and not (until and until()):
            try:
                self._posted.get(timeout=max(0.0, end - time.monotonic()))()
            except queue.Empty:
                return True
        return not self.stopping

    def until(self, happens: Callable[[], Any], what: str = "") -> None:
        """Serve what is posted until `happens()`."""
        end = time.monotonic() + PATIENCE
        while not happens():
            assert time.monotonic() < end, f"it never came true: {what}"
            self.wait(0.002, happens)
