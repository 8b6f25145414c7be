"""The background threads, which run plain tasks and reach devices only by calls."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from labnode.errors import Deadlock
from labnode.worker.hardware import Job, Source

log = logging.getLogger(__name__)

_MOST = 64  # threads, of which all but `number` wait for others
_RETRY = 1.0  # seconds until a source that failed is asked again


class Background:
    """`number` threads that take jobs from one source and sleep while there are none.

    While the job of a thread waits for another job, one more thread takes its place, so `number`
    threads always work.
    """

    def __init__(self, number: int) -> None:
        self.free = 0  # threads that wait for a job
        self._places = number  # how many more threads may work; below 0, one has to end
        self._wake = threading.Condition()
        self._turn = 0  # counts wake-ups, so that one between looking and sleeping is not lost
        self._stopping = False
        self._threads: dict[str, threading.Thread] = {}

    def start(self, source: Source) -> None:
        self._source = source
        with self._wake:
            self._fill()

    def wake(self) -> None:
        """Make the threads look for jobs."""
        with self._wake:
            self._turn += 1
            self._wake.notify_all()

    def stop(self) -> list[threading.Thread]:
        """Take no more jobs; returns the threads that end once their job is done."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
            return list(self._threads.values())

    def fault(self) -> str | None:
        """Which thread has died, or None; any thread may ask."""
        with self._wake:
            dead = [name for name, thread in self._threads.items() if not thread.is_alive()]
        return f"the thread {dead[0]} has died" if dead else None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside the block the calling thread, one of these, waits for another job.

        Deadlock when so many wait already that there can be no further thread.
        """
        with self._wake:
            if len(self._threads) >= _MOST:
                raise Deadlock(f"{_MOST} background tasks wait for others; that is too many.")
            self._places += 1
        try:
            with self._wake:
                self._fill()
            yield
        finally:
            with self._wake:
                self._places -= 1
                self._wake.notify_all()

    def __contains__(self, thread: threading.Thread) -> bool:
        return self._threads.get(thread.name) is thread

    def _fill(self) -> None:
        while self._places > 0 and not self._stopping:
            name = next(n for n in map("background-{}".format, count()) if n not in self._threads)
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            thread.start()  # it needs the lock that is held here before it does anything
            self._threads[name] = thread
            self._places -= 1

    def _run(self) -> None:
        looked = -1  # the last turn in which this thread saw that no jobs are left
        while (turn := self._next_turn(looked)) is not None:
            if (job := self._next_job()) is None:
                looked = turn
                continue
            try:
                job()
            except BaseException:
                log.exception("A background thread could not do something.")

    def _next_turn(self, looked: int) -> int | None:
        """Wait for a turn after `looked`; None when the thread has to end."""
        with self._wake:
            while self._turn == looked and not self._must_end:
                self.free += 1
                self._wake.wait()
                self.free -= 1
            if self._must_end:
                self._places += 1
                del self._threads[threading.current_thread().name]
                return None
            return self._turn

    @property
    def _must_end(self) -> bool:
        return self._stopping or self._places < 0

    def _next_job(self) -> Job | None:
        try:
            return self._source()
        except BaseException:
            log.exception("The queue of background tasks does not work; it is tried again.")
            return self._pause

    def _pause(self) -> None:
        with self._wake:
            if not self._stopping:
                self._wake.wait(_RETRY)
