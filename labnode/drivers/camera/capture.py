"""The capture of a camera: it runs while there are viewers, and keeps the newest picture."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from labnode.drivers.camera.source import Source
from labnode.drivers.framework.driver import Services
from labnode.drivers.framework.io_thread import IoLoop
from labnode.errors import DeviceGone

log = logging.getLogger(__name__)

_FIRST_RETRY, _LAST_RETRY = 0.2, 5.0  # seconds until a source that failed is tried again
_EARLY = 0.9  # of the time between two pictures: one after that is not too early


@dataclass(frozen=True)
class Picture:
    """A JPEG; `number` counts them, `at` is when it was taken."""

    number: int
    jpeg: bytes
    at: float


class Capture:
    """Takes pictures from `source`, at most `rate` per second while there are viewers.

    While there are none, it takes one every `idle_every` seconds, or none at all. Publishes when
    `error` has changed.
    """

    def __init__(
        self,
        name: str,
        services: Services,
        source: Source,
        *,
        rate: float,
        idle_every: float | None,
    ) -> None:
        self.latest: Picture | None = None
        self.error: str | None = None
        self._name = name
        self._services = services
        self._source = source
        self._rate = rate
        self._idle_every = idle_every
        self._io = IoLoop(name, services, self._run)
        self._news = threading.Condition()  # its lock guards what follows
        self._viewers: tuple[Callable[[], None], ...] = ()
        self._asked = 0  # threads that wait for a picture
        self._count = 0
        self._failures = 0
        self._pause = _FIRST_RETRY
        self._again_at = 0.0  # when the source may be tried again
        self._idle_at = 0.0  # when a picture is due without viewers

    def start(self) -> None:
        self._io.start()

    def stop(self) -> None:
        self._io.stop()
        with self._news:
            self._failures += 1
            self._news.notify_all()

    def look(self, viewer: Callable[[], None]) -> None:
        """Call `viewer`, which must not wait, at every new picture from now on. Any thread."""
        with self._news:
            self._viewers = (*self._viewers, viewer)
            self._again_at = 0.0
        self._io.wake()

    def look_away(self, viewer: Callable[[], None]) -> None:
        with self._news:
            self._viewers = tuple(one for one in self._viewers if one != viewer)
        self._io.wake()

    def fresh(self, max_age: float, timeout: float) -> Picture:
        """Wait for a picture at most `max_age` seconds old; DeviceGone after `timeout` seconds."""
        with self._news:
            begun, failures = self._services.clock.now(), self._failures
            if (picture := self._latest_since(begun - max_age)) is not None:
                return picture
            self._asked += 1
            self._io.wake()
            try:
                self._news.wait_for(
                    lambda: self._latest_since(begun) or self._failures != failures, timeout
                )
            finally:
                self._asked -= 1
            if (picture := self._latest_since(begun)) is None:
                failed = self.error or f"no picture came within {timeout:g} s"
                raise DeviceGone(f"'{self._name}' has no picture: {failed}.")
            return picture

    def _latest_since(self, at: float) -> Picture | None:
        latest = self.latest
        return latest if latest is not None and latest.at >= at else None

    def forget(self) -> None:
        """The next student does not see what the last one saw."""
        self.latest = None

    # ------------------------------------------------------------------ the io thread

    def _run(self) -> None:
        while not self._io.stopping:
            wait = self._idle_time()
            if wait is None or wait > 0:
                self._io.wait(wait)
                continue
            try:
                self._take()
            except DeviceGone as error:
                self._fail(str(error))
            except Exception:  # this thread is all that the camera has
                log.exception("The camera %s failed.", self._name)
                self._fail("there is a fault in labnode, which its log tells")

    def _idle_time(self) -> float | None:
        """Seconds until pictures are due; None: not before there is a viewer."""
        now = self._services.clock.now()
        if self._wanted():
            return self._again_at - now
        return None if not self._idle_every else max(self._idle_at, self._again_at) - now

    def _wanted(self) -> bool:
        return bool(self._viewers or self._asked)

    def _take(self) -> None:
        """Take pictures until nobody wants any more; at least one."""
        for jpeg in self._source.pictures(self._io):
            now = self._services.clock.now()
            latest = self.latest
            if latest is None or now - latest.at >= _EARLY / self._rate:
                self._count += 1
                self._show(Picture(self._count, jpeg, now))
            if not self._wanted() or self._io.stopping:
                break
        if self._idle_every:
            self._idle_at = self._services.clock.now() + self._idle_every

    def _show(self, picture: Picture) -> None:
        self._pause = _FIRST_RETRY
        with self._news:
            self.latest = picture
            self._news.notify_all()
        self._set_error(None)
        for viewer in self._viewers:
            viewer()

    def _fail(self, why: str) -> None:
        self._again_at = self._services.clock.now() + self._pause
        self._pause = min(2 * self._pause, _LAST_RETRY)
        if why != self.error:
            log.warning("%s has no picture: %s", self._name, why)
        self._set_error(why)
        with self._news:
            self._failures += 1
            self._news.notify_all()

    def _set_error(self, error: str | None) -> None:
        if error != self.error:
            self.error = error
            self._io.post(self._services.publish)
