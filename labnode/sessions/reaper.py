"""The reaper: the thread that ends sessions and brings every one of them to its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from labnode.clock import Clock

log = logging.getLogger(__name__)

_HUNG_AFTER = 60.0  # seconds; a turn may wait for the database, which has 20 s


class Reaper:
    """Calls `step` whenever it is woken and whenever the seconds that it returned are over."""

    def __init__(self, step: Callable[[], float | None], clock: Clock) -> None:
        self._step = step
        self._clock = clock
        self._wake = clock.event()
        self._turn_began: float | None = None
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

    def fault(self) -> str | None:
        """Why sessions come to no end any more, or None; any thread may ask."""
        if not self.alive:
            return "the reaper has died"
        began = self._turn_began
        if began is not None and self._clock.now() - began > _HUNG_AFTER:
            return f"the reaper had no end of its turn for {_HUNG_AFTER:g} s"
        return None

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._turn_began = self._clock.now()
            try:
                pause = self._step()
            except Exception:
                log.exception("A turn of the reaper failed.")
                pause = 1.0
            self._turn_began = None
            if not self._stopping:
                self._wake.wait(pause)
