"""Io threads: one for each device that is slow or always sending, and its only user."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from labnode.drivers.framework.services import Services
from labnode.errors import Busy
from labnode.threads import Waker

log = logging.getLogger(__name__)

T = TypeVar("T")

_STOP_WITHIN = 1.0  # seconds; the whole stop of a node has 5


class _Thread:
    """A thread `io-NAME`; started by its driver's `open`, ended by its `close`.

    It posts what is for the driver, which only the hardware thread touches; nothing that was posted
    arrives after `stop`.
    """

    def __init__(self, name: str, services: Services) -> None:
        self.stopping = False
        self.clock = services.clock
        self._services = services
        self._thread = threading.Thread(target=self._run_logged, name=f"io-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = _STOP_WITHIN) -> bool:
        """End it (hardware thread); False when it still waits for its device after `timeout`."""
        self.stopping = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("%s still waits for its device and is left alone.", self._thread.name)
        return not self._thread.is_alive()

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` on the hardware thread soon, unless this thread is stopped before."""
        self._services.post(lambda: None if self.stopping else call())

    def wake(self) -> None:
        """Make it look for work and at `stopping` (any thread)."""
        raise NotImplementedError

    def _run_logged(self) -> None:
        try:
            self._run()
        except Exception:
            log.exception("%s has died of a fault.", self._thread.name)

    def _run(self) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class _Job:
    run: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]


class IoThread(_Thread):
    """Runs slow jobs of a device, repeatedly or on request::

        def open(self) -> None:
            self.io = IoThread(self.name, self.services)
            self.io.repeat(self.sample_every, read_the_sensor, self.took, self.missed)
            self.io.start()

        def close(self) -> None:
            self.io.stop()

    `read_the_sensor` runs on the io thread and must not touch the driver; `took(result)` or
    `missed(error)` run on the hardware thread. A job that may take longer than a second looks at
    `stopping` from time to time, or is ended from outside before `stop`.
    """

    def __init__(self, name: str, services: Services) -> None:
        super().__init__(name, services)
        self._name = name
        self._awake = self.clock.event()
        self._lock = threading.Lock()  # of what is asked for
        self._asked: _Job | None = None
        self._repeated: _Job | None = None
        self._every = 0.0
        self._due = 0.0

    def repeat(
        self,
        every: float,
        job: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run `job` now and every `every` seconds, from start to start; replaces the last `repeat`.

        Runs that are missed because one takes longer are left out.
        """
        with self._lock:
            self._repeated, self._every = _Job(job, done, failed), every
            self._due = self.clock.now()
        self.wake()

    def submit(
        self,
        job: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run `job` once, after the one that is running; Busy when one is already waiting."""
        with self._lock:
            if self._asked is not None:
                raise Busy(f"'{self._name}' is still busy with what it was asked before.")
            self._asked = _Job(job, done, failed)
        self.wake()

    def wake(self) -> None:
        self._awake.set()

    def _run(self) -> None:
        while not self.stopping:
            self._awake.clear()  # before looking: what comes meanwhile wakes it again
            job, rest = self._next()
            if job is not None:
                self._do(job)
            elif not self.stopping:
                self._awake.wait(rest)

    def _next(self) -> tuple[_Job | None, float | None]:
        """The job that is due, or the seconds until there is one."""
        with self._lock:
            job, self._asked = self._asked, None
            if job is not None or self._repeated is None:
                return job, None
            now = self.clock.now()
            if now < self._due:
                return None, self._due - now
            self._due = now + self._every
            return self._repeated, None

    def _do(self, job: _Job) -> None:
        try:
            result = job.run()
        except Exception as error:  # noqa: BLE001 - the driver handles it
            failure = error
            self.post(lambda: job.failed(failure))
        else:
            self.post(lambda: job.done(result))


class IoLoop(_Thread):
    """Runs `loop`, which waits for descriptors in `wait` and returns soon when it is `stopping`."""

    def __init__(self, name: str, services: Services, loop: Callable[[], None]) -> None:
        super().__init__(name, services)
        self._loop = loop
        self._waker: Waker | None = None

    def start(self) -> None:
        self._waker = Waker()
        super().start()

    def wake(self) -> None:
        """End the current or the next `wait`."""
        if self._waker is not None:
            self._waker.wake()

    def wait(
        self,
        timeout: float | None = None,
        reading: Collection[int] = (),
        writing: Collection[int] = (),
    ) -> tuple[set[int], set[int]]:
        """For the loop: the descriptors that can be read and written; none after a `wake`.

        A descriptor whose device is gone counts as readable.
        """
        assert self._waker is not None
        poll = select.poll()
        poll.register(self._waker.descriptor, select.POLLIN)
        for number in {*reading, *writing}:
            read = select.POLLIN if number in reading else 0
            poll.register(number, read | (select.POLLOUT if number in writing else 0))
        ready = dict(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
        if ready.pop(self._waker.descriptor, 0):
            self._waker.heard()
        written = {number for number, events in ready.items() if events & select.POLLOUT}
        return {number for number, events in ready.items() if events & ~select.POLLOUT}, written

    def _run(self) -> None:
        try:
            self._loop()
        finally:
            assert self._waker is not None
            self._waker.close()
