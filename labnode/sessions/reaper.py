"""The reaper: the thread that ends sessions and brings every one of them to its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from labnode.clock import Clock

log = logging.getLogger(__name__)


class Reaper:
    """Calls `step` whenever it is woken and whenever the seconds that it returned are over."""

    def __init__(self, step: Callable[[], float | None], clock: Clock) -> None:
        self._step = step
        self._wake = clock.event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something has changed: look again."""
        self._wake.set()

    def stop(self, timeout: float) -> bool:
        """End the thread; False when it did not end in time."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                pause = self._step()
            except Exception:
                log.exception("A turn of the reaper failed.")
                pause = 1.0
            if not self._stopping:
                self._wake.wait(pause)
