"""What a serial port has received and has still to send: written by one thread, read by others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class ReceiveBuffer:
    """The last `capacity` bytes of all that came; `start` and `end` are offsets into all of it.

    The offset of a byte never changes. A reader that falls behind by more than `capacity` finds
    that its place is gone, and can count what it missed.
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
        """The offset of the next byte: how many there have been."""
        with self._lock:
            return self._start + len(self._bytes)

    def write(self, data: bytes) -> None:
        with self._lock:
            self._bytes += data
            self._drop(len(self._bytes) - self._capacity)

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """At most `limit` bytes, and where they begin: after `offset` if those there are gone."""
        with self._lock:
            begin = max(offset, self._start)
            first = begin - self._start
            return begin, bytes(self._bytes[first : first + limit])

    def clear(self) -> None:
        with self._lock:
            self._drop(len(self._bytes))

    def _drop(self, number: int) -> None:
        if number > 0:
            del self._bytes[:number]
            self._start += number


Written = Callable[[int], None]


class SendQueue:
    """Filled by any thread, emptied by the one that owns the port.

    `written` is called on that thread, piece by piece, with the number of bytes that have been
    written, and with 0 when the rest is thrown away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[tuple[memoryview, Written]] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, data: bytes, written: Written) -> None:
        """Queue `data`; nothing else comes into the middle of it."""
        if data:
            with self._lock:
                self._queue.append((memoryview(data), written))

    def write(self, write: Callable[[memoryview], int]) -> int:
        """Let `write` take what it can of the first entry; how much that was."""
        with self._lock:
            if not self._queue:
                return 0
            data, written = self._queue.popleft()
        number = 0
        try:
            number = write(data)
        finally:
            if number < len(data):
                with self._lock:
                    self._queue.appendleft((data[number:], written))
        if number:
            written(number)
        return number

    def clear(self) -> bool:
        """Throw everything away; False when there was nothing."""
        with self._lock:
            lost, self._queue = self._queue, deque()
        for _, written in lost:
            written(0)
        return bool(lost)
