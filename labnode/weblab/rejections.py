"""Refused requests in the audit log: normally each one, in an attack only some."""

from __future__ import annotations

import threading

from labnode import audit
from labnode.clock import Clock

_WINDOW = 60.0  # seconds
_MOST = 60  # lines in a window: an attack must not fill the SD card
_KINDS = {
    400: "bad-input",
    401: "credentials",
    404: "no-such-address",
    405: "no-such-method",
    413: "too-large",
    429: "too-many-guesses",
    503: "start-failed",
}


class Rejections:
    """Logs requests that were answered with an error, a limited number of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock.now()
        self._logged = 0
        self._skipped = 0

    def note(self, status: int, busy: bool, address: str, client: str | None) -> None:
        """Log one; `busy`: the reply said when to ask again."""
        with self._lock:
            now = self._clock.now()
            if now >= self._since + _WINDOW:
                self._since, self._logged = now, 0
            if self._logged >= _MOST:
                self._skipped += 1
                return
            self._logged += 1
            skipped, self._skipped = self._skipped, 0
        kind = "busy" if busy and status == 503 else _KINDS.get(status, "fault")
        audit.rejected(kind, status=status, address=address, client=client, untold=skipped)
