"""What is told of refused requests: all of them on a normal day, a part of them in an attack."""

from __future__ import annotations

import threading

from labnode import audit
from labnode.clock import Clock

_WINDOW = 60.0  # seconds
_MOST = 60  # lines in a window: whoever knocks all night must not fill an SD card
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
    """Tells the lifecycle log of requests that were answered with an error."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock.now()
        self._told = 0
        self._untold = 0

    def note(self, status: int, busy: bool, address: str, client: str | None) -> None:
        """`busy`: the answer said when to ask again."""
        with self._lock:
            now = self._clock.now()
            if now >= self._since + _WINDOW:
                self._since, self._told = now, 0
            if self._told >= _MOST:
                self._untold += 1
                return
            self._told += 1
            untold, self._untold = self._untold, 0
        kind = "busy" if busy and status == 503 else _KINDS.get(status, "fault")
        audit.rejected(kind, status=status, address=address, client=client, untold=untold)
