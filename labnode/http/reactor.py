"""Every open connection, on one thread: reads whole requests, within limits of time and number."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from queue import SimpleQueue

from labnode.clock import Clock
from labnode.errors import Busy
from labnode.http.connection import Connection, Limits, State
from labnode.http.request import TOO_MANY, Refusal
from labnode.http.websocket import FAILED, SESSION_OVER, STOPPING, Channel, WebSocketLimits
from labnode.http.writer import LargeBody, Writer
from labnode.waker import Waker

logger = logging.getLogger(__name__)

_PIECE = 16384  # bytes read at once
_LINGER = 2.0  # seconds that a client which still sends gets to read its last answer
_MAX_LINGERING = 16  # such connections, on top of the limits
_RETRY_ACCEPT = 1.0  # seconds
_SLOWEST = 8192  # bytes per second of a large body on average, after the first seconds
_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Loop:
    """The owner of the listener and all sockets.

    A connection with a whole request is lent out through `requests`, until `give_back`. The loop
    never waits for one client, so a client that drips costs a socket and no thread; nor for the
    disk, which is `writer`'s business; and it sleeps when it has nothing to do.
    """

    def __init__(self, listener: socket.socket, limits: Limits) -> None:
        self.requests: SimpleQueue[Connection | None] = SimpleQueue()
        self.stopping = False
        self.abandoned = False
        self._listener = listener
        self.writer = Writer(limits.large, self)
        self._limits = limits
        self._now = Clock().now
        self._open: set[Connection] = set()
        self._accept_again: float | None = None
        self._lock = threading.Lock()  # of what follows
        self._returned: list[Connection] = []
        self._written: list[LargeBody] = []
        self._over = False  # nothing is added to them any more
        self._waker = Waker()
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(self._waker.descriptor, selectors.EVENT_READ)
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Loop until `stop` and the end of the last answer, or `abandon`."""
        try:
            while not self.abandoned and not (self.stopping and not self._open):
                try:
                    self.turn()
                except Exception:
                    logger.exception("A turn of the web server's loop failed")
        finally:
            self._end()

    def turn(self) -> None:
        """Wait for something to happen, and see to all that has happened."""
        accept = False
        for key, _ in self._selector.select(self._timeout()):
            if key.data is not None:
                self._guard(key.data, self._receive)
            elif key.fileobj is self._listener:
                accept = True  # last, so that nobody who has just sent something counts as idle
            else:
                self._waker.heard()
        for connection in self._take_returned():
            self._guard(connection, self._take_back)
        for body in self._take_written():
            body.pending -= 1
            for connection in [c for c in self._open if c.reader.large_body is body]:
                self._guard(connection, self._go_on)
        now = self._now()
        for connection in [c for c in self._open if c.deadline is not None and c.deadline <= now]:
            self._guard(connection, self._expire)
        if self.stopping:
            self._close_unserved()
        elif accept:
            self._accept()
        elif self._accept_again is not None and self._accept_again <= now:
            self._accept_again = None
            self._selector.register(self._listener, selectors.EVENT_READ)

    def give_back(self, connection: Connection) -> None:
        """Whoever served its request has no more to do with it. From any thread."""
        with self._lock:
            over = self._over
            if not over:
                self._returned.append(connection)
        if over:
            connection.reader.clear()
            connection.socket.close()
        else:
            self._waker.wake()

    def written(self, body: LargeBody) -> None:
        """The writer has taken a step of it. From any thread."""
        with self._lock:
            if not self._over:
                self._written.append(body)
        self._waker.wake()

    def stop(self) -> None:
        """Take no more connections and requests, finish those that are served. From any thread."""
        self.stopping = True
        self._waker.wake()

    def abandon(self) -> None:
        """Cut off also the requests that are being served. From any thread."""
        self.stopping = self.abandoned = True
        self._waker.wake()

    def _take_returned(self) -> list[Connection]:
        with self._lock:
            returned, self._returned = self._returned, []
        return returned

    def _take_written(self) -> list[LargeBody]:
        with self._lock:
            written, self._written = self._written, []
        return written

    def _timeout(self) -> float | None:
        deadlines = [c.deadline for c in self._open if c.deadline is not None]
        if self._accept_again is not None:
            deadlines.append(self._accept_again)
        return max(0.0, min(deadlines) - self._now()) if deadlines else None

    def _guard(self, connection: Connection, step: Callable[[Connection], None]) -> None:
        """Take a step for one connection, whose troubles end that connection and never the loop."""
        try:
            step(connection)
        except Refusal as refusal:
            logger.debug("Refused %s: %s", connection.address, refusal)
            with suppress(OSError):
                connection.socket.send(refusal.response())
            self._linger(connection)
        except OSError:
            self._close(connection)
        except Exception:
            logger.exception("A connection is closed because of a fault in the server")
            self._close(connection)

    def _accept(self) -> None:
        try:
            sock, (address, port, *_) = self._listener.accept()
        except OSError as error:
            if error.errno in _NO_RESOURCES:  # the listener stays readable: do not spin on it
                logger.warning("No connection can be accepted for now: %s", error)
                self._selector.unregister(self._listener)
                self._accept_again = self._now() + _RETRY_ACCEPT
            return
        sock.setblocking(False)
        connection = Connection(sock, address, port, self._limits, self.writer)
        self._open.add(connection)
        self._watch(connection)
        self._enter(connection, State.IDLE, self._limits.read_deadline)
        self._guard(connection, self._admit)

    def _admit(self, newcomer: Connection) -> None:
        counted = [c for c in self._open if c.state is not State.LINGERING]
        neighbours = [c for c in counted if c.address == newcomer.address]
        if not newcomer.trusted and len(neighbours) > self._limits.per_address:
            self._make_room(newcomer, neighbours, "from your address")
        elif len(counted) > self._limits.connections:
            self._make_room(newcomer, counted, "at the moment")

    def _make_room(self, newcomer: Connection, crowd: list[Connection], when: str) -> None:
        """Close the connection that has been idle for longest: keeping it open was a favour."""
        idle = [c for c in crowd if c.state is State.IDLE and c is not newcomer]
        if not idle:
            raise Refusal(503, f"There are too many connections {when}; try again soon.")
        self._close(min(idle, key=lambda c: c.since))

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(_PIECE)
        except BlockingIOError:
            return
        if not data:
            self._close(connection)
        elif connection.state is not State.LINGERING:
            self._read(connection, data)

    def _read(self, connection: Connection, data: bytes) -> None:
        reader = connection.reader
        connection.request = reader.feed(data)
        if connection.state is State.IDLE and reader.received:
            self._enter(connection, State.READING, self._limits.read_deadline)
        if reader.large_body is not None:
            allowed = self._limits.read_deadline + reader.received / _SLOWEST
            connection.deadline = connection.since + allowed
        self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        """See to what has been read, or wait for the writer and read nothing until then."""
        reader, body = connection.reader, connection.reader.large_body
        if body is not None and body.pending:
            self._unwatch(connection)
            return
        if body is not None and body.failure is not None:
            if isinstance(body.failure, OSError):
                raise Refusal(507, "The lab's computer has no room for the file.")
            raise body.failure
        if connection.request is not None:
            self._unwatch(connection)
            self._enter(connection, State.SERVING, None)
            self.requests.put(connection)
            return
        self._watch(connection)
        if reader.size > _PIECE and sum(c.reader.size for c in self._open) > self._limits.memory:
            raise Refusal(503, TOO_MANY)
        if go_on := reader.go_on():
            connection.socket.send(go_on)

    def _take_back(self, connection: Connection) -> None:
        connection.request = None
        if connection.switched or connection.handed_over:
            self._open.discard(connection)
            return
        connection.socket.setblocking(False)
        self._watch(connection)
        if connection.reusable and not self.stopping:
            self._enter(connection, State.IDLE, self._limits.keep_alive)
            self._read(connection, b"")  # the next request may have come with the last one
        else:
            self._linger(connection)

    def _expire(self, connection: Connection) -> None:
        if connection.state is State.READING:
            raise Refusal(408, f"The request took over {self._limits.read_deadline:g} seconds.")
        self._close(connection)

    def _linger(self, connection: Connection) -> None:
        """End the connection so that its last answer arrives even if the client still sends."""
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        connection.reader.clear()
        self._watch(connection)
        self._enter(connection, State.LINGERING, _LINGER)
        lingering = [c for c in self._open if c.state is State.LINGERING]
        if len(lingering) > _MAX_LINGERING:
            self._close(min(lingering, key=lambda c: c.since))

    def _watch(self, connection: Connection) -> None:
        if connection.socket not in self._selector.get_map():
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _unwatch(self, connection: Connection) -> None:
        with suppress(KeyError, ValueError):  # it is not watched, or closed
            self._selector.unregister(connection.socket)

    def _enter(self, connection: Connection, state: State, seconds: float | None) -> None:
        connection.state = state
        connection.since = self._now()
        connection.deadline = None if seconds is None else connection.since + seconds

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.reader.clear()
        self._unwatch(connection)
        connection.socket.close()

    def _close_unserved(self) -> None:
        if self._listener.fileno() >= 0:
            with suppress(KeyError):  # accepting was suspended
                self._selector.unregister(self._listener)
            self._listener.close()
        for connection in [c for c in self._open if c.state is not State.SERVING]:
            self._close(connection)

    def _end(self) -> None:
        self._close_unserved()
        with self._lock:
            self._over = True
            for connection in self._open:
                with suppress(OSError):  # ends a send that waits; whoever serves it closes it
                    connection.socket.shutdown(socket.SHUT_RDWR)
        for connection in self._take_returned():
            connection.reader.clear()
            connection.socket.close()
        self.writer.close()
        self._selector.close()
        self._waker.close()


_HUNG_AFTER = 30.0  # seconds for a turn, in which it waits for nobody


class Hub:
    """Reads, writes and closes the sockets of its channels from `start` to `stop`.

    It never waits for one of them, and sleeps when none has anything to do.
    """

    def __init__(self, limits: WebSocketLimits) -> None:
        self._limits = limits
        self._now = Clock().now
        self._lock = threading.Lock()  # of what follows
        self._thread: threading.Thread | None = None
        self._channels: set[Channel] = set()  # replaced as a whole: others read it without the lock
        self._waker: Waker | None = None  # None: not running
        self._stopping = True
        self._stop_at = 0.0
        self._turn_began: float | None = None  # None: it waits
        self._look_again = False  # some who are here may have to go
        self._new: deque[Channel] = deque()
        self._changed: deque[Channel] = deque()

    @property
    def channels(self) -> set[Channel]:
        """Those that are open now."""
        return self._channels

    def start(self) -> None:
        self._stopping, self._waker = False, Waker()
        self._thread = threading.Thread(
            target=self._run, args=(self._waker,), name="websockets", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Close all, those that do not answer after `timeout` seconds without waiting for it."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._lock:
            self._stop_at = self._now() + timeout
            self._stopping = True
        for channel in self._channels:
            channel.end(STOPPING)
        self._wake()
        thread.join(timeout + 1.0)

    def fault(self) -> str | None:
        """Why channels are not served any more, or None; any thread may ask."""
        thread, began = self._thread, self._turn_began
        if thread is None or self._stopping:
            return None
        if not thread.is_alive():
            return "the thread of the WebSockets has died"
        if began is not None and self._now() - began > _HUNG_AFTER:
            return f"the thread of the WebSockets had no turn for {_HUNG_AFTER:g} s"
        return None

    def check_room(self, session_id: str | None, looking: bool = False) -> None:
        """Busy when another channel of this session would be one too many.

        Those of observers (`looking`) are counted apart: they take none from the student.
        """
        kind = (session_id, looking)
        mine = sum((each.session_id, each.looking) == kind for each in self._channels)
        if self._stopping:
            raise Busy("The lab is not serving WebSockets now.")
        if len(self._channels) >= self._limits.sockets or mine >= self._limits.per_session:
            raise Busy("There are too many WebSockets open; close some, or try again later.")

    def adopt(self, channel: Channel) -> None:
        """Own a channel from now on. Any thread."""
        with self._lock:
            running = not self._stopping
            if running:
                channel.wake = self._tell
                self._channels = self._channels | {channel}
                self._new.append(channel)
        if running:
            self._wake()
        else:
            channel.end(STOPPING)
            channel.socket.close()

    def look_again(self) -> None:
        """Have all channels checked that may have to be closed. Any thread."""
        self._look_again = True
        self._wake()

    def _tell(self, channel: Channel) -> None:
        """A channel has something to send, or ends."""
        self._changed.append(channel)
        self._wake()

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            waker.wake()

    # ------------------------------------------------------------------ the thread

    def _run(self, waker: Waker) -> None:
        with selectors.DefaultSelector() as selector, closing(waker):
            selector.register(waker.descriptor, selectors.EVENT_READ, waker)
            while not self._is_over():
                try:
                    self._turn(selector)
                except Exception:
                    logger.exception("A turn of the WebSockets' hub failed")
            for channel in self._channels:
                self._drop(selector, channel)
            with self._lock:
                if self._waker is waker:
                    self._waker = None
                self._new.clear()
                self._changed.clear()

    def _is_over(self) -> bool:
        return self._stopping and (not self._channels or self._now() >= self._stop_at)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Wait for something to happen, and see to all that has happened."""
        self._turn_began = None
        happened = selector.select(self._timeout())
        self._turn_began = self._now()
        for key, events in happened:
            if isinstance(key.data, Channel):
                self._see_to(selector, key.data, partial(Channel.ready, events=events))
            else:
                key.data.heard()
        while self._new:
            self._see_to(selector, self._new.popleft(), Channel.begin)
        while self._changed:
            self._see_to(selector, self._changed.popleft(), Channel.write)
        if self._look_again:
            self._look_again = False
            for channel in self._channels:
                if not channel.receiver.may_stay():
                    channel.end(SESSION_OVER)
        now = self._now()
        for channel in [c for c in self._channels if c.deadline <= now]:
            self._see_to(selector, channel, Channel.tick)

    def _timeout(self) -> float | None:
        deadlines = [channel.deadline for channel in self._channels]
        if self._stopping:
            deadlines.append(self._stop_at)
        return max(0.0, min(deadlines) - self._now()) if deadlines else None

    def _see_to(
        self, selector: selectors.BaseSelector, channel: Channel, step: Callable[[Channel], None]
    ) -> None:
        """Take a step for one channel, whose troubles end that channel and never the hub."""
        if channel not in self._channels:
            return
        try:
            step(channel)
            self._watch(selector, channel)
        except OSError:
            channel.lose()
        except Exception:
            logger.exception("A WebSocket is closed because of a fault in the hub")
            channel.over = channel.ending is not None
            channel.end(FAILED)
        if channel.over:
            self._drop(selector, channel)

    def _watch(self, selector: selectors.BaseSelector, channel: Channel) -> None:
        key = selector.get_map().get(channel.socket)
        if key is None and channel.interest:
            selector.register(channel.socket, channel.interest, channel)
        elif key is not None and not channel.interest:
            selector.unregister(channel.socket)
        elif key is not None and key.events != channel.interest:
            selector.modify(channel.socket, channel.interest, channel)

    def _drop(self, selector: selectors.BaseSelector, channel: Channel) -> None:
        with suppress(KeyError, ValueError):  # it was not watched
            selector.unregister(channel.socket)
        channel.socket.close()
        channel.end(STOPPING)
        with self._lock:
            self._channels = self._channels - {channel}
