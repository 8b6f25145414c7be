"""Serial consoles: one WebSocket for each page that shows a port, with raw bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol, cast

from bottle import Bottle, request

from labnode.clock import Clock
from labnode.errors import BadInput, DeviceError, LabnodeError, NotFound
from labnode.http import handshake
from labnode.http.websocket import SESSION_OVER, Channel, Ending
from labnode.jsondata import parse
from labnode.lab import Node
from labnode.lab.pages import locales
from labnode.locale import Language, Message
from labnode.sessions import Observer, Sessions, User
from labnode.web.auth import Viewer, viewer
from labnode.web.lab_websockets import WebSockets
from labnode.web.texts import told
from labnode.worker import check_in_time

_PIECE = 1 << 14  # bytes of a message to a page
_MOST_UNSENT = 1 << 16  # bytes not yet taken by the device; above, the page is not read
_MOST_NEWS = 64  # messages that the page has not read; above, it is not read either
_NEXT_STUDENT = Ending(4002, "reset")


class LinePosition(Protocol):
    """A page's position in the output of a port: PageReader in drivers.serial.line."""

    offset: int

    def waiting(self) -> bool: ...
    def skip_gap(self) -> int: ...
    def read(self, limit: int) -> bytes: ...


class ConsoleLine(Protocol):
    """What a page needs of a port: Line in drivers.serial.line."""

    epoch: str
    generation: int
    status: Any

    def reader(self, epoch: str | None, offset: int | None) -> LinePosition: ...
    def write(
        self, data: bytes, written: Callable[[int], None], generation: int | None
    ) -> None: ...
    def listen(self, listener: Callable[[], None]) -> None: ...
    def unlisten(self, listener: Callable[[], None]) -> None: ...


class Console(Protocol):
    """The driver of a port."""

    line: ConsoleLine
    encoding: str
    read_only: bool


class Consoles:
    """The WebSockets at `api/devices/NAME/console`.

    Bytes from the page go to the port unchanged; text is JSON, `{"text": "led on"}`, and is sent in
    the port's encoding, unless it is later than its `deadline`, if it has one, by the node's clock.
    Bytes to the page are what the port has received, without a gap, from the
    `offset` of the first message on; texts are JSON, by their "type":

    - hello: `epoch`, `offset`, `read_only` and the fields of status. A page that reconnects with
      `?epoch=…&offset=…`, the offset counted on by the bytes since, misses nothing.
    - status: `connected`, `lent`, `error`, `baudrate`.
    - dropped: `bytes` bytes are missing here, because the page was too slow.
    - sent: of the bytes from this page, `bytes` went to the device and `lost` were discarded.
    - refused: a message was not accepted, and why (`message`).
    """

    def __init__(self, node: Node, websockets: WebSockets) -> None:
        self._node = node
        self._websockets = websockets

    def serve(self, app: Bottle) -> None:
        app.get("/api/devices/<name>/console", callback=self._open, access="observer")

    def _open(self, name: str) -> str:
        """The view; read-only for an observer."""
        user = viewer()
        console = self._console(name)
        handshake.check()
        position = console.line.reader(*_place(request.query))
        language = self._node.board.file.catalogues.best(locales(user))
        clock = self._node.board.clock
        sessions = self._node.sessions
        page = _Page(console, position, user, sessions, language=language, clock=clock)
        self._websockets.open(page, user.session_id)
        return ""

    def _console(self, name: str) -> Console:
        driver = self._node.board.file.devices.get(name)
        if driver is None or driver.access != "user" or driver.widget != "console":
            raise NotFound(Message("error.no-console", name=name))
        return cast(Console, driver)


def _visible(status: Any, language: Language) -> dict[str, Any]:
    """Without the path, which students need not know."""
    error = None if status.error is None else told(status.error, DeviceError.code, language)
    visible = {**asdict(status), "error": error}
    del visible["path"]
    return visible


def _place(query: Any) -> tuple[str | None, int | None]:
    """The position of a page that reconnects."""
    offset = query.get("offset")
    if offset is not None and not (offset.isascii() and offset.isdigit() and len(offset) < 20):
        raise BadInput(f"offset is a number of bytes, not {offset!r}.")
    return query.get("epoch"), None if offset is None else int(offset)


class _Page:
    """A page at a port: a Receiver that is a MessageSource, too.

    The reactor's thread and the port's io thread are here; `_lock` is of what both write.
    """

    def __init__(
        self,
        console: Console,
        position: LinePosition,
        user: Viewer,
        sessions: Sessions,
        *,
        language: Language,
        clock: Clock,
    ) -> None:
        self._language = language
        self._user = user
        self._sessions = sessions
        self._clock = clock
        self._encoding = console.encoding
        self._line = line = console.line
        self._read_only = console.read_only or isinstance(user, Observer)
        self._generation = line.generation
        self._position = position
        self._channel: Channel | None = None
        self._lock = threading.Lock()
        self._unsent = 0
        self._sent = self._lost = 0
        self._reported = (0, 0)
        self._status = line.status
        hello = {"epoch": line.epoch, "offset": position.offset, "read_only": self._read_only}
        self._news = [{"type": "hello", **hello, **_visible(self._status, language)}]

    # ------------------------------------------------------------------ a Receiver

    def begin(self, channel: Channel) -> None:
        self._channel = channel
        self._line.listen(self._wake)

    def may_stay(self) -> bool:
        return self._user.session.active

    def full(self) -> bool:
        return self._unsent > _MOST_UNSENT or len(self._news) > _MOST_NEWS

    def message(self, message: str | bytes) -> None:
        if not self.may_stay():
            self._end(SESSION_OVER)
            return
        if isinstance(self._user, User):
            self._sessions.poll(self._user.session)
        try:
            if isinstance(message, bytes):
                self._write(message, counted=True)
            else:
                self._write(self._decoded(message), counted=False)
        except LabnodeError as error:
            self._news.append(
                {"type": "refused", "message": told(error.words, error.code, self._language)}
            )
            self._wake()

    def ended(self) -> None:
        self._line.unlisten(self._wake)

    # ------------------------------------------------------------------ a MessageSource

    def waiting(self) -> bool:
        return (
            bool(self._news)
            or (self._sent, self._lost) != self._reported
            or self._line.status is not self._status
            or self._line.generation != self._generation
            or self._position.waiting()
        )

    def next_message(self) -> str | bytes | None:
        if not self.may_stay() or self._line.generation != self._generation:
            self._end(_NEXT_STUDENT if self.may_stay() else SESSION_OVER)
            return None
        self._look()
        if self._news:
            return json.dumps(self._news.pop(0))
        return self._position.read(_PIECE) or None

    def _look(self) -> None:
        """Queue the messages that come before the next bytes."""
        if (status := self._line.status) is not self._status:
            self._status = status
            self._news.append({"type": "status", **_visible(status, self._language)})
        if (counts := (self._sent, self._lost)) != self._reported:
            self._reported = counts
            self._news.append({"type": "sent", "bytes": counts[0], "lost": counts[1]})
        if gap := self._position.skip_gap():
            self._news.append({"type": "dropped", "bytes": gap})

    def _decoded(self, message: str) -> bytes:
        try:
            given = parse(message)
            text, deadline = given["text"], float(given.get("deadline", "inf"))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise BadInput('Expected bytes, or {"text": "…"} as JSON.') from None
        check_in_time(deadline, self._clock.now())
        return str(text).encode(self._encoding, "replace")

    def _write(self, data: bytes, *, counted: bool) -> None:
        """Give `data` to the port; "sent" reports it if it is `counted`."""
        left = len(data)

        def written(number: int) -> None:  # on the io thread; 0 if the rest is discarded
            nonlocal left
            gone = number or left
            with self._lock:
                was_full = self.full()
                left -= gone
                self._unsent -= gone
                if counted and number:
                    self._sent += gone
                elif counted:
                    self._lost += gone
            if was_full or (self._sent, self._lost) != self._reported:
                self._wake()

        with self._lock:
            self._unsent += left
        try:
            if self._read_only:
                raise BadInput(Message("error.console-read-only"))
            self._line.write(data, written, self._generation)
        except LabnodeError:
            written(0)
            raise

    def _wake(self) -> None:
        if self._channel is not None:
            self._channel.wake()

    def _end(self, ending: Ending) -> None:
        if self._channel is not None:
            self._channel.end(ending)
