"""One open WebSocket: its socket and its protocol, and the messages that wait to be sent."""

from __future__ import annotations

import json
import logging
import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from wsproto.connection import Connection as Framing
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

from labnode.clock import Clock
from labnode.errors import BadInput
from labnode.http.connection import Connection
from labnode.http.reactor import Group, Participant

logger = logging.getLogger(__name__)

_PIECE = 1 << 16  # bytes read or written at once
_OVERHEAD = 100  # bytes that a waiting message costs beyond its own
_SEND_BUFFER = 1 << 17  # the kernel's: the rest of what a slow page has to read waits here


def encoded(message: Any, limit: int) -> tuple[str | bytes, int]:
    """A message as it is sent, and its size in bytes; BadInput when it cannot be sent."""
    data: str | bytes
    try:
        if isinstance(message, bytes | bytearray | memoryview):
            data = bytes(message)
        elif isinstance(message, dict | list):
            data = json.dumps(message, allow_nan=False)
        elif isinstance(message, str):
            data = message
        else:
            raise TypeError(f"{type(message).__name__} is none of str, bytes, dict and list")
        size = len(data if isinstance(data, bytes) else data.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"This is not a message for a WebSocket: {error}.") from None
    if size > limit:
        raise BadInput(f"The message has {size} bytes; a WebSocket takes at most {limit}.")
    return data, size


class Assembly:
    """Puts the parts of messages together, each of which has at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.too_large = False
        self._limit = limit
        self._size = 0
        self._parts: list[bytes | bytearray] = []

    def add(self, part: TextMessage | BytesMessage) -> str | bytes | None:
        """The whole message, if this is its last part."""
        data = part.data.encode() if isinstance(part, TextMessage) else part.data
        if data:  # or a message of a million empty frames would have a million parts
            self._parts.append(data)
            self._size += len(data)
        if self._size > self._limit:
            self.too_large = True
            self._parts.clear()
            return None
        if not part.message_finished:
            return None
        whole = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return whole.decode() if isinstance(part, TextMessage) else whole


@dataclass(frozen=True, kw_only=True)
class WebSocketLimits:
    """What WebSockets may use; times in seconds, sizes in bytes."""

    sockets: int = 100
    per_session: int = 16
    handlers: int = 64  # threads
    message: int = 1 << 20  # in either direction
    queue: int = 1 << 20  # that wait, in either direction
    ping_every: float = 20.0  # of silence; a proxy closes what is silent for a minute
    pong_within: float = 20.0
    send_within: float = 10.0  # that a handler waits for its client to read
    close_within: float = 5.0


@dataclass(frozen=True)
class Ending:
    """Why a WebSocket is closed."""

    code: int
    reason: str = ""
    by_client: bool = False


STOPPING = Ending(CloseReason.GOING_AWAY, "stopping")
SESSION_OVER = Ending(4001, "session-over")
TOO_LARGE = Ending(CloseReason.MESSAGE_TOO_BIG, "message-too-big")
TOO_SLOW = Ending(CloseReason.TRY_AGAIN_LATER, "too-slow")
FAILED = Ending(CloseReason.INTERNAL_ERROR, "failed")
LOST = Ending(CloseReason.ABNORMAL_CLOSURE, "lost", by_client=True)


class Receiver(Protocol):
    """Who gets what a client sends; must not wait, as the reactor's thread calls it."""

    def begin(self, channel: Channel) -> None:
        """This is the client's channel. Called once, before all else."""

    def may_stay(self) -> bool:
        """Whether the client may still have this WebSocket. Any thread asks."""

    def full(self) -> bool:
        """Whether it has enough messages until it says `Channel.wake`."""

    def message(self, message: str | bytes) -> None:
        """Take a message."""

    def ended(self) -> None:
        """The channel has an `ending` now. Called once, by any thread."""


@runtime_checkable
class MessageSource(Protocol):
    """A receiver that is asked for messages when the client has room for them.

    So nothing queues up for a client that is slow. `Channel.wake` says that there are some; the
    reactor's thread asks, and must not wait.
    """

    def waiting(self) -> bool:
        """Whether `next_message` has one."""

    def next_message(self) -> str | bytes | None:
        """The next message, None while there is none."""


@runtime_checkable
class AnswerListener(Protocol):
    """A receiver that wants to know when its client shows that it is there."""

    def answered(self) -> None:
        """Something has come: a message, or the answer to a ping (reactor's thread)."""


class Channel(Participant):
    """An open WebSocket. `send`, `end`, `wake` and `ping_every` are for every thread.

    `wake` says that the receiver is not full any more, has something to send, or may not stay.
    """

    def __init__(
        self,
        connection: Connection,
        receiver: Receiver,
        group: Group[Channel],
        limits: WebSocketLimits,
        *,
        session_id: str | None,
        looking: bool = False,
        greeting: bytes,
        early: bytes,
    ) -> None:
        super().__init__(connection.socket, connection.reactor, group)
        self.session_id = session_id
        self.looking = looking  # an observer's
        self.receiver = receiver
        self.ending: Ending | None = None
        self._channels = group
        self._source = receiver if isinstance(receiver, MessageSource) else None
        self._listener = receiver if isinstance(receiver, AnswerListener) else None
        self._limits = limits
        self._ping_every = limits.ping_every
        self._now = Clock().now
        self._room = threading.Condition()  # its lock: of the queue and the ending
        self._queue: deque[tuple[str | bytes, int]] = deque()
        self._queued = 0
        self._protocol = Framing(ConnectionType.SERVER, trailing_data=early)
        self._out = bytearray(greeting)
        self._assembly = Assembly(limits.message)
        self._begun = False
        self._deaf = False  # what the client sends makes no sense any more
        self._said_all = False  # the close frame is in _out, or has been sent
        self._heard = self._now()
        self._pinged: float | None = None
        self._closing_since: float | None = None
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    # ------------------------------------------------------------------ any thread

    def send(self, message: str | bytes, size: int, wait: float = 0.0) -> bool:
        """Queue a message of `size` bytes; False when the WebSocket is closed.

        A client that reads too slowly for its queue is closed, after `wait` seconds for room.
        """
        with self._room:
            self._room.wait_for(lambda: self._has_room(size) or self.ending is not None, wait)
            room = self._has_room(size)
            if self.ending is None and room:
                self._queue.append((message, size + _OVERHEAD))
                self._queued += size + _OVERHEAD
        if not room:
            self.end(TOO_SLOW)
        elif self.ending is None:
            self.wake()
        return self.ending is None

    def ping_every(self, seconds: float | None) -> None:
        """Ask whether the client is there after so many seconds of silence; None: as usual."""
        self._ping_every = self._limits.ping_every if seconds is None else seconds
        self.wake()

    def end(self, ending: Ending) -> None:
        """Close it; the first ending counts. What waits to be sent still is, if it is orderly."""
        with self._room:
            if self.ending is not None:
                return
            self.ending = ending
            if ending in (TOO_SLOW, SESSION_OVER) or ending.by_client:
                self._queue.clear()
                self._queued = 0
            self._room.notify_all()
        self.receiver.ended()
        self.wake()

    def _has_room(self, size: int) -> bool:
        return not self._queue or self._queued + size + _OVERHEAD <= self._limits.queue

    # ------------------------------------------------------------------ the reactor's thread

    @property
    def interest(self) -> int:
        reading = 0 if self._held else selectors.EVENT_READ
        is_open = self._protocol.state is ConnectionState.OPEN
        writing = self._out or (is_open and (self._queue or self._source_waits))
        return reading | (selectors.EVENT_WRITE if writing else 0)

    @property
    def _source_waits(self) -> bool:
        return self._source is not None and self.ending is None and self._source.waiting()

    @property
    def _held(self) -> bool:
        """What the client says has to wait: it is not read, so that the client waits too."""
        return self.ending is None and self.receiver.full()

    @property
    def deadline(self) -> float:
        if self._closing_since is not None:
            close_by = self._closing_since + self._limits.close_within
            return min(close_by, self._channels.stop_by or close_by)
        if self._pinged is not None:
            return self._pinged + self._limits.pong_within
        return self._heard + self._ping_every

    def woken(self) -> None:
        if not self._begun:  # the client may have sent something with its request
            self._begun = True
            self._read_events()
        if self._channels.stop_by is not None:
            self.end(STOPPING)
        elif not self.receiver.may_stay():
            self.end(SESSION_OVER)
        self._write()

    def ready(self, events: int) -> None:
        if events & selectors.EVENT_READ:
            self._receive()
        self._write()

    def tick(self) -> None:
        """Ask whether the client is still there, or give it up."""
        now = self._now()
        if self._held:  # nobody listens, so nothing can be heard
            self._heard, self._pinged = now, None
        elif self._closing_since is not None or self._pinged is not None:
            self._lose()
        elif not self.receiver.may_stay():
            self.end(SESSION_OVER)
        else:
            self._pinged = now
            self._out += self._protocol.send(Ping())
            self._write()

    def failed(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._lose()
            return
        logger.error("A WebSocket is closed because of a fault in the server", exc_info=error)
        self.over = self.ending is not None
        self.end(FAILED)

    def stop(self) -> None:
        self.end(STOPPING)

    def close(self) -> None:
        super().close()
        self.end(STOPPING)

    def _write(self) -> None:
        """Give the kernel what it takes now."""
        if self.ending is not None and self._closing_since is None:
            self._closing_since = self._now()
        self._fill()
        if self._out and not self.over:
            with suppress(BlockingIOError):
                sent = self.socket.send(memoryview(self._out)[:_PIECE])
                del self._out[:sent]
        if self._said_all and not self._out:
            self._said()

    def _fill(self) -> None:
        """Frame what waits, a piece at a time, and at the end the close frame."""
        while len(self._out) < _PIECE and self._protocol.state is ConnectionState.OPEN:
            with self._room:
                message, cost = self._queue.popleft() if self._queue else (None, 0)
                self._queued -= cost
                self._room.notify_all()
            if message is None and self._source is not None and self.ending is None:
                message = self._source.next_message()
            if isinstance(message, str):
                self._out += self._protocol.send(TextMessage(message))
            elif message is not None:
                self._out += self._protocol.send(BytesMessage(message))
            elif self.ending is not None:
                close = CloseConnection(self.ending.code, self.ending.reason)
                self._out += self._protocol.send(close)
                self._said_all = True
            else:
                return

    def _said(self) -> None:
        """The close frame is with the kernel."""
        if self._protocol.state is ConnectionState.CLOSED:
            self.over = True
        elif self._deaf:  # its own close frame will not be understood, the end of its stream will
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        try:
            data = self.socket.recv(_PIECE)
        except BlockingIOError:
            return
        self._heard, self._pinged = self._now(), None
        if data and self._listener is not None:
            self._listener.answered()
        if not data:
            self._lose()
        elif not self._deaf:
            self._protocol.receive_data(data)
            self._read_events()

    def _read_events(self) -> None:
        for event in self._protocol.events():
            if isinstance(event, TextMessage | BytesMessage):
                self._collect(event)
            elif isinstance(event, CloseConnection):
                self._closed(event)
            elif isinstance(event, Ping) and self._protocol.state is ConnectionState.OPEN:
                self._out += self._protocol.send(event.response())
                if len(self._out) > self._limits.queue + self._limits.message:
                    self.end(TOO_SLOW)

    def _collect(self, part: TextMessage | BytesMessage) -> None:
        if self.ending is not None:
            return
        message = self._assembly.add(part)
        if self._assembly.too_large:
            self.end(TOO_LARGE)
        elif message is not None:
            self.receiver.message(message)

    def _closed(self, event: CloseConnection) -> None:
        """The client closes, or answers our close, or breaks the protocol."""
        if self._protocol.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            self._deaf = True
            utf8 = event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA
            self.end(Ending(event.code, "invalid-utf-8" if utf8 else "protocol-error"))
        elif self._protocol.state is ConnectionState.REMOTE_CLOSING:
            self.end(Ending(event.code, event.reason or "", by_client=True))
            self._out += self._protocol.send(event.response())
            self._said_all = True
        else:
            self.over = True

    def _lose(self) -> None:
        self.end(LOST)
        self.over = True
