"""What is left to do when a thread does not come back: outputs safe, and who holds what told."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable

log = logging.getLogger(__name__)


def within(seconds: float, make_safe: Callable[[], list[str]]) -> list[str]:
    """What `make_safe` could not make safe, a sentence each; it is not waited for any longer."""
    failures: list[str] = []
    attempt = threading.Thread(
        target=lambda: failures.extend(make_safe()), name="make-safe", daemon=True
    )
    attempt.start()
    attempt.join(seconds)
    return ["making devices safe took too long"] if attempt.is_alive() else failures


def limit(
    begun: Callable[[], object],
    ended: threading.Event,
    seconds: float,
    give_up: Callable[[str], object],
) -> None:
    """Give up when something has not `ended` this many seconds after `begun` returns."""

    def watch() -> None:
        begun()
        if not ended.wait(seconds):
            give_up(f"it did not stop within {seconds:g} s")

    threading.Thread(target=watch, name="stop-limit", daemon=True).start()


def tell_what_runs_on(hardware: int | None) -> None:
    """Log which thread did not end; `hardware` is the identity of the hardware thread."""
    if any(thread.ident == hardware for thread in threading.enumerate()):
        log.critical("The hardware thread did not stop; its devices are made safe from here.")
    else:
        log.critical("A task in the background did not stop; the process ends without it.")
    tell_where_threads_are()


def tell_where_threads_are() -> None:
    """Log what holds the threads that run a lab's Python, for those who have to find out."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name.startswith(("hardware", "background")) and thread.ident in frames:
            stack = "".join(traceback.format_stack(frames[thread.ident]))
            log.critical("Thread %s is at\n%s", thread.name, stack)
