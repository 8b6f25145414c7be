"""Io threads: one for each device that is slow or never silent, and the only user of that."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from labnode.drivers.framework.services import Services
from labnode.errors import Busy
from labnode.waker import Waker

log = logging.getLogger(__name__)

T = TypeVar("T")

_STOP_WITHIN = 1.0  # seconds that close() waits for a thread; the whole stop of a node has 5


class _Thread:
    """A thread `io-NAME`; started by its driver's `open`, ended by its `close`.

    What it has to say to the driver it posts, so that the hardware thread alone touches the driver.
    After `stop` nothing that was posted arrives any more.
    """

    def __init__(self, name: str, services: Services) -> None:
        self.stopping = False
        self.now = services.clock.now
        self._services = services
        self._thread = threading.Thread(target=self._live, name=f"io-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = _STOP_WITHIN) -> bool:
        """End it (hardware thread); False when it still waits for its device after `timeout` s."""
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
        """Have it look for work, or for its end. Any thread."""
        raise NotImplementedError

    def _live(self) -> None:
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
    """Does slow things for a device: again and again, or when asked::

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
        self._awake = services.clock.event()
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
        """Run `job` now and `every` seconds, counted from beginning to beginning.

        One that takes longer is not made up for. The last `repeat` is the one that counts.
        """
        with self._lock:
            self._repeated, self._every = _Job(job, done, failed), every
            self._due = self.now()
        self.wake()

    def submit(
        self,
        job: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run `job` once, as soon as the one that runs has ended; Busy when one waits already."""
        with self._lock:
            if self._asked is not None:
                raise Busy(f"'{self._name}' is still busy with what it was asked before.")
            self._asked = _Job(job, done, failed)
        self.wake()

    def wake(self) -> None:
        self._awake.set()

    def _run(self) -> None:
        while not self.stopping:
            self._awake.clear()  # before looking, so that what comes meanwhile wakes us again
            job, rest = self._next()
            if job is not None:
                self._do(job)
            elif not self.stopping:
                self._awake.wait(rest)

    def _next(self) -> tuple[_Job | None, float | None]:
        """The job that is due, or how long there is none."""
        with self._lock:
            job, self._asked = self._asked, None
            if job is not None or self._repeated is None:
                return job, None
            now = self.now()
            if now < self._due:
                return None, self._due - now
            self._due = now + self._every
            return self._repeated, None

    def _do(self, job: _Job) -> None:
        try:
            result = job.run()
        except Exception as error:  # noqa: BLE001 - it is the driver's to say what that means
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
        """End the `wait` that is or comes next."""
        if self._waker is not None:
            self._waker.wake()

    def wait(
        self,
        timeout: float | None = None,
        reading: Collection[int] = (),
        writing: Collection[int] = (),
    ) -> tuple[set[int], set[int]]:
        """The descriptors that can be read and written, by the loop; none after a `wake`.

        A descriptor whose device is gone can be read: that says so.
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
