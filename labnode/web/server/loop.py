"""Every open connection, on one thread: reads whole requests, within limits of time and number."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from labnode.clock import Clock
from labnode.waker import Waker
from labnode.web.server.connection import Connection, Limits, State
from labnode.web.server.request import Refusal

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
    never waits for one client, so a client that drips costs a socket and no thread; and it sleeps
    when it has nothing to do.
    """

    def __init__(self, listener: socket.socket, limits: Limits) -> None:
        self.requests: SimpleQueue[Connection | None] = SimpleQueue()
        self.stopping = False
        self.abandoned = False
        self._listener = listener
        self._limits = limits
        self._now = Clock().now
        self._open: set[Connection] = set()
        self._accept_again: float | None = None
        self._returned: deque[Connection] = deque()
        self._lock = threading.Lock()  # of _over
        self._over = False
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
        while self._returned:
            self._guard(self._returned.popleft(), self._take_back)
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
        self._returned.append(connection)
        if not self._wake():
            connection.reader.clear()
            connection.socket.close()

    def stop(self) -> None:
        """Take no more connections and requests, finish those that are served. From any thread."""
        self.stopping = True
        self._wake()

    def abandon(self) -> None:
        """Cut off also the requests that are being served. From any thread."""
        self.stopping = self.abandoned = True
        self._wake()

    def _wake(self) -> bool:
        with self._lock:
            if not self._over:
                self._waker.wake()
            return not self._over

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
        connection = Connection(sock, address, port, self._limits)
        self._open.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)
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
        if connection.request is not None:
            self._selector.unregister(connection.socket)
            self._enter(connection, State.SERVING, None)
            self.requests.put(connection)
            return
        if connection.state is State.IDLE and reader.received:
            self._enter(connection, State.READING, self._limits.read_deadline)
        if reader.sink is not None:
            allowed = self._limits.read_deadline + reader.received / _SLOWEST
            connection.deadline = connection.since + allowed
        if reader.size > _PIECE and sum(c.reader.size for c in self._open) > self._limits.memory:
            raise Refusal(503, "There are too many large requests at the moment; try again soon.")
        if go_on := reader.go_on():
            connection.socket.send(go_on)

    def _take_back(self, connection: Connection) -> None:
        connection.request = None
        if connection.switched or connection.handed_over:
            self._open.discard(connection)
            return
        connection.socket.setblocking(False)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
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
        self._enter(connection, State.LINGERING, _LINGER)
        lingering = [c for c in self._open if c.state is State.LINGERING]
        if len(lingering) > _MAX_LINGERING:
            self._close(min(lingering, key=lambda c: c.since))

    def _enter(self, connection: Connection, state: State, seconds: float | None) -> None:
        connection.state = state
        connection.since = self._now()
        connection.deadline = None if seconds is None else connection.since + seconds

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.reader.clear()
        with suppress(KeyError, ValueError):  # it was lent out, or is closed
            self._selector.unregister(connection.socket)
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
        for connection in self._returned:
            connection.reader.clear()
            connection.socket.close()
        self._selector.close()
        self._waker.close()
