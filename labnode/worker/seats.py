"""Seats for the threads of the HTTP pool that wait, so that some are always left to answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from labnode.errors import Busy


class Seats:
    """At most `number` threads wait at the same time; one that has a seat keeps it when nested."""

    def __init__(self, number: int) -> None:
        self._free = threading.BoundedSemaphore(number)
        self._mine = threading.local()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Inside the block the thread may wait; Busy when no seat is free."""
        if getattr(self._mine, "seated", False):
            yield
            return
        if not self._free.acquire(blocking=False):
            raise Busy("Too many requests are waiting for the board.")
        self._mine.seated = True
        try:
            yield
        finally:
            self._mine.seated = False
            self._free.release()

    @contextmanager
    def not_needed(self) -> Iterator[None]:
        """Inside the block this thread, which is none of the pool's, waits without one."""
        self._mine.seated = True
        try:
            yield
        finally:
            self._mine.seated = False
