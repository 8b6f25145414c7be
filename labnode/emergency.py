"""What is left to do when a thread does not come back: outputs safe, and it is said which."""

from __future__ import annotations

import logging
import threading
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


def tell_what_runs_on(hardware: int | None) -> None:
    """Log which thread did not end; `hardware` is the identity of the hardware thread."""
    if any(thread.ident == hardware for thread in threading.enumerate()):
        log.critical("The hardware thread did not stop; its devices are made safe from here.")
    else:
        log.critical("A task in the background did not stop; the process ends without it.")
