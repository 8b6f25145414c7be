"""The tape: what a port has received, each byte at an offset that never changes."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Tape:
    """The last `capacity` bytes of all that came; `start` and `end` are offsets into all of it.

    One thread writes, any thread reads. A reader that is slower than the writer by more than
    `capacity` finds that its place is gone, and can count what it missed.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._bytes = bytearray()
        self._start = 0

    @property
    def start(self) -> int:
        """The offset of the oldest byte that is left."""
        return self._start

    @property
    def end(self) -> int:
        """The offset of the next byte that will come: how many there have been."""
        with self._lock:
            return self._start + len(self._bytes)

    def write(self, data: bytes) -> None:
        with self._lock:
            self._bytes += data
            self._drop(len(self._bytes) - self._capacity)

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """At most `limit` bytes from `offset` on, and where they really begin.

        That is later than `offset` when the bytes in between are gone.
        """
        with self._lock:
            begin = max(offset, self._start)
            first = begin - self._start
            return begin, bytes(self._bytes[first : first + limit])

    def forget(self) -> None:
        """Nobody may read any more what has come until now."""
        with self._lock:
            self._drop(len(self._bytes))

    def _drop(self, number: int) -> None:
        if number > 0:
            del self._bytes[:number]
            self._start += number


_BURST = 0.25  # seconds' worth that one who was silent gets at once
_BREATH = 0.05  # seconds after which there is something again for one that has used up its rate


class Reader:
    """Reads a tape from `offset` on; `lost` is told how much was gone before it was read.

    `ask_again` is called when there is something that
    `max_rate` (bytes per second) allows in some seconds only.
    """

    def __init__(
        self,
        tape: Tape,
        offset: int,
        *,
        now: Callable[[], float],
        lost: Callable[[int], None],
        ask_again: Callable[[float], None],
        max_rate: int | None = None,
    ) -> None:
        self.offset = offset
        self._tape = tape
        self._now = now
        self._lost = lost
        self._ask_again = ask_again
        self._max_rate = max_rate
        self._paid_until = 0.0  # the rate is used up until then

    def waiting(self) -> bool:
        """Whether there is something to read now, or a gap."""
        return self.offset < self._tape.start or (
            self.offset < self._tape.end and self._allowed() > 0
        )

    def skip_gap(self) -> int:
        """Go on behind what was dropped because nobody read it; how many bytes that were."""
        gap = max(0, self._tape.start - self.offset)
        if gap:
            self.offset += gap
            self._lost(gap)
        return gap

    def read(self, limit: int) -> bytes:
        """The next bytes, at most `limit`; b"" while there are none, or a gap comes first."""
        begin, data = self._tape.read(self.offset, min(limit, self._allowed()))
        if begin > self.offset:
            return b""
        self.offset += len(data)
        if self._max_rate is not None:
            begun = max(self._paid_until, self._now() - _BURST)
            self._paid_until = begun + len(data) / self._max_rate
        return data

    def _allowed(self) -> int:
        if self._max_rate is None:
            return 1 << 30
        allowed = int(min(_BURST, self._now() - self._paid_until) * self._max_rate)
        if allowed < self._max_rate * _BREATH:
            self._ask_again(_BREATH)
            return 0
        return allowed
