"""What a lab's handler has in its hand: messages in, messages out, and the user they are from."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wsproto.frame_protocol import CloseReason

from labnode import context
from labnode.errors import BadInput, LabnodeError
from labnode.http.websocket import SESSION_OVER, Channel, Ending, WebSocketLimits, encoded
from labnode.lab.node import Level
from labnode.sessions import ANONYMOUS, AnonymousUser, Observer, Sessions, User

_OVERHEAD = 100  # bytes that a waiting message costs beyond its own


class WebSocketClosed(LabnodeError, ConnectionError):
    """A message cannot be sent, because the WebSocket is closed; `code` and `why` say why."""

    code = "websocket-closed"


@dataclass(frozen=True)
class Visitor:
    """Who has opened a WebSocket that is for `level`."""

    user: User | AnonymousUser
    level: Level
    sessions: Sessions

    def now(self) -> User | AnonymousUser | None:
        """The user as of now; None for one who may not use the WebSocket any more."""
        if isinstance(self.user, Observer):
            return self.user if self.user.active else None
        if isinstance(self.user, AnonymousUser):
            return self.user
        session = self.user.session
        if self.level == "active":
            return session.user if session.active else None
        if self.sessions.by_handle(session.handle) is session:
            return session.user
        return ANONYMOUS if self.level == "public" else None


class WebSocket:
    """One page's connection to a handler::

        @lab.websocket("/echo")
        def echo(ws):
            for message in ws:
                ws.send({"user": lab.user.username, "said": message})

    `lab.user` is looked at anew before each message. The end of the session closes a WebSocket that
    is for active users: with the code 4001 and the reason "session-over".
    """

    def __init__(self, visitor: Visitor, limits: WebSocketLimits) -> None:
        self.channel: Channel  # given by whoever makes it
        self._visitor = visitor
        self._limits = limits
        self._thread: int | None = None  # the handler's
        self._changed = threading.Condition()
        self._inbox: deque[str | bytes] = deque()
        self._size = 0

    # ------------------------------------------------------------------ the lab's

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""
        return self.channel.ending is not None

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next message; None when the WebSocket is closed or `timeout` seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._inbox or self.closed, timeout)
            ending = self.channel.ending
            if not self._inbox or not (ending is None or ending.by_client):
                return None
            was_full = self.full()
            message = self._inbox.popleft()
            self._size -= len(message) + _OVERHEAD
        if was_full and not self.full():
            self.channel.go_on()
        if not self._check_user():
            return None
        if isinstance(self._visitor.user, User):
            self._visitor.sessions.poll(self._visitor.user.session)
        return message

    def __iter__(self) -> Iterator[str | bytes]:
        """Every message until the WebSocket is closed."""
        while (message := self.receive()) is not None:
            yield message

    def send(self, message: str | bytes | dict[str, Any] | list[Any]) -> None:
        """Send text, bytes, or a dictionary or list as JSON; WebSocketClosed when it is closed.

        It is queued. In the handler's own thread it waits for room in the queue as long as the
        client reads; elsewhere it never waits, and a client that is too slow is closed.
        """
        data, size = encoded(message, self._limits.message)
        mine = self._thread == threading.get_ident()
        wait = self._limits.send_within if mine else 0.0
        if not self._check_user() or not self.channel.send(data, size, wait):
            ending = self.channel.ending
            assert ending is not None
            raise WebSocketClosed(f"The WebSocket is closed ({ending.code} {ending.reason}).")

    def close(self, code: int = CloseReason.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close it after all that has been sent; codes for labs are 1000 and 3000 to 4999."""
        if code not in (1000, 1001, 1003, 1008, 1011, 1013) and not 3000 <= code <= 4999:
            raise BadInput(f"{code} is not a code to close a WebSocket with (1000, 3000 to 4999).")
        if len(reason.encode()) > 123:
            raise BadInput("The reason to close a WebSocket has at most 123 bytes.")
        self.channel.end(Ending(code, reason))

    def _check_user(self) -> bool:
        """Look at the user anew; closes the WebSocket of one who may not use it any more."""
        user = self._visitor.now()
        if user is None:
            self.channel.end(SESSION_OVER)
            return False
        if self._thread == threading.get_ident():
            context.current_user.set(user)
        return True

    # ------------------------------------------------------------------ the handler's thread

    def handed_to_this_thread(self) -> None:
        """The handler runs here."""
        self._thread = threading.get_ident()

    # ------------------------------------------------------------------ the hub's: a Receiver

    def may_stay(self) -> bool:
        return self._visitor.now() is not None

    def full(self) -> bool:
        return self._size > self._limits.queue

    def message(self, message: str | bytes) -> None:
        with self._changed:
            self._inbox.append(message)
            self._size += len(message) + _OVERHEAD
            self._changed.notify()

    def ended(self) -> None:
        with self._changed:
            self._changed.notify_all()
