"""Pictures of cameras: one at a time, and streams of them, sent from a thread of their own."""

from __future__ import annotations

import logging
import selectors
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Any, Protocol, cast

from bottle import Bottle, HTTPResponse, request

from labnode import context
from labnode.clock import Clock
from labnode.errors import Busy, NotFound
from labnode.events import Bus, SessionChanged
from labnode.http import Body, Connection
from labnode.lab import Node
from labnode.sessions import Observer, Session, User
from labnode.waker import Waker

logger = logging.getLogger(__name__)

_MOST = 32  # streams
_MOST_PER_SESSION = 4
_STALLED = 10.0  # seconds in which a browser has to take something
_SNAPSHOT_AGE = 1.0  # seconds that a picture may be old
_SNAPSHOT_WITHIN = 4.0
_BOUNDARY = "labnode-picture"
# The mark after a picture is sent with it: a browser shows it when it has seen that.
_MARK = f"--{_BOUNDARY}\r\n".encode()


class Picture(Protocol):
    """A JPEG; see drivers.camera.capture."""

    number: int
    jpeg: bytes


class Capture(Protocol):
    """A camera, as far as its viewers need it; see drivers.camera.capture."""

    latest: Picture | None

    def look(self, viewer: Callable[[], None]) -> None: ...
    def look_away(self, viewer: Callable[[], None]) -> None: ...
    def fresh(self, max_age: float, timeout: float) -> Picture: ...


class Streams:
    """All streams of the node, sent by one thread, "streams", from the first one to `stop`.

    It never waits for a browser: one that is slow misses pictures, and has one on its way at most.
    """

    def __init__(self, bus: Bus) -> None:
        self._now = Clock().now
        self._lock = threading.Lock()  # of what follows
        self._viewers: set[_Viewer] = set()  # replaced as a whole
        self._waker: Waker | None = None  # None: there is no thread
        self._stopping = False
        self._thread: threading.Thread | None = None
        bus.subscribe(SessionChanged, wake=self._wake, limit=1)

    def serve(self, app: Bottle, node: Node) -> None:
        self._node = node
        app.get("/api/devices/<name>/stream", callback=self.stream, access="observer")
        app.get("/api/devices/<name>/snapshot", callback=self.snapshot, access="observer")

    def stop(self, timeout: float) -> None:
        """Cut all off, and take no more."""
        with self._lock:
            self._stopping = True
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout)

    # ------------------------------------------------------------------ views

    def stream(self, name: str) -> HTTPResponse:
        """Pictures of a camera, while the session is active."""
        user = context.current_user.get()
        assert isinstance(user, User | Observer)
        capture = self._capture(name)
        self._check_room(user.session)
        response = HTTPResponse(iter([_MARK]))  # of what is no iterator Bottle tells the length
        response.content_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        response.set_header("Cache-Control", "no-store")
        response.set_header("X-Accel-Buffering", "no")  # nginx would keep pictures to itself
        connection: Connection | None = request.environ.get("labnode.connection")
        if connection is not None and request.method == "GET":
            connection.hand_over(partial(self._adopt, capture, user.session))
        return response

    def snapshot(self, name: str) -> HTTPResponse:
        """One picture of now; DeviceGone when there is none."""
        with self._node.worker.slot():
            picture = self._capture(name).fresh(_SNAPSHOT_AGE, _SNAPSHOT_WITHIN)
        response = HTTPResponse(picture.jpeg)
        response.content_type = "image/jpeg"
        response.set_header("Cache-Control", "no-store")
        return response

    def _capture(self, name: str) -> Capture:
        driver = self._node.board.file.devices.get(name)
        if driver is None or driver.access != "user" or driver.widget != "camera":
            raise NotFound(f"There is no camera {name!r} for students.")
        return cast(Any, driver).capture  # type: ignore[no-any-return]

    def _check_room(self, session: Session) -> None:
        mine = sum(viewer.session is session for viewer in self._viewers)
        if len(self._viewers) >= _MOST or mine >= _MOST_PER_SESSION:
            raise Busy("There are too many pages that show a camera; close some.")

    def _adopt(self, capture: Capture, session: Session, body: Body) -> None:
        viewer = _Viewer(capture, session, body, self._wake)
        with self._lock:
            running = not self._stopping
            if running:
                self._viewers = self._viewers | {viewer}
                self._begin()
        if running:
            capture.look(viewer.wake)
            self._wake()
        else:
            body.socket.close()

    def _begin(self) -> None:
        if self._waker is not None:
            return
        self._waker = Waker()
        self._thread = threading.Thread(
            target=self._run, args=(self._waker,), name="streams", daemon=True
        )
        self._thread.start()

    # ------------------------------------------------------------------ the thread

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            waker.wake()

    def _run(self, waker: Waker) -> None:
        with selectors.DefaultSelector() as selector, closing(waker):
            selector.register(waker.descriptor, selectors.EVENT_READ, waker)
            while not self._stopping:
                try:
                    self._turn(selector)
                except Exception:
                    logger.exception("A turn of the streams failed")
            for viewer in self._viewers:
                self._drop(selector, viewer)
            self._waker = None

    def _turn(self, selector: selectors.BaseSelector) -> None:
        deadlines = [viewer.deadline for viewer in self._viewers if viewer.deadline is not None]
        timeout = max(0.0, min(deadlines) - self._now()) if deadlines else None
        for key, _ in selector.select(timeout):
            if isinstance(key.data, Waker):
                key.data.heard()
        now = self._now()
        for viewer in self._viewers:
            try:
                stays = viewer.go_on(now)
            except OSError:
                stays = False
            except Exception:
                logger.exception("A stream is closed because of a fault")
                stays = False
            if stays:
                viewer.watch(selector)
            else:
                self._drop(selector, viewer)

    def _drop(self, selector: selectors.BaseSelector, viewer: _Viewer) -> None:
        with self._lock:
            self._viewers = self._viewers - {viewer}
        viewer.leave(selector)


class _Viewer:
    """One browser that looks at one camera."""

    def __init__(
        self,
        capture: Capture,
        session: Session,
        body: Body,
        wake: Callable[[], None],
    ) -> None:
        self.session = session
        self.deadline: float | None = None  # when it has to have taken something
        self._capture = capture
        self._body = body
        self._out = memoryview(b"")
        self._seen = 0  # the number of the last picture
        self._wake = wake
        body.socket.setblocking(False)

    def wake(self) -> None:
        """There is a new picture."""
        self._wake()

    def go_on(self, now: float) -> bool:
        """Send what the browser takes now; False when it is over."""
        if not self.session.active or self._has_left():
            return False
        while self._out or self._take_newest(now):
            try:
                sent = self._body.socket.send(self._out)
            except BlockingIOError:
                break
            self._out = self._out[sent:]
            self.deadline = now + _STALLED if self._out else None
        return self.deadline is None or now < self.deadline

    def _take_newest(self, now: float) -> bool:
        """Have a picture to send that the browser has not got."""
        picture = self._capture.latest
        if picture is None or picture.number == self._seen:
            return False
        self._seen = picture.number
        self._out = memoryview(self._body.framed(_part(picture.jpeg)))
        self.deadline = now + _STALLED
        return True

    def watch(self, selector: selectors.BaseSelector) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        key = selector.get_map().get(self._body.socket)
        if key is None:
            selector.register(self._body.socket, events)
        elif key.events != events:
            selector.modify(self._body.socket, events)

    def leave(self, selector: selectors.BaseSelector) -> None:
        self._capture.look_away(self.wake)
        with suppress(KeyError, ValueError):  # it was not watched
            selector.unregister(self._body.socket)
        self._body.socket.close()

    def _has_left(self) -> bool:
        """Whether the browser has closed; what it says besides is of no interest."""
        try:
            return not self._body.socket.recv(4096)
        except BlockingIOError:
            return False


def _part(jpeg: bytes) -> bytes:
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
    return head + jpeg + b"\r\n" + _MARK
