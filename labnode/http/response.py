"""The answer of a WSGI application, framed as HTTP/1 by h11."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from functools import lru_cache
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

import bottle
import h11

from labnode.clock import Clock
from labnode.http.connection import ClientGone, Connection
from labnode.http.request import Refusal

logger = logging.getLogger(__name__)

_TURN = 1 << 20  # bytes of one answer, then the others have their turn
_clock = Clock()


class Response:
    """What the application answers to one request; `last`: the connection ends with it.

    It is sent in turns, while the client takes it. Each is for a thread of the pool, in which the
    application finds its context variables and Bottle's `request` and `response` as it left them.
    """

    def __init__(
        self, connection: Connection, app: WSGIApplication, environ: WSGIEnvironment, *, last: bool
    ) -> None:
        self._connection = connection
        self._http = connection.reader.http
        self._app = app
        self._environ = environ
        self._method = environ["REQUEST_METHOD"]
        self._last = last
        self._context = contextvars.copy_context()
        self._bottle: _BottleRequest | None = None  # as the last turn left it
        self._result: Iterable[bytes] | None = None
        self._pieces: Iterator[bytes] | None = None  # of the result
        self._head: h11.Response | None = None
        self._head_sent = False

    def turn(self) -> bool:
        """Send pieces, or 500 when the application fails, as long as the client takes them.

        Returns whether that was the end. Raises ClientGone.
        """
        finished = True
        try:
            try:
                finished = self._context.run(self._advance)
            finally:
                if finished:
                    self.close()
                _BottleRequest.forget()
        except ClientGone:
            raise
        except (Exception, SystemExit):
            logger.exception("The application failed in a %s request", self._method)
            self._fail()
        return finished

    def close(self) -> None:
        """Close what the application has returned; idempotent."""
        result, self._result = self._result, None
        if close := getattr(result, "close", None):
            self._restore()
            self._context.run(close)

    def _advance(self) -> bool:
        if self._pieces is None:
            self._result = self._app(self._environ, self._start)
            if self._http.our_state is h11.SWITCHED_PROTOCOL:
                return True
            self._pieces = iter(self._result)
        self._restore()
        sent = 0
        for piece in self._pieces:
            if piece:
                self._write(piece)
            sent += len(piece)
            if self._connection.unsent or sent >= _TURN:
                self._bottle = _BottleRequest.current()
                return False
        if not self._head_sent:
            self._write(b"")
        if self._connection.successor is None and (end := self._http.send(h11.EndOfMessage())):
            self._connection.send(end)
        return True

    def _restore(self) -> None:
        if self._bottle is not None:
            self._bottle.restore()
            self._bottle = None

    def _fail(self) -> None:
        if self._head_sent:
            self._http.send_failed()
        else:
            refusal = Refusal(500, "Something went wrong in the lab; its log says what.")
            self._connection.send(refusal.response(bodyless=self._method == "HEAD"))

    def _start(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: tuple[Any, Any, Any] | None = None,
    ) -> Callable[[bytes], object]:
        if exc_info and exc_info[1] and self._head_sent:
            raise exc_info[1]
        if self._head and not exc_info:
            raise RuntimeError("start_response was called twice")
        if not status.isprintable():
            raise ValueError(f"{status!r} is not an HTTP status")
        close = self._last or self._connection.successor is not None
        date = _date(int(_clock.wall()))
        self._head = _head(status, tuple((name, value) for name, value in headers), date, close)
        return self._write

    def _write(self, piece: bytes) -> None:
        if self._head is None:
            raise RuntimeError("the application did not call start_response")
        data = b"" if self._head_sent else self._http.send(self._head)
        if self._method != "HEAD":
            data += self._http.send(h11.Data(data=piece))
        self._head_sent = True
        self._connection.send(data)


class _BottleRequest:
    """Bottle's `request` and `response` of this thread, which belong to one request."""

    def __init__(self, environ: dict[str, Any], response: bottle.BaseResponse) -> None:
        self._environ = environ
        self._response = response

    @classmethod
    def current(cls) -> _BottleRequest | None:
        """None where no Bottle application has served this thread."""
        try:
            return cls(bottle.request.environ, bottle.response.copy())
        except RuntimeError:  # the application is another one
            return None

    @staticmethod
    def forget() -> None:
        """Keep nothing of it in this thread, which may have nothing to do for long."""
        bottle.request.bind({})

    def restore(self) -> None:
        """Make them those of the present thread."""
        bottle.request.bind(self._environ)
        headers = list(self._response.iter_headers())
        bottle.response.bind("", self._response.status_line, headers)


@lru_cache(64)
def _head(
    status: str, headers: tuple[tuple[str, str], ...], date: bytes, close: bool
) -> h11.Response:
    """The head of an answer. Most answers have the same few, and h11 takes long to check one."""
    code, _, reason = status.partition(" ")
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if all(name.lower() != b"date" for name, _ in raw):
        raw.append((b"Date", date))
    if close:
        raw.append((b"Connection", b"close"))
    return h11.Response(status_code=int(code), reason=reason.encode("latin-1"), headers=raw)


@lru_cache(1)
def _date(wall: int) -> bytes:
    return formatdate(wall, usegmt=True).encode()
