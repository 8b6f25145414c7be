"""The clients' connections: accepted within limits, read as whole requests, answered, closed."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol
from wsgiref.types import WSGIEnvironment

import h11

from labnode.clock import Clock
from labnode.http.guesses import source_of
from labnode.http.reactor import Group, Participant, Reactor
from labnode.http.request import TOO_MANY, Refusal, RequestReader
from labnode.http.writer import Large, Writer, nothing_large
from labnode.threads import Pool

logger = logging.getLogger(__name__)

_PIECE = 16384  # bytes read at once
_SENT_AT_ONCE = 1 << 16  # bytes
_SEND_BUFFER = 1 << 18  # bytes that the kernel keeps for a client; its own choice is megabytes
_LINGER = 2.0  # seconds that a client which still sends gets to read its last answer
_MAX_LINGERING = 16  # such connections, on top of the limits
_RETRY_ACCEPT = 1.0  # seconds
_ACCEPTED_AT_ONCE = 16  # then those who are there have their turn
_SLOWEST = 8192  # bytes per second of a large body, or of an answer, after the first seconds
_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class ClientGone(Exception):
    """The client has closed its connection before it had its answer: nobody's fault."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may use; times in seconds, sizes in bytes."""

    read_deadline: float  # for one whole request; for taking anything of an answer
    keep_alive: float  # between two requests
    max_head: int
    max_body: int
    memory: int  # all bodies together, and all answers that clients have not taken yet
    connections: int
    per_address: int
    large: Large = nothing_large  # bodies that go elsewhere than into memory
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()  # exempt from per_address


class Answer(Protocol):
    """An answer of which something is not sent. Its methods may wait for the application."""

    def turn(self) -> bool:
        """Send what the client takes now, at least; whether that was all. Raises ClientGone."""

    def close(self) -> None:
        """Nobody takes the rest; idempotent."""


class Listener(Participant):
    """Accepts clients within the limits.

    A connection that needs a thread goes to `requests`: it has a whole request, or its client takes
    more of the answer, or has left it. The pool serves it, and calls its `give_back`.
    """

    deadline: float | None = None

    def __init__(
        self, sock: socket.socket, limits: Limits, reactor: Reactor, requests: Pool[Connection]
    ) -> None:
        super().__init__(sock, reactor)
        self.limits = limits
        self.writer = Writer(limits.large, f"{reactor.name}-writer")
        self.requests = requests
        self.connections: Group[Connection] = Group()
        self._pausing = False
        self._leaving = False
        self._now = Clock().now
        sock.setblocking(False)
        reactor.adopt(self)

    def leave(self) -> None:
        """Accept nobody any more; connections go on. Any thread."""
        self._leaving = True
        self.wake()

    def woken(self) -> None:
        self.over = self._leaving

    @property
    def interest(self) -> int:
        return 0 if self._pausing else selectors.EVENT_READ

    def ready(self, events: int) -> None:  # noqa: ARG002 - it can only be read
        # At the end of the turn, so that nobody who has just sent something counts as idle.
        self.deadline = self._now()

    def tick(self) -> None:
        self.deadline = None
        if self._leaving:
            self.over = True
            return
        if self._pausing:
            self._pausing = False
            return
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Accept one client; False when nobody waits, or nobody can be accepted now."""
        try:
            sock, (address, port, *_) = self.socket.accept()
        except OSError as error:
            if error.errno in _NO_RESOURCES:  # the listener stays readable: do not spin on it
                logger.warning("No connection can be accepted for now: %s", error)
                self._pausing = True
                self.deadline = self._now() + _RETRY_ACCEPT
            return False
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        connection = Connection(sock, address, port, self)
        self.connections.add(connection)
        self.reactor.adopt(connection)
        return True

    def failed(self, error: Exception) -> None:
        logger.error("A connection could not be accepted", exc_info=error)

    def admit(self, newcomer: Connection) -> None:
        """Refusal when there are too many connections, and none can be closed instead."""
        counted = [c for c in self.connections.members if c.state is not ConnectionState.LINGERING]
        neighbours = [c for c in counted if c.source == newcomer.source]
        if not newcomer.trusted and len(neighbours) > self.limits.per_address:
            self._make_room(newcomer, neighbours, "from your address")
        elif len(counted) > self.limits.connections:
            self._make_room(newcomer, counted, "at the moment")

    def _make_room(self, newcomer: Connection, crowd: list[Connection], when: str) -> None:
        """Close the connection that has been idle for longest: keeping it open was a favour.

        If none is, close the slowest of the other addresses, so that clients that drip from many
        of them keep nobody out: who is not slow is never the slowest.
        """
        idle = [c for c in crowd if c.state is ConnectionState.IDLE and c is not newcomer]
        others = idle or [c for c in crowd if c.slow and c.source != newcomer.source]
        if not others:
            raise Refusal(503, f"There are too many connections {when}; try again soon.")
        self.reactor.discard(min(others, key=lambda c: c.since))

    def check_memory(self) -> None:
        """Refusal when the bodies that are read take too much of it."""
        if sum(each.reader.size for each in self.connections.members) > self.limits.memory:
            raise Refusal(503, TOO_MANY)

    def limit_unsent(self) -> None:
        """Close who has taken nothing for longest, if too much waits for all together."""
        sending = [c for c in self.connections.members if c.state is ConnectionState.SENDING]
        excess = sum(each.unsent for each in sending) - self.limits.memory
        for connection in sorted(sending, key=lambda c: c.since)[:-1]:  # a single one may be large
            if excess <= 0:
                return
            excess -= connection.unsent
            self.reactor.discard(connection)

    def give_back_unserved(self) -> None:
        """Give back what waits for a thread: there may be none that ever has time. Any thread.

        What the application has returned already can only be closed by one, so that waits on.
        """
        for connection in self.requests.take_waiting():
            if connection.answer is None:
                connection.give_back()
            else:
                self.requests.put(connection)

    def limit_lingering(self) -> None:
        """Close the connection that lingers for longest, when there are too many."""
        lingering = [c for c in self.connections.members if c.state is ConnectionState.LINGERING]
        if len(lingering) > _MAX_LINGERING:
            self.reactor.discard(min(lingering, key=lambda c: c.since))


class ConnectionState(Enum):
    """What a connection is doing."""

    NEW = "it is just accepted"
    IDLE = "no byte of a request has come"
    READING = "a part of a request has come, or a large body is not all written"
    SERVING = "a whole request is with the application, or waits for a thread"
    SENDING = "the client has to take what there is of the answer"
    LINGERING = "the last answer is sent, what still comes is thrown away"


class Connection(Participant):
    """One client's socket, lent to the thread that serves its request.

    A client that drips, or reads slowly, costs a socket and no thread. A view may have it `become`
    something else.
    """

    deadline: float | None = None  # when it has to leave its state

    def __init__(self, sock: socket.socket, address: str, port: int, listener: Listener) -> None:
        super().__init__(sock, listener.reactor, listener.connections)
        self.address = address.removeprefix("::ffff:")  # IPv4 on an IPv6 listener
        self.port = port
        self.source = source_of(self.address)
        self.limits = listener.limits
        self.trusted = any(ip_address(self.address) in network for network in self.limits.trusted)
        self.reader = RequestReader(self.limits.max_head, self.limits.max_body, listener.writer)
        self.request: WSGIEnvironment | None = None  # the one that is being served
        self.answer: Answer | None = None  # to it; its methods are for the thread that serves it
        self.closed = False
        self.successor: Participant | None = None
        self.state = ConnectionState.NEW
        self.since = 0.0  # when it entered its state
        self._listener = listener
        self._now = Clock().now
        self._writing = False  # nothing is read while the writer has something of the body
        self._unsent: deque[memoryview] = deque()  # of the answer
        self._sending_since = 0.0  # when it began to wait for the client
        self._sent = 0  # bytes since then
        self._handing = threading.Lock()  # of what follows, and of the state when it is given back
        self._lent = False  # to the thread that serves its request
        self._ahead = False  # its client has sent more before the answer, which is not read yet
        self._cut_off = False  # it has been closed while it was lent

    # ------------------------------------------------------------------ the serving thread

    def become(self, successor: Participant) -> None:
        """Hand the socket to `successor` when the view has returned.

        The view has made h11's 101 answer, or what it returns is the beginning of an answer whose
        rest `successor` sends. If that beginning cannot be sent, `successor` is closed.
        """
        self.successor = successor

    def send(self, data: bytes) -> None:
        """Send what the client's side takes now, and leave the rest to the reactor; ClientGone."""
        rest = memoryview(data)
        try:
            while rest and not self._unsent:
                rest = rest[self.socket.send(rest) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self.reader.http.send_failed()
            raise ClientGone from error
        if rest:
            self._unsent.append(rest)

    @property
    def unsent(self) -> int:
        """How many bytes of the answer wait until the client takes them; nothing is added then."""
        return sum(map(len, self._unsent))

    def framed(self, data: bytes) -> bytes:
        """A piece of the answer's body as it goes over the wire."""
        return bytes(self.reader.http.send(h11.Data(data=data)) or b"")

    def give_back(self) -> None:
        """Whoever served its request has no more to do with it.

        If it can only wait for the next request, the reactor need not be woken.
        """
        with self._handing:
            self._lent = False
            if rests := self._is_at_rest():
                self.request = None
                self.reader.feed(b"")
                self._enter(ConnectionState.IDLE, self.limits.keep_alive)
        if rests and not self.reactor.stopping:
            return
        if self._cut_off or not self.wake():
            self.drop_answer()
            self.close()

    def _is_at_rest(self) -> bool:
        """Whether all that can happen to it now is another request."""
        more = self._unsent or self.answer or self.successor or self.reader.large_body
        over = self._ahead or self._cut_off or self.closed
        return not (more or over) and self.reusable and not self.reader.http.trailing_data[0]

    def drop_answer(self) -> None:
        """Close the answer, of which nothing more is sent."""
        answer, self.answer = self.answer, None
        try:
            if answer is not None:
                answer.close()
        except Exception:
            logger.exception("The application failed when its answer was not needed any more")

    @property
    def reusable(self) -> bool:
        """Whether its request is answered and another one may follow."""
        http = self.reader.http
        return http.our_state is http.their_state is h11.DONE

    # ------------------------------------------------------------------ the reactor

    @property
    def interest(self) -> int:
        if self.state is ConnectionState.SENDING:
            return selectors.EVENT_WRITE
        return 0 if self._writing or self._ahead else selectors.EVENT_READ

    @property
    def slow(self) -> bool:
        """Whether it may be a client's fault that it is not done; a large file takes its time."""
        reading = self.state is ConnectionState.READING and self.reader.large_body is None
        return reading or self.state is ConnectionState.SENDING

    def ready(self, events: int) -> None:  # noqa: ARG002 - the state says which
        if self.state is ConnectionState.SENDING:
            self._send_rest()
            return
        with self._handing:
            if self.state is ConnectionState.SERVING:  # or given back, but not taken back yet
                self._ahead = True
                return
        try:
            data = self.socket.recv(_PIECE)
        except BlockingIOError:
            return
        if not data:
            self.over = True
        elif self.state is not ConnectionState.LINGERING:
            self._read(data)

    def woken(self) -> None:
        if self.state is ConnectionState.NEW:
            self._enter(ConnectionState.IDLE, self.limits.read_deadline)
            self._listener.admit(self)
        elif self.state is ConnectionState.SERVING and not self._lent:
            self._take_back()
        elif self._writing:
            self._go_on()

    def tick(self) -> None:
        with self._handing:
            if self.state is ConnectionState.SERVING:  # it may be idle before this comes again
                self.deadline = self._now() + self.limits.keep_alive
            if self.deadline is not None and self.deadline > self._now():  # it was just given back
                return
        if self.state is ConnectionState.READING:
            raise Refusal(408, f"The request took over {self.limits.read_deadline:g} seconds.")
        self.over = True

    def failed(self, error: Exception) -> None:
        if isinstance(error, Refusal):
            logger.debug("Refused %s: %s", self.address, error)
            with suppress(OSError):
                self.socket.send(error.response())
            self._linger()
        else:
            super().failed(error)

    def stop(self) -> None:
        if self.state not in (ConnectionState.SERVING, ConnectionState.SENDING):
            self.over = True

    def close(self) -> None:
        with self._handing:
            self._cut_off = self._lent
        if self._cut_off:
            with suppress(OSError):  # ends a send that waits; its thread gives it back
                self.socket.shutdown(socket.SHUT_RDWR)
            return
        super().close()
        self.closed = True
        self.request = None
        self.reader.clear()
        self._unsent.clear()
        if self.successor is not None:
            self.successor.close()
        if self.answer is not None:  # the application may take its time to close it
            self._listener.requests.put(self)

    def _read(self, data: bytes) -> None:
        reader = self.reader
        self.request = reader.feed(data, self)
        if self.state is ConnectionState.IDLE and reader.received:
            self._enter(ConnectionState.READING, self.limits.read_deadline)
        if reader.large_body is not None:
            self.deadline = self.since + self.limits.read_deadline + reader.received / _SLOWEST
        self._go_on()

    def _go_on(self) -> None:
        """See to what has been read, or wait for the writer and read nothing until then."""
        reader, body = self.reader, self.reader.large_body
        self._writing = body is not None and body.pending
        if self._writing:
            return
        if body is not None and body.failure is not None:
            if isinstance(body.failure, OSError):
                raise Refusal(507, "The lab's computer has no room for the file.")
            raise body.failure
        if self.request is not None:
            self._lend()
            return
        if reader.size > _PIECE:
            self._listener.check_memory()
        if go_on := reader.go_on():
            self.socket.send(go_on)

    def _lend(self) -> None:
        # The reactor looks at it again before it could have been idle for too long.
        self._enter(ConnectionState.SERVING, self.limits.keep_alive)
        self._lent = True
        self._listener.requests.put(self)

    def _take_back(self) -> None:
        """Whoever served it gave it back, or all that there was of the answer is sent."""
        if self._unsent:
            self._sent, self._sending_since = 0, self._now()
            self._enter(ConnectionState.SENDING, self.limits.read_deadline)
            self._listener.limit_unsent()
        elif self.answer is not None:
            self._lend()
        else:
            self._answered()

    def _send_rest(self) -> None:
        try:
            sent = self.socket.send(self._unsent[0][:_SENT_AT_ONCE])
        except BlockingIOError:
            return
        self._sent += sent
        self._enter(ConnectionState.SENDING, self.limits.read_deadline)
        slowest = self._sending_since + self.limits.read_deadline + self._sent / _SLOWEST
        self.deadline = min(self.since + self.limits.read_deadline, slowest)
        rest = self._unsent.popleft()[sent:]
        if rest:
            self._unsent.appendleft(rest)
        if not self._unsent:
            self._take_back()

    def _answered(self) -> None:
        self.request = None
        state = self.reader.http.our_state
        if self.successor is not None and state in (h11.SWITCHED_PROTOCOL, h11.SEND_BODY):
            self.reader.clear()
            self._listener.connections.discard(self)
            self.reactor.replace(self, self.successor)
        elif self.reusable and not self.reactor.stopping:
            self._enter(ConnectionState.IDLE, self.limits.keep_alive)
            self._read(b"")  # the next request may have come with the last one
        else:
            self._linger()

    def _linger(self) -> None:
        """End the connection so that its last answer arrives even if the client still sends."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.over = True
            return
        self._writing = False
        self.reader.clear()
        self._enter(ConnectionState.LINGERING, _LINGER)
        self._listener.limit_lingering()

    def _enter(self, state: ConnectionState, seconds: float | None) -> None:
        self.state = state
        self._ahead = False
        self.since = self._now()
        self.deadline = None if seconds is None else self.since + seconds
