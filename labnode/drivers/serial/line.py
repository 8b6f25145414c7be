"""A line: the io thread of a serial port, which opens it, reads, writes, and opens it again."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from labnode.drivers.framework.driver import Services
from labnode.drivers.framework.io_thread import IoLoop
from labnode.drivers.serial.buffer import Reader, Tape
from labnode.drivers.serial.port import Port
from labnode.errors import DeviceError, DeviceGone, LabnodeError


@dataclass(frozen=True)
class Status:
    """How the port is; replaced as a whole, so that any thread may read it."""

    connected: bool = False
    lent: bool = False
    error: str | None = None  # why it is not connected
    baudrate: int = 0
    path: str | None = None


class Request:
    """Something that the io thread does with the port, and how it went."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.over = threading.Event()
        self.error: Exception | None = None
        self._action = action

    def run(self) -> None:
        try:
            self._action()
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            self.error = error
        self.over.set()


_FIRST = 0.2  # seconds until the second attempt
_LOOK_EVERY = 1.0  # seconds, at most, between two looks for a port that is not there
_LAST = 5.0  # … between two attempts to use one that does not work
_ALIVE_AFTER = 5.0  # seconds after which a port that says nothing has worked


class Retry:
    """A pause that grows from failure to failure, until a port has worked."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.at = 0.0  # when it is tried again
        self._now = now
        self._pause = _FIRST
        self._opened_at = 0.0

    @property
    def due(self) -> bool:
        return self._now() >= self.at

    def missing(self) -> None:
        """It is not there."""
        self._put_off(_LOOK_EVERY)

    def failed(self) -> None:
        """It does not open, or something else is wrong."""
        self._put_off(_LAST)

    def opened(self) -> None:
        self._opened_at = self._now()

    def works(self) -> None:
        """It has said something."""
        self._pause = _FIRST

    def lost(self) -> None:
        """It was open and is gone: at once again, unless it goes again and again."""
        if self._now() - self._opened_at > _ALIVE_AFTER:
            self.works()
        if self._pause == _FIRST:
            self.at, self._pause = self._now(), 2 * _FIRST
        else:
            self._put_off(_LAST)

    def _put_off(self, longest: float) -> None:
        self._pause = min(self._pause, longest)
        self.at = self._now() + self._pause
        self._pause *= 2


Written = Callable[[int], None]


class Outbox:
    """Filled by any thread, emptied by the one that owns the port.

    Whoever gives something is told, piece by piece and on that thread, how much has been written of
    it, and with 0 that the rest is thrown away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[tuple[memoryview, Written]] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, data: bytes, written: Written) -> None:
        """Queue `data`, which nothing else can come into the middle of."""
        if data:
            with self._lock:
                self._queue.append((memoryview(data), written))

    def write(self, write: Callable[[memoryview], int]) -> int:
        """Have `write` take what it can of what comes first; how much that was."""
        with self._lock:
            if not self._queue:
                return 0
            data, written = self._queue.popleft()
        number = 0
        try:
            number = write(data)
        finally:
            if number < len(data):
                with self._lock:
                    self._queue.appendleft((data[number:], written))
        if number:
            written(number)
        return number

    def clear(self) -> bool:
        """Throw away all that waits; False when that is nothing."""
        with self._lock:
            lost, self._queue = self._queue, deque()
        for _, written in lost:
            written(0)
        return bool(lost)


log = logging.getLogger(__name__)


class Line:
    """What the driver, its waits and the pages share of one port; all of it is for any thread.

    `find` gives the path of the port and `open_port` opens it there with a baud rate, on the io
    thread; both raise DeviceGone. `changed` is called on the hardware thread after `status` has
    changed. `max_rate` is how many bytes per second a page gets to see at most.
    """

    def __init__(
        self,
        name: str,
        services: Services,
        *,
        find: Callable[[], str],
        open_port: Callable[[str, int], Port],
        changed: Callable[[], None],
        baudrate: int,
        capacity: int,
        history: int,
        max_rate: int | None,
        write_timeout: float,
    ) -> None:
        self.epoch = _new_epoch()
        self.generation = 0  # of students
        self.tape = Tape(capacity)
        self.status = Status(baudrate=baudrate)
        self.rx_bytes = self.tx_bytes = self.dropped_bytes = 0
        self._name = name
        self._now = services.clock.now
        self._find = find
        self._open_port = open_port
        self._changed = changed
        self._history = history
        self._max_rate = max_rate
        self._write_timeout = write_timeout
        self._io = IoLoop(name, services, self._run)
        self.stop = self._io.stop
        self._outbox = Outbox()
        self._requests: deque[Request] = deque()
        self._lock = threading.Lock()  # of what several threads write
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._port: Port | None = None
        self._retry = Retry(self._now)
        self._taken_at = 0.0  # when the port last took something of what waits, or nothing waited
        self._tell_at: float | None = None  # when listeners want to be told again, in any case

    # ------------------------------------------------------------------ any thread

    def start(self, patience: float) -> None:
        """Open the port; the first attempt has been made when this returns, or time is over."""
        first = self.request(Line.attempt)
        self._io.start()
        first.over.wait(patience)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever there is more to read or another status; it must not wait."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one != listener)

    def reader(self, epoch: str | None = None, offset: int | None = None) -> Reader:
        """A page's place: at `offset` of this `epoch`, else where the history begins."""
        end = self.tape.end
        if epoch != self.epoch or offset is None or offset > end:
            offset = max(self.tape.start, end - self._history)
        return Reader(
            self.tape,
            offset,
            now=self._now,
            lost=self._count_dropped,
            ask_again=self._tell_again,
            max_rate=self._max_rate,
        )

    def _tell_again(self, seconds: float) -> None:
        """Call the listeners in `seconds` at most, even if nothing comes until then."""
        at = self._now() + seconds
        if self._tell_at is None or at < self._tell_at:
            self._tell_at = at
            self._io.wake()

    def write(self, data: bytes, written: Written, generation: int | None = None) -> None:
        """Queue `data`; DeviceGone while the port is not there, DeviceError while it is lent.

        What comes from a page of an older `generation` is refused: its student has gone.
        """
        self.check()
        with self._lock:
            if generation not in (None, self.generation):
                raise DeviceError(f"'{self._name}' is for the next student now.")
            self._outbox.put(data, written)
        self._io.wake()

    def check(self) -> None:
        """DeviceGone or DeviceError when nothing can be written now."""
        status = self.status
        if status.lent:
            raise DeviceError(f"'{self._name}' is lent to a programmer; try again when it is back.")
        if not status.connected:
            raise DeviceGone(f"'{self._name}' is not connected: {status.error or 'not open yet'}.")

    def request(self, action: Callable[[Line], None]) -> Request:
        """Have the io thread do something with this line's port."""
        request = Request(lambda: action(self))
        self._requests.append(request)
        self._io.wake()
        return request

    def forget(self) -> None:
        """Another student comes: nobody sees what was received, nor sends what was not sent."""
        with self._lock:
            self.generation += 1
            self.epoch = _new_epoch()
            self._outbox.clear()
            self.tape.forget()
        self._tell()

    def _count_dropped(self, number: int) -> None:
        with self._lock:
            self.dropped_bytes += number

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
        self._set(replace(self.status, baudrate=baudrate))

    def lend(self) -> None:
        """Let go of the port, which somebody else uses until `take_back`; DeviceGone without."""
        path = self.port.path
        self._close()
        self._set(Status(lent=True, baudrate=self.status.baudrate, path=path))

    def take_back(self) -> None:
        self._set(Status(baudrate=self.status.baudrate))
        self.attempt()

    def attempt(self) -> None:
        """Open the port, or see that it is tried again later."""
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
                self._requests.popleft().run()
            self._close()

    def _turn(self) -> None:
        while self._requests:
            request = self._requests.popleft()
            request.run()
            if isinstance(request.error, DeviceGone) and self._port is not None:
                raise request.error
        if self._port is None and not self.status.lent and self._retry.due:
            self.attempt()
        port = self._port
        descriptors = [] if port is None or port.descriptor is None else [port.descriptor]
        readable, _ = self._io.wait(self._rest(), descriptors, descriptors if self._outbox else ())
        if port is not None:
            if readable or port.descriptor is None:
                self._receive(port)
            self._send(port)
        if self._tell_at is not None and self._now() >= self._tell_at:
            self._tell()

    def _rest(self) -> float | None:
        """How long there is nothing to do unless something happens."""
        now = self._now()
        times = []
        if self._port is not None:
            times.append(self._port.due())
            if self._outbox:
                times.append(self._taken_at + self._write_timeout - now)
        elif not self.status.lent:
            times.append(self._retry.at - now)
        if self._tell_at is not None:
            times.append(self._tell_at - now)
        return min((time for time in times if time is not None), default=None)

    def _open(self) -> None:
        try:
            path = self._find()
        except DeviceGone:
            self._retry.missing()
            raise
        try:
            self._port = self._open_port(path, self.status.baudrate)
        except DeviceGone:
            self._retry.failed()
            raise
        self._retry.opened()
        self._taken_at = self._now()
        self._outbox.clear()  # what was given while the port was just going is not for now
        log.info("%s is connected at %s", self._name, path)
        self._set(replace(self.status, connected=True, error=None, path=path))

    def _lose(self, error: LabnodeError) -> None:
        """The port is gone, or still not there."""
        if self._port is not None:
            self._retry.lost()
        self._close()
        if not self.status.lent and str(error) != self.status.error:
            log.warning("%s is not connected: %s", self._name, error)
            self._set(Status(error=str(error), baudrate=self.status.baudrate))

    def _close(self) -> None:
        port, self._port = self._port, None
        waits = self._outbox.clear()
        if port is not None:
            with suppress(DeviceGone):
                if waits:  # or Linux would wait 30 s for a device that takes nothing
                    port.drop_output()
            port.close()

    def _receive(self, port: Port) -> None:
        data = port.read()
        if data:
            self._retry.works()
            self.rx_bytes += len(data)
            self.tape.write(data)
            self._tell()

    def _send(self, port: Port) -> None:
        if not self._outbox:
            self._taken_at = self._now()
            return
        number = self._outbox.write(port.write)
        self.tx_bytes += number
        if number:
            self._taken_at = self._now()
        elif self._now() - self._taken_at >= self._write_timeout:
            log.warning("%s takes nothing any more; what waits is thrown away", self._name)
            self._outbox.clear()
            port.drop_output()

    def _set(self, status: Status) -> None:
        if status != self.status:
            self.status = status
            self._io.post(self._changed)
            self._tell()

    def _tell(self) -> None:
        self._tell_at = None
        for listener in self._listeners:
            listener()


def _new_epoch() -> str:
    """A name for what is received from now on: offsets of another one mean something else."""
    return secrets.token_urlsafe(6)
