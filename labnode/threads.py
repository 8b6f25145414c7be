"""Threads that come when there is work, and how one thread ends another's wait."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

J = TypeVar("J")

_KEPT = 60.0  # seconds that a thread waits for another job


class Pool(Generic[J]):
    """Calls `serve` with each job, in their order, on at most `most` threads.

    A thread ("NAME-1" and so on) comes when a job finds none free, and goes when it has had none
    for a minute; `least` of them stay. The one that has become free last gets the next job, so that
    the others can go. At most `waiting` jobs wait for a thread. What `serve` raises is logged.
    """

    def __init__(
        self, name: str, serve: Callable[[J], None], *, most: int, waiting: int, least: int = 0
    ) -> None:
        self._name = name
        self._serve = serve
        self._most = most
        self._least = least
        self._bound = waiting
        self._lock = threading.Lock()  # of what follows
        self._waiting: deque[J] = deque()
        self._threads: dict[int, threading.Thread] = {}
        self._free: list[_Free[J]] = []
        self._closed = False

    def start(self) -> None:
        """Start the threads that stay."""
        with self._lock:
            while len(self._threads) < self._least:
                self._add_thread([])

    def put(self, job: J) -> bool:
        """Have `job` served; False when too many wait already. Never waits."""
        with self._lock:
            if self._free:
                self._free.pop().wake(job)
                return True
            if len(self._threads) < self._most:
                try:
                    self._add_thread([job])
                    return True
                except RuntimeError:  # the machine has none left
                    if not self._threads:
                        return False
            if len(self._waiting) >= self._bound:
                return False
            self._waiting.append(job)
            return True

    def take_waiting(self) -> list[J]:
        """The jobs that wait for a thread, which are the caller's then."""
        with self._lock:
            jobs, self._waiting = list(self._waiting), deque()
        return jobs

    def close(self) -> list[threading.Thread]:
        """Keep no thread any more that has nothing to do; returns those that there are."""
        with self._lock:
            self._closed = True
            while self._free:
                self._free.pop().wake(None)
            return list(self._threads.values())

    def dead(self) -> str | None:
        """The name of a thread that has died, or None; any thread may ask."""
        with self._lock:
            names = [each.name for each in self._threads.values() if not each.is_alive()]
        return names[0] if names else None

    def _add_thread(self, first: list[J]) -> None:
        number = next(n for n in range(1, self._most + 1) if n not in self._threads)
        name = f"{self._name}-{number}"
        # A daemon: a job that never ends must not keep the process from ending.
        thread = threading.Thread(target=self._run, args=(number, first), name=name, daemon=True)
        thread.start()  # it needs the lock that is held here before it waits for anything
        self._threads[number] = thread

    def _run(self, number: int, first: list[J]) -> None:
        # A thread keeps its arguments for as long as it runs: what they hold has to go.
        while (job := first.pop() if first else self._next(number)) is not None:
            try:
                self._serve(job)
            except BaseException:
                log.exception("The thread %s-%d could not do something.", self._name, number)
            job = None  # nothing of it is needed while this thread waits

    def _next(self, number: int) -> J | None:
        """Wait for a job; None when the thread has to end."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                del self._threads[number]
                return None
            free: _Free[J] = _Free()
            self._free.append(free)
        while not free.wait(_KEPT if len(self._threads) > self._least else None):
            with self._lock:
                if free in self._free and len(self._threads) > self._least:
                    self._free.remove(free)
                    del self._threads[number]
                    return None
        if free.job is None:
            with self._lock:
                del self._threads[number]
        return free.job


class _Free(Generic[J]):
    """A thread that waits for a job."""

    def __init__(self) -> None:
        self.job: J | None = None
        self._wake = threading.Lock()
        self._wake.acquire()

    def wake(self, job: J | None) -> None:
        """Give it a job; None: it ends."""
        self.job = job
        self._wake.release()

    def wait(self, seconds: float | None) -> bool:
        """Whether it was woken within that time."""
        return self._wake.acquire(timeout=-1 if seconds is None else seconds)


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
