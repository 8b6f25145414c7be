"""The safety watch, and what is left to do when a thread does not come back."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from typing import NoReturn, Protocol

from labnode.board import Board
from labnode.clock import Clock, Event, Turn

log = logging.getLogger(__name__)

_CHECK_EVERY = 0.25  # seconds; the shortest limit that a node enforces is a second
_HUNG_AFTER = 10.0  # seconds; giving up takes less


class HardwareOwner(Protocol):
    """The process that owns the hardware."""

    def fault(self) -> str | None:
        """Why the process must not go on owning the hardware, or None; waits for nobody."""

    def give_up(self, why: str) -> NoReturn:
        """Make the outputs safe and end the process."""


class SafetyWatch:
    """Makes the owner give up as soon as it has a fault, from `start` to `stop`.

    A thread of its own ("safety") checks four times a second and does nothing else: no network and
    no disk can keep it from noticing that an output is on for too long.
    """

    def __init__(self, owner: HardwareOwner, clock: Clock) -> None:
        self._owner = owner
        self._stop = clock.event()
        self._running = False
        self._busy = Turn(clock, "safety", _HUNG_AFTER)
        self._thread = threading.Thread(target=self._run, name="safety", daemon=True)

    def start(self) -> None:
        self._running = True
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread; False when it did not end in time."""
        self._running = False
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def fault(self) -> str | None:
        """Why the watch does not work any more, or None; any thread may ask."""
        if not self._running:
            return None
        return self._busy.fault() if self._thread.is_alive() else "the safety watch has died"

    def turn(self) -> None:
        """Check once."""
        with self._busy:
            if (fault := self._owner.fault()) is not None:
                self._owner.give_up(fault)

    def _run(self) -> None:
        try:
            while not self._stop.wait(_CHECK_EVERY):
                self.turn()
        except Exception:  # noqa: BLE001 - above all for lack of memory: so it takes none here
            self._owner.give_up("the safety watch has failed")


def make_safe(board: Board, seconds: float) -> None:
    """Drive the outputs to safe without the hardware thread, which may be stuck; log failures."""
    failures: list[str] = []

    def attempt() -> None:
        failures.extend(board.make_safe())

    thread = threading.Thread(target=attempt, name="make-safe", daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # no memory for a thread: then without a limit of time
        attempt()
    else:
        thread.join(seconds)
    for failure in ["making devices safe took too long"] if thread.is_alive() else failures:
        log.critical("Not safe: %s.", failure)


def limit_stop(owner: HardwareOwner, stop: Event, stopped: threading.Event, seconds: float) -> None:
    """Make `owner` give up if it has not `stopped` this many seconds after `stop` is set."""

    def watch() -> None:
        stop.wait()
        if not stopped.wait(seconds):
            owner.give_up(f"it did not stop within {seconds:g} s")

    threading.Thread(target=watch, name="stop-limit", daemon=True).start()


def log_unfinished_thread(hardware: int | None) -> None:
    """Log which thread did not end; `hardware` is the identity of the hardware thread."""
    if any(thread.ident == hardware for thread in threading.enumerate()):
        log.critical("The hardware thread did not stop; its devices are made safe from here.")
    else:
        log.critical("A task in the background did not stop; the process ends without it.")
    log_thread_stacks()


def log_thread_stacks() -> None:
    """Log the stacks of the threads that run a lab's Python."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name.startswith(("hardware", "background")) and thread.ident in frames:
            stack = "".join(traceback.format_stack(frames[thread.ident]))
            log.critical("Thread %s is at\n%s", thread.name, stack)
