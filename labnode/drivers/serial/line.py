"""The io thread of a serial port, which opens it, reads, writes, and opens it again."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace

from labnode.clock import Clock
from labnode.drivers.framework.io_thread import Backoff, IoLoop
from labnode.drivers.serial.buffer import ReceiveBuffer, SendQueue, Written
from labnode.drivers.serial.options import SerialOptions
from labnode.drivers.serial.port import Port
from labnode.errors import DeviceError, DeviceGone, LabnodeError
from labnode.locale import Message

log = logging.getLogger(__name__)

_BACKLOG = 1 << 20  # bytes that a page may lag behind: 3 s at 3 Mbaud
_RETRY_MISSING = 1.0  # seconds, at most, between two looks for a port that is not there
_RETRY_BROKEN = 5.0  # seconds, at most, between two attempts to use one that does not work
_BURST = 0.25  # seconds' worth of bytes that a page gets at once after a pause
_RATE_PAUSE = 0.05  # seconds until a page that has used up its rate gets more


@dataclass(frozen=True)
class LineStatus:
    """How the port is; replaced as a whole, so that any thread may read it."""

    connected: bool = False
    lent: bool = False
    error: str | None = None  # why it is not connected
    baudrate: int = 0
    path: str | None = None


class Line:
    """What the driver, its waits and the pages share of one port.

    Any thread may call the first half; the requests and the loop run on the io thread.
    """

    def __init__(self, options: SerialOptions) -> None:
        self.epoch = _new_epoch()
        self.generation = 0  # of students
        self.received = ReceiveBuffer(max(options.history, _BACKLOG))
        self.status = LineStatus(baudrate=options.baudrate)
        self.rx_bytes = self.tx_bytes = self.dropped_bytes = 0
        self._options = options
        self._name = options.name
        self._clock = options.services.clock
        self._io = IoLoop(options.name, options.services, self._run)
        self._unsent = SendQueue()
        self._requests: deque[tuple[Callable[[Line], None], Future[None]]] = deque()
        self._lock = threading.Lock()  # of what several threads write
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._port: Port | None = None
        self._backoff = Backoff(self._clock)
        self._taken_at = 0.0  # when the port last took something, or there was nothing to send
        self._notify_at: float | None = None  # when listeners are called in any case

    # ------------------------------------------------------------------ any thread

    def start(self, timeout: float) -> None:
        """Open the port; returns after the first attempt, or after `timeout` seconds."""
        first = self.request(Line.attempt)
        self._io.start()
        wait((first,), timeout)

    def stop(self) -> None:
        self._io.stop()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever there is more to read or another status; it must not wait."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one != listener)

    def reader(self, epoch: str | None = None, offset: int | None = None) -> PageReader:
        """A page's place: at `offset` of this `epoch`, else where the history begins."""
        end = self.received.end
        if epoch != self.epoch or offset is None or offset > end:
            offset = max(self.received.start, end - self._options.history)
        return PageReader(self, offset, self._clock, self._options.max_rate)

    def notify_within(self, seconds: float) -> None:
        """Call the listeners in `seconds` at most, even if nothing comes until then."""
        at = self._clock.now() + seconds
        if self._notify_at is None or at < self._notify_at:
            self._notify_at = at
            self._io.wake()

    def count_dropped(self, number: int) -> None:
        with self._lock:
            self.dropped_bytes += number

    def write(self, data: bytes, written: Written, generation: int | None = None) -> None:
        """Queue `data`; DeviceGone while the port is not there, DeviceError while it is lent.

        What comes from a page of an older `generation` is refused: its student has gone.
        """
        self.check()
        with self._lock:
            if generation not in (None, self.generation):
                raise DeviceError(f"'{self._name}' is for the next student now.")
            self._unsent.put(data, written)
        self._io.wake()

    def check(self) -> None:
        """DeviceGone or DeviceError when nothing can be written now."""
        status = self.status
        if status.lent:
            raise DeviceError(Message("error.lent", device=self._name))
        if not status.connected:
            raise DeviceGone(f"'{self._name}' is not connected: {status.error or 'not open yet'}.")

    def request(self, action: Callable[[Line], None]) -> Future[None]:
        """Have the io thread call `action` with this line."""
        future: Future[None] = Future()
        self._requests.append((action, future))
        self._io.wake()
        return future

    def forget(self) -> None:
        """Another student comes: nobody sees what was received, nor sends what was not sent."""
        with self._lock:
            self.generation += 1
            self.epoch = _new_epoch()
            self._unsent.clear()
            self.received.clear()
        self._notify()

    # ------------------------------------------------------------------ requests, on the io thread

    @property
    def port(self) -> Port:
        """The open port; DeviceGone without one."""
        self.check()
        assert self._port is not None
        return self._port

    def set_baudrate(self, baudrate: int) -> None:
        if self._port is not None:
            self._port.set_baudrate(baudrate)
        self._set_status(replace(self.status, baudrate=baudrate))

    def lend(self) -> None:
        """Close the port, which somebody else uses until `take_back`; DeviceGone without one."""
        path = self.port.path
        self._close()
        self._set_status(LineStatus(lent=True, baudrate=self.status.baudrate, path=path))

    def take_back(self) -> None:
        self._set_status(LineStatus(baudrate=self.status.baudrate))
        self.attempt()

    def attempt(self) -> None:
        """Open the port, or try again later."""
        try:
            self._open()
        except DeviceGone as error:
            self._lose(error)

    # ------------------------------------------------------------------ the io thread

    def _run(self) -> None:
        try:
            while not self._io.stopping:
                try:
                    self._turn()
                except DeviceGone as error:
                    self._lose(error)
                except Exception:  # this thread is all that the port has
                    log.exception("A turn of the serial port %s failed.", self._name)
                    self._lose(DeviceError("there is a fault in labnode, which its log tells"))
        finally:
            while self._requests:
                self._serve_request()
            self._close()

    def _turn(self) -> None:
        while self._requests:
            error = self._serve_request()
            if isinstance(error, DeviceGone) and self._port is not None:
                raise error
        if self._port is None and not self.status.lent and self._backoff.due:
            self.attempt()
        port = self._port
        descriptors = [] if port is None or port.descriptor is None else [port.descriptor]
        readable, _ = self._io.wait(
            self._idle_time(), descriptors, descriptors if self._unsent else ()
        )
        if port is not None:
            if readable or port.descriptor is None:
                self._receive(port)
            self._send(port)
        if self._notify_at is not None and self._clock.now() >= self._notify_at:
            self._notify()

    def _serve_request(self) -> BaseException | None:
        action, future = self._requests.popleft()
        try:
            action(self)
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            future.set_exception(error)
        else:
            future.set_result(None)
        return future.exception()

    def _idle_time(self) -> float | None:
        """Seconds in which there is nothing to do unless something happens."""
        now = self._clock.now()
        times = []
        if self._port is not None:
            times.append(self._port.due())
            if self._unsent:
                times.append(self._taken_at + self._options.write_timeout - now)
        elif not self.status.lent:
            times.append(self._backoff.at - now)
        if self._notify_at is not None:
            times.append(self._notify_at - now)
        return min((time for time in times if time is not None), default=None)

    def _open(self) -> None:
        try:
            path = self._options.find()
        except DeviceGone:
            self._backoff.failed(_RETRY_MISSING)
            raise
        try:
            self._port = self._options.open_port(path, self.status.baudrate)
        except DeviceGone:
            self._backoff.failed(_RETRY_BROKEN)
            raise
        self._backoff.opened()
        self._taken_at = self._clock.now()
        self._unsent.clear()  # it was queued for the port that has just gone
        log.info("%s is connected at %s", self._name, path)
        self._set_status(replace(self.status, connected=True, error=None, path=path))

    def _lose(self, error: LabnodeError) -> None:
        """The port is gone, or still not there."""
        if self._port is not None:
            self._backoff.lost(_RETRY_BROKEN)
        self._close()
        if not self.status.lent and str(error) != self.status.error:
            log.warning("%s is not connected: %s", self._name, error)
            self._set_status(LineStatus(error=str(error), baudrate=self.status.baudrate))

    def _close(self) -> None:
        port, self._port = self._port, None
        unsent = self._unsent.clear()
        if port is not None:
            with suppress(DeviceGone):
                if unsent:  # or Linux would wait 30 s for a device that takes nothing
                    port.drop_output()
            port.close()

    def _receive(self, port: Port) -> None:
        data = port.read()
        if data:
            self._backoff.works()
            self.rx_bytes += len(data)
            self.received.write(data)
            self._notify()

    def _send(self, port: Port) -> None:
        if not self._unsent:
            self._taken_at = self._clock.now()
            return
        number = self._unsent.write(port.write)
        self.tx_bytes += number
        if number:
            self._taken_at = self._clock.now()
        elif self._clock.now() - self._taken_at >= self._options.write_timeout:
            log.warning("%s takes nothing any more; what waits is thrown away", self._name)
            self._unsent.clear()
            port.drop_output()

    def _set_status(self, status: LineStatus) -> None:
        if status != self.status:
            self.status = status
            self._io.post(self._options.services.publish)
            self._notify()

    def _notify(self) -> None:
        self._notify_at = None
        for listener in self._listeners:
            listener()


def _new_epoch() -> str:
    """A name for what is received from now on: offsets of another epoch mean other bytes."""
    return secrets.token_urlsafe(6)


class PageReader:
    """A page's place in what a line has received; at most `max_rate` bytes per second, if given."""

    def __init__(self, line: Line, offset: int, clock: Clock, max_rate: int | None) -> None:
        self.offset = offset
        self._line = line
        self._clock = clock
        self._max_rate = max_rate
        self._paid_until = 0.0  # the rate is used up until then

    def waiting(self) -> bool:
        """Whether there is something to read now, or a gap."""
        received = self._line.received
        return self.offset < received.start or (self.offset < received.end and self._allowed() > 0)

    def skip_gap(self) -> int:
        """Go on behind what was dropped before it was read; how many bytes that were."""
        gap = max(0, self._line.received.start - self.offset)
        if gap:
            self.offset += gap
            self._line.count_dropped(gap)
        return gap

    def read(self, limit: int) -> bytes:
        """The next bytes, at most `limit`; b"" while there are none, or a gap comes first."""
        begin, data = self._line.received.read(self.offset, min(limit, self._allowed()))
        if begin > self.offset:
            return b""
        self.offset += len(data)
        if self._max_rate is not None:
            begun = max(self._paid_until, self._clock.now() - _BURST)
            self._paid_until = begun + len(data) / self._max_rate
        return data

    def _allowed(self) -> int:
        if self._max_rate is None:
            return 1 << 30
        allowed = int(min(_BURST, self._clock.now() - self._paid_until) * self._max_rate)
        if allowed < self._max_rate * _RATE_PAUSE:
            self._line.notify_within(_RATE_PAUSE)
            return 0
        return allowed
