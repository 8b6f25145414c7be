"""The outbox: what waits to be written into a port, in the order in which it was given."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Written = Callable[[int], None]


class Outbox:
    """Filled by any thread, emptied by the one that owns the port.

    Whoever gives something is told, piece by piece and on that thread, how much has been written of
    it, and with 0 that the rest is thrown away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[tuple[memoryview, Written]] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, data: bytes, written: Written) -> None:
        """Queue `data`, which nothing else can come into the middle of."""
        if data:
            with self._lock:
                self._queue.append((memoryview(data), written))

    def write(self, write: Callable[[memoryview], int]) -> int:
        """Have `write` take what it can of what comes first; how much that was."""
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
        """Throw away all that waits; False when that is nothing."""
        with self._lock:
            lost, self._queue = self._queue, deque()
        for _, written in lost:
            written(0)
        return bool(lost)
