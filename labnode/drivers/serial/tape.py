"""The tape: what a port has received, each byte at an offset that never changes."""

from __future__ import annotations

import threading


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
