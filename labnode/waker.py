"""A waker: how one thread ends another's wait for its descriptors."""

from __future__ import annotations

import os
import threading


class Waker:
    """`descriptor` can be read once somebody has called `wake`, until its thread says `heard`.

    Many wake-ups are one. Whoever calls `wake` never waits; after `close` it does nothing.
    """

    def __init__(self) -> None:
        self.descriptor, self._end = os.pipe()
        for number in (self.descriptor, self._end):
            os.set_blocking(number, False)
        self._lock = threading.Lock()  # of what follows, and of the pipe's life
        self._woken = False
        self._closed = False

    def wake(self) -> None:
        """End the wait that is, or the one that comes next. Any thread."""
        with self._lock:
            if not self._woken and not self._closed:
                self._woken = True
                os.write(self._end, b"\0")

    def heard(self) -> None:
        """The thread that waits has seen it, and is about to look what there is."""
        os.read(self.descriptor, 1)
        with self._lock:  # not before: its byte, too, would have been taken out
            self._woken = False

    def close(self) -> None:
        """For the thread that waited; idempotent."""
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            os.close(self.descriptor)
            os.close(self._end)
