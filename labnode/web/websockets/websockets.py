"""A lab's WebSockets: their routes, their handlers' threads, and what is pushed to them."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from bottle import Bottle

from labnode import context
from labnode.clock import Clock
from labnode.errors import Busy, SessionOver
from labnode.events import Bus, SessionChanged
from labnode.http import handshake
from labnode.http.reactor import Hub
from labnode.http.websocket import FAILED, Channel, Receiver, WebSocketLimits, encoded
from labnode.lab import Lab, hooks
from labnode.lab.node import Level
from labnode.sessions import ANONYMOUS, AnonymousUser, Observer, Sessions, User
from labnode.web.picture import Picture
from labnode.web.streams import Streams
from labnode.web.websockets.live import Live
from labnode.web.websockets.websocket import Visitor, WebSocket, WebSocketClosed
from labnode.worker import Worker

logger = logging.getLogger(__name__)

Handler = Callable[..., object]


class WebSockets:
    """All WebSockets of the node; each handler runs in a thread of its own, "websocket-N"."""

    def __init__(
        self, sessions: Sessions, worker: Worker, bus: Bus, limits: WebSocketLimits | None = None
    ) -> None:
        self.limits = limits or WebSocketLimits()
        self._sessions = sessions
        self._worker = worker
        self._hub = Hub(self.limits)
        # Only that something has changed is of interest: then all are looked at.
        bus.subscribe(SessionChanged, wake=self._hub.look_again, limit=1)
        self.live = Live(self.take_over, sessions, bus)
        self.streams = Streams(bus)  # which last as long as WebSockets, off the pool as they are
        self._door = threading.Lock()  # one comes in at a time, so that the limits are kept
        self._numbers = itertools.count(1)
        self._threads: set[threading.Thread] = set()
        self._free_threads = threading.BoundedSemaphore(self.limits.handlers)

    def serve(self, app: Bottle, lab: Lab, picture: Picture) -> None:
        """Add the routes of the page's own WebSocket and of the lab's."""
        self.live.serve(app, picture)
        for path, (handler, level) in lab.websockets.items():
            app.get(path, callback=partial(self._open, handler, level), access=level)

    def start(self) -> None:
        self._hub.start()
        self.live.start()

    def fault(self) -> str | None:
        """Why WebSockets are not served any more, or None; any thread may ask."""
        return self._hub.fault() or self.live.fault()

    def stop(self, timeout: float) -> bool:
        """Close all and end their handlers; False when a handler goes on after `timeout` s."""
        now = Clock().now
        end = now() + timeout
        self.live.stop(timeout / 4)
        self.streams.stop(timeout / 4)
        self._hub.stop(timeout / 2)
        for thread in list(self._threads):
            thread.join(max(0.0, end - now()))
        going_on = [thread.name for thread in list(self._threads) if thread.is_alive()]
        if going_on:
            logger.warning("Handlers of WebSockets still run: %s.", ", ".join(going_on))
        return not going_on

    def push(self, session_id: str | None, event: str, data: Any) -> None:
        """Send an event to the WebSockets of one session, or of all; BadInput if it is not JSON."""
        message, size = encoded({"event": event, "data": data}, self.limits.message)
        for channel in self._hub.channels:
            of_it = channel.session_id == session_id if session_id else channel.session_id
            if of_it and channel.receiver.may_stay():
                channel.send(message, size)

    def take_over(self, receiver: Receiver, session_id: str | None) -> Channel:
        """Make the current request a WebSocket, which `handshake.refusal` does not refuse.

        Busy when there are too many.
        """
        with self._door:
            looking = isinstance(context.current_user.get(), Observer)
            self._hub.check_room(session_id, looking)
            taken = handshake.take()
            channel = Channel(
                taken.socket,
                receiver,
                self.limits,
                session_id=session_id,
                looking=looking,
                greeting=taken.greeting,
                early=taken.early,
            )
            self._hub.adopt(channel)
        return channel

    # ------------------------------------------------------------------ handlers

    def _open(self, handler: Handler, level: Level, **named: str) -> Any:
        """The view of a lab's WebSocket."""
        refusal = handshake.refusal()
        if refusal is not None:
            return refusal
        if not self._free_threads.acquire(blocking=False):
            raise Busy("Too many handlers of WebSockets are running; try again later.")
        try:
            user = context.current_user.get() or ANONYMOUS
            ws = WebSocket(Visitor(user, level, self._sessions), self.limits)
            ws.channel = self.take_over(ws, user.session_id)
            thread = threading.Thread(
                target=self._run,
                args=(partial(handler, **named), ws, user),
                name=f"websocket-{next(self._numbers)}",
                daemon=True,  # a handler that never returns must not keep the process from ending
            )
            self._threads.add(thread)
            thread.start()
        except BaseException:
            self._free_threads.release()
            raise
        return ""  # the web server sees that HTTP is over and sends nothing of this

    def _run(self, handler: Handler, ws: WebSocket, user: User | AnonymousUser) -> None:
        ws.handed_to_this_thread()
        try:
            with context.acting(user=user), self._worker.outside_the_pool():
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
