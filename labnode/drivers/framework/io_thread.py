"""Io threads: one for each device that is slow or always sending, and its only user."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from labnode.clock import Clock
from labnode.drivers.framework.services import Services
from labnode.errors import Busy
from labnode.threads import Waker

log = logging.getLogger(__name__)

T = TypeVar("T")

_STOP_WITHIN = 1.0  # seconds; the whole stop of a node has 5
_FIRST_RETRY = 0.2  # seconds until the second attempt to open a device
_WORKS_AFTER = 5.0  # seconds after which a device that says nothing counts as working


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
class SlowJob:
    """Something slow: `run` on an io thread, then one of the others on the hardware thread."""

    run: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]


class Jobs:
    """What a device has its io thread do: one job that repeats, and one that was asked for."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()  # of what is asked for
        self._asked: SlowJob | None = None
        self._repeated: SlowJob | None = None
        self._every = 0.0
        self._due = 0.0

    def wake(self) -> None:
        """Make the io thread look for work (any thread)."""
        raise NotImplementedError

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` on the hardware thread soon."""
        raise NotImplementedError

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
            self._repeated, self._every = SlowJob(job, done, failed), every
            self._due = self._clock.now()
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
            self._asked = SlowJob(job, done, failed)
        self.wake()

    @property
    def asked(self) -> bool:
        """Whether a job waits that was asked for."""
        return self._asked is not None

    def take(self) -> tuple[SlowJob | None, float | None]:
        """The job that is due (io thread), or the seconds until there is one; None: never."""
        with self._lock:
            job, self._asked = self._asked, None
            if job is not None or self._repeated is None:
                return job, None
            now = self._clock.now()
            if now < self._due:
                return None, self._due - now
            self._due = now + self._every
            return self._repeated, None

    def do(self, job: SlowJob) -> Exception | None:
        """Run a job (io thread); returns why it failed, or None."""
        try:
            result = job.run()
        except Exception as error:  # noqa: BLE001 - the driver handles it
            failure = error
            self.post(lambda: job.failed(failure))
            return failure
        self.post(lambda: job.done(result))
        return None


class IoThread(_Thread, Jobs):
    """A thread for the slow jobs of a device, repeated or on request.

    SlowSensor and SlowOutput have one. For other drivers::

        def open(self) -> None:
            self.io = IoThread(self.name, self.services)
            self.io.repeat(self.sample_every, read_the_sensor, self.took, self.missed)
            self.io.start()

        def close(self) -> None:
            self.io.stop()

    `read_the_sensor` runs on the io thread and must not touch the driver; then `took(result)` or
    `missed(error)` runs on the hardware thread. A job that may take longer than a second looks at
    `stopping` from time to time, or is ended from outside before `stop`.
    """

    def __init__(self, name: str, services: Services) -> None:
        _Thread.__init__(self, name, services)
        Jobs.__init__(self, name, services.clock)
        self._awake = self.clock.event()

    def wake(self) -> None:
        self._awake.set()

    def _run(self) -> None:
        while not self.stopping:
            self._awake.clear()  # before looking: what comes meanwhile wakes it again
            job, rest = self.take()
            if job is not None:
                self.do(job)
            elif not self.stopping:
                self._awake.wait(rest)


class Backoff:
    """When to try a device again: the pause doubles with every failure, until the device works.

    It begins with 0.2 s. `at` is when to try next, in seconds of the clock.
    """

    def __init__(self, clock: Clock) -> None:
        self.at = 0.0
        self._clock = clock
        self._pause = _FIRST_RETRY
        self._opened_at = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to try."""
        return self._clock.now() >= self.at

    def failed(self, longest: float) -> None:
        """An attempt has failed; the next one is `longest` seconds away at most."""
        self._pause = min(self._pause, longest)
        self.at = self._clock.now() + self._pause
        self._pause *= 2

    def opened(self) -> None:
        """An attempt has worked; whether the device works is still open."""
        self._opened_at = self._clock.now()

    def works(self) -> None:
        """The device works: the pause is short again."""
        self._pause = _FIRST_RETRY

    def lost(self, longest: float) -> None:
        """It was open and is gone: try at once, unless that has happened again and again."""
        if self._clock.now() - self._opened_at > _WORKS_AFTER:
            self.works()
        if self._pause == _FIRST_RETRY:
            self.at, self._pause = self._clock.now(), 2 * _FIRST_RETRY
        else:
            self.failed(longest)


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
