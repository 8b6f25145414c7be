"""Bodies that are too large for memory, on their way to the disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol
from wsgiref.types import WSGIEnvironment

from labnode.clock import Clock, Turn
from labnode.threads import Pool

logger = logging.getLogger(__name__)

_MOST = 64  # bodies; more come together only where the disk hangs


class Sink(Protocol):
    """Where a body goes that is too large for memory; each call may wait for the disk."""

    @property
    def limit(self) -> int:
        """The largest size in bytes."""

    def open(self) -> object:
        """Called before it is written to; a Refusal says why not, an OSError that it cannot be."""

    def write(self, data: bytes) -> object:
        """The next piece; an OSError says that there is no room."""

    def discard(self) -> None:
        """Nobody has taken it, it never was complete, or not even opened; idempotent."""


Large = Callable[[WSGIEnvironment], Sink | None]
"""Asked when a head has come, and waits for nothing: where its body goes, None for memory; or it
raises a Refusal."""


def nothing_large(_head: WSGIEnvironment) -> Sink | None:
    """All bodies fit into memory."""
    return None


class Waiter(Protocol):
    """Who waits for the writer to have taken a step."""

    def wake(self) -> object:
        """Called on the writer's thread."""


class Writer:
    """One thread for all sinks, so that who reads from clients never waits for a disk.

    Its queue has a bound: nothing more is read of a body while a step of it is pending, and bodies
    are refused while it is `full`.
    """

    def __init__(self, large: Large, name: str) -> None:
        self.large = large
        self._busy = Turn(Clock(), name)
        self._thread: Pool[Callable[[], None]] = Pool(name, self._do, most=1, waiting=4 * _MOST)
        self._lock = threading.Lock()
        self._bodies = 0  # that are not done with

    def _do(self, job: Callable[[], None]) -> None:
        with self._busy:
            job()

    def fault(self) -> str | None:
        """Why no file is written any more, or None; any thread may ask."""
        return self._busy.fault()

    @property
    def full(self) -> bool:
        """Whether the disk takes too long for the bodies that there are: no other may begin."""
        return self._bodies >= _MOST

    def begin(self, sink: Sink, waiter: Waiter) -> LargeBody:
        """A body for `sink`, which counts until it is discarded."""
        with self._lock:
            self._bodies += 1
        return LargeBody(sink, self, waiter)

    def discard(self, sink: Sink) -> None:
        """Have it thrown away, if nobody has taken it."""
        self.queue(partial(self._discard, sink))

    def _discard(self, sink: Sink) -> None:
        try:
            sink.discard()
        except Exception:
            logger.exception("A file that nobody needs could not be thrown away")
        with self._lock:
            self._bodies -= 1

    def queue(self, job: Callable[[], None]) -> None:
        """Have it done after all that was queued before; without a thread, the caller does it."""
        if not self._thread.put(job):
            job()

    def close(self) -> list[threading.Thread]:
        """Let the thread, which is returned, end when it has nothing to do."""
        return self._thread.close()


class LargeBody:
    """A body on its way to `sink`, for the thread that reads it."""

    def __init__(self, sink: Sink, writer: Writer, waiter: Waiter) -> None:
        self.sink = sink
        self.failure: Exception | None = None  # the first one; nothing is written after it
        self._writer = writer
        self._waiter = waiter
        self._queued = 0  # steps
        self._taken = 0  # of them, by the writer's thread

    @property
    def pending(self) -> bool:
        """Whether the writer has something to do for it."""
        return self._taken < self._queued

    def open(self) -> None:
        self._queue(self.sink.open)

    def write(self, data: bytes) -> None:
        self._queue(partial(self.sink.write, data))

    def discard(self) -> None:
        """Called once, when the request is over."""
        self._writer.discard(self.sink)

    def _queue(self, step: Callable[[], object]) -> None:
        self._queued += 1
        self._writer.queue(partial(self._take, step))

    def _take(self, step: Callable[[], object]) -> None:
        try:
            if self.failure is None:
                step()
        except Exception as error:  # noqa: BLE001 - the client gets it
            self.failure = error
        self._taken += 1
        self._waiter.wake()
