"""Pictures of cameras: one at a time, and streams of them."""

from __future__ import annotations

import selectors
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, cast

from bottle import Bottle, HTTPResponse, request

from labnode.clock import Clock
from labnode.errors import Busy, NotFound
from labnode.events import Bus, SessionChanged
from labnode.http import Connection
from labnode.http.reactor import Group, Participant
from labnode.lab import Node
from labnode.locale import Message
from labnode.sessions import Session
from labnode.web.auth import viewer

_MOST = 32  # streams
_MOST_PER_SESSION = 4
_PIECE = 1 << 16  # bytes sent at once
_STALLED = 10.0  # seconds in which a browser has to take something
_SNAPSHOT_AGE = 1.0  # seconds that a picture may be old
_SNAPSHOT_WITHIN = 4.0
_BOUNDARY = "labnode-picture"
# The mark after a picture is sent with it: a browser shows it when it has seen that.
_MARK = f"--{_BOUNDARY}\r\n".encode()


class CameraPicture(Protocol):
    """A JPEG; see drivers.camera.capture."""

    number: int
    jpeg: bytes
    at: float


class CameraCapture(Protocol):
    """A camera, as far as its viewers need it; see drivers.camera.capture."""

    latest: CameraPicture | None

    def look(self, viewer: Callable[[], object]) -> None: ...
    def look_away(self, viewer: Callable[[], object]) -> None: ...
    def fresh(self, max_age: float, timeout: float) -> CameraPicture: ...


class Streams:
    """All streams of the node, until `stop`.

    Nobody waits for a browser: one that is slow misses pictures, and has one on its way at most.
    """

    def __init__(self, node: Node, bus: Bus) -> None:
        self._node = node
        self._viewers: Group[Viewer] = Group()
        self._door = threading.Lock()  # one comes in at a time, so that the limits are kept
        bus.subscribe(SessionChanged, wake=self._viewers.wake, limit=1)

    def serve(self, app: Bottle) -> None:
        app.get("/api/devices/<name>/stream", callback=self.stream, access="observer")
        app.get("/api/devices/<name>/snapshot", callback=self.snapshot, access="observer")

    def stop(self, timeout: float) -> None:
        """Cut all off, and take no more."""
        self._viewers.stop(timeout)

    # ------------------------------------------------------------------ views

    def stream(self, name: str) -> HTTPResponse:
        """Pictures of a camera, while the session is active."""
        session = viewer().session
        capture = self._capture(name)
        connection: Connection | None = request.environ.get("labnode.connection")
        if connection is not None and request.method == "GET":
            self._open(connection, capture, session)
        response = HTTPResponse(iter([_MARK]))  # of what is no iterator Bottle tells the length
        response.content_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        response.set_header("Cache-Control", "no-store")
        response.set_header("X-Accel-Buffering", "no")  # nginx would keep pictures to itself
        return response

    def snapshot(self, name: str) -> HTTPResponse:
        """One picture of now; DeviceGone when there is none."""
        with self._node.worker.slot():
            picture = self._capture(name).fresh(_SNAPSHOT_AGE, _SNAPSHOT_WITHIN)
        response = HTTPResponse(picture.jpeg)
        response.content_type = "image/jpeg"
        response.set_header("Cache-Control", "no-store")
        return response

    def _capture(self, name: str) -> CameraCapture:
        driver = self._node.board.file.devices.get(name)
        if driver is None or driver.access != "user" or driver.widget != "camera":
            raise NotFound(Message("error.no-camera", name=name))
        return cast(Any, driver).capture  # type: ignore[no-any-return]

    def _open(self, connection: Connection, capture: CameraCapture, session: Session) -> None:
        """Have the current request's connection go on as a viewer; Busy when there are too many."""
        viewing = Viewer(connection, capture, session, self._viewers)
        with self._door:
            viewers = self._viewers.members
            mine = sum(each.session is session for each in viewers)
            if len(viewers) >= _MOST or mine >= _MOST_PER_SESSION:
                raise Busy(Message("error.cameras"))
            self._viewers.add(viewing)
        connection.become(viewing)


class Viewer(Participant):
    """One browser that looks at one camera; `wake` says that there is a new picture."""

    deadline: float | None = None  # when it has to have taken something

    def __init__(
        self, connection: Connection, capture: CameraCapture, session: Session, group: Group[Viewer]
    ) -> None:
        super().__init__(connection.socket, connection.reactor, group)
        self.session = session
        self._viewers = group
        self._connection = connection
        self._capture = capture
        self._now = Clock().now
        self._looking = False
        self._out = memoryview(b"")
        self._seen = 0  # the number of the last picture

    @property
    def interest(self) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)

    def ready(self, events: int) -> None:
        if events & selectors.EVENT_READ and self._has_left():
            self.over = True
        else:
            self._write()

    def woken(self) -> None:
        if not self._looking:
            self._looking = True
            self._capture.look(self.wake)
        self._write()

    def close(self) -> None:
        super().close()
        self._capture.look_away(self.wake)

    def _write(self) -> None:
        """Give the kernel a piece: all of a picture at once would keep others waiting."""
        if not self.session.active or self._viewers.stop_by is not None:
            self.over = True
        elif self._out or self._take_newest():
            with suppress(BlockingIOError):
                self._out = self._out[self.socket.send(self._out[:_PIECE]) :]
                self.deadline = self._now() + _STALLED if self._out else None
            if not self._out:
                self._take_newest()

    def _take_newest(self) -> bool:
        """Have a picture to send that the browser has not got."""
        picture = self._capture.latest
        if picture is None or picture.number == self._seen:
            return False
        self._seen = picture.number
        self._out = memoryview(self._connection.framed(_part(picture)))
        self.deadline = self._now() + _STALLED
        return True

    def _has_left(self) -> bool:
        """Whether the browser has closed; what it says besides is of no interest."""
        try:
            return not self.socket.recv(4096)
        except BlockingIOError:
            return False


def _part(picture: CameraPicture) -> bytes:
    """With when it was taken, by the clock of the states of devices."""
    lines = (
        "Content-Type: image/jpeg",
        f"Content-Length: {len(picture.jpeg)}",
        f"Labnode-Taken: {picture.at:.3f}",
    )
    head = "".join(f"{line}\r\n" for line in lines) + "\r\n"
    return b"".join((head.encode(), picture.jpeg, b"\r\n", _MARK))
