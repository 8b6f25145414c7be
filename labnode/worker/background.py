"""The background threads, which run plain tasks and reach devices by calls alone."""

from __future__ import annotations

import threading

from labnode.worker.jobs import Source


class Background:
    """`number` threads that take jobs from one source and sleep while there are none."""

    def __init__(self, number: int) -> None:
        self._wake = threading.Condition()
        self._turn = 0  # counts wake-ups, so that one between looking and sleeping is not lost
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"background-{n}", daemon=True)
            for n in range(number)
        ]

    def start(self, source: Source) -> None:
        self._source = source
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Make the threads look for jobs."""
        with self._wake:
            self._turn += 1
            self._wake.notify_all()

    def stop(self) -> list[threading.Thread]:
        """Take no more jobs; returns the threads that end once their job is done."""
        self._stopping = True
        self.wake()
        return [thread for thread in self._threads if thread.ident is not None]

    def __contains__(self, thread: object) -> bool:
        return thread in self._threads

    def _run(self) -> None:
        seen = -1
        while not self._stopping:
            with self._wake:
                while self._turn == seen:
                    self._wake.wait()
                seen = self._turn
            while not self._stopping and (job := self._source()) is not None:
                job()
