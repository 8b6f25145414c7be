"""The lab's WebSockets: those that are open, and the handlers that speak to their pages."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from bottle import Bottle, request
from wsproto.frame_protocol import CloseReason

from labnode import context
from labnode.clock import Clock
from labnode.errors import BadInput, Busy, LabnodeError, SessionOver
from labnode.events import Bus, SessionChanged
from labnode.http import Connection, handshake
from labnode.http.reactor import Group
from labnode.http.websocket import (
    FAILED,
    SESSION_OVER,
    Channel,
    Ending,
    Receiver,
    WebSocketLimits,
    encoded,
)
from labnode.lab import Lab, hooks
from labnode.lab.node import Level
from labnode.locale import Message
from labnode.sessions import ANONYMOUS, AnonymousUser, Observer, Sessions, User
from labnode.web.live import Live
from labnode.web.page_state import PageState
from labnode.worker import Worker

logger = logging.getLogger(__name__)

Handler = Callable[..., object]

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
            return self.user if session.active else None
        if self.sessions.by_handle(session.handle) is session:
            return self.user
        return ANONYMOUS if self.level == "public" else None


class WebSocket:
    """One page's connection to a handler::

        @lab.websocket("/echo")
        def echo(ws):
            for message in ws:
                ws.send({"user": lab.user.username, "said": message})

    `lab.user` is up to date at each message. The end of the session closes a WebSocket that is for
    active users, with the code 4001 and the reason "session-over".
    """

    def __init__(self, visitor: Visitor, limits: WebSocketLimits) -> None:
        self.channel: Channel  # see `begin`
        self.thread: int | None = None  # the handler's
        self._visitor = visitor
        self._limits = limits
        self._changed = threading.Condition()
        self._inbox: deque[str | bytes] = deque()
        self._size = 0

    # ------------------------------------------------------------------ the lab's

    @property
    def closed(self) -> bool:
        """Whether it is closed, so that nothing can be sent any more."""
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
            self.channel.wake()
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
        """Send text, bytes, or a dictionary or list as JSON; WebSocketClosed if it is closed.

        The message is queued. In the handler's own thread, `send` waits for room in the queue as
        long as the client reads. In other threads it never waits: if there is no room, the
        WebSocket is closed.
        """
        data, size = encoded(message, self._limits.message)
        mine = self.thread == threading.get_ident()
        wait = self._limits.send_within if mine else 0.0
        if not self._check_user() or not self.channel.send(data, size, wait):
            ending = self.channel.ending
            assert ending is not None
            raise WebSocketClosed(f"The WebSocket is closed ({ending.code} {ending.reason}).")

    def close(self, code: int = CloseReason.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close it once everything in the queue has been sent.

        Codes for labs are 1000 and 3000 to 4999; `reason` has at most 123 bytes. BadInput for
        others.
        """
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
        if self.thread == threading.get_ident():
            context.current_user.set(user)
        return True

    # ------------------------------------------------------------------ a Receiver

    def begin(self, channel: Channel) -> None:
        self.channel = channel

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


class WebSockets:
    """All WebSockets of the node; each handler runs in a thread of its own, "websocket-N"."""

    def __init__(
        self, sessions: Sessions, worker: Worker, bus: Bus, limits: WebSocketLimits | None = None
    ) -> None:
        self.limits = limits or WebSocketLimits()
        self._sessions = sessions
        self._worker = worker
        self.live = Live(self, sessions, bus)
        self._channels: Group[Channel] = Group()
        self._door = threading.Lock()  # one comes in at a time, so that the limits are kept
        self._started = False
        self._numbers = itertools.count(1)
        self._threads: set[threading.Thread] = set()
        self._free_threads = threading.BoundedSemaphore(self.limits.handlers)
        # Only that something has changed is of interest: then all are looked at.
        bus.subscribe(SessionChanged, wake=self._channels.wake, limit=1)

    def serve(self, app: Bottle, lab: Lab, page: PageState) -> None:
        """Add the routes of the page's own WebSocket and of the lab's."""
        self.live.serve(app, page)
        for path, (handler, level) in lab.websockets.items():
            app.get(path, callback=partial(self._open, handler, level), access=level)

    def start(self) -> None:
        self._started = True
        self.live.start()

    def fault(self) -> str | None:
        """Why WebSockets are not served any more, or None; any thread may ask."""
        return self.live.fault()

    def stop(self, timeout: float) -> bool:
        """Close all and end their handlers; False when a handler goes on after `timeout` s."""
        now = Clock().now
        end = now() + timeout
        self.live.stop(timeout / 4)
        self._channels.stop(timeout / 2)
        for thread in list(self._threads):
            thread.join(max(0.0, end - now()))
        going_on = [thread.name for thread in list(self._threads) if thread.is_alive()]
        if going_on:
            logger.warning("Handlers of WebSockets still run: %s.", ", ".join(going_on))
        return not going_on

    def push(self, session_id: str | None, event: str, data: Any) -> None:
        """Send an event to the WebSockets of one session, or of all; BadInput if it is not JSON."""
        message, size = encoded({"event": event, "data": data}, self.limits.message)
        for channel in self._channels.members:
            of_it = channel.session_id == session_id if session_id else channel.session_id
            if of_it and channel.receiver.may_stay():
                channel.send(message, size)

    # ------------------------------------------------------------------ channels

    def open(self, receiver: Receiver, session_id: str | None) -> None:
        """Make the current request a WebSocket, which `handshake.check` lets pass.

        Busy when there are too many. What the view returns after it is not sent.
        """
        connection: Connection = request.environ["labnode.connection"]
        looking = isinstance(context.current_user.get(), Observer)
        with self._door:
            self._check_room(session_id, looking)
            greeting, early = handshake.accept(connection)
            channel = Channel(
                connection,
                receiver,
                self._channels,
                self.limits,
                session_id=session_id,
                looking=looking,
                greeting=greeting,
                early=early,
            )
            self._channels.add(channel)
        receiver.begin(channel)
        connection.become(channel)

    def _check_room(self, session_id: str | None, looking: bool) -> None:
        """Busy when another channel of this session would be one too many.

        Those of observers (`looking`) are counted apart: they take none from the student.
        """
        kind, channels = (session_id, looking), self._channels.members
        mine = sum((each.session_id, each.looking) == kind for each in channels)
        if not self._started or self._channels.stop_by is not None:
            raise Busy(Message("error.stopping"))
        if len(channels) >= self.limits.sockets or mine >= self.limits.per_session:
            raise Busy(Message("error.websockets"))

    # ------------------------------------------------------------------ handlers

    def _open(self, handler: Handler, level: Level, **named: str) -> str:
        """The view of a lab's WebSocket."""
        handshake.check()
        if not self._free_threads.acquire(blocking=False):
            raise Busy(Message("error.websockets"))
        try:
            user = context.current_user.get() or ANONYMOUS
            ws = WebSocket(Visitor(user, level, self._sessions), self.limits)
            self.open(ws, user.session_id)
            thread = threading.Thread(
                target=self._run,
                args=(partial(handler, **named), ws, user),
                name=f"websocket-{next(self._numbers)}",
                daemon=True,  # a handler that never returns must not keep the process from ending
            )
            self._start(thread, ws)
        except BaseException:
            self._free_threads.release()
            raise
        return ""

    def _start(self, thread: threading.Thread, ws: WebSocket) -> None:
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException:  # the machine has none left
            self._threads.discard(thread)
            ws.channel.end(FAILED)
            raise

    def _run(self, handler: Handler, ws: WebSocket, user: User | AnonymousUser) -> None:
        ws.thread = threading.get_ident()
        try:
            with context.acting(user=user), self._worker.without_slot():
                hooks.run(handler, ws)
        except (WebSocketClosed, SessionOver) as error:
            if not ws.closed:
                logger.exception("The handler of a WebSocket failed.")
                ws.channel.end(FAILED)
            logger.debug("The handler of a WebSocket ended: %s", error)
        except Exception:
            logger.exception("The handler of a WebSocket failed.")
            ws.channel.end(FAILED)
        finally:
            ws.close()
            self._threads.discard(threading.current_thread())
            self._free_threads.release()
