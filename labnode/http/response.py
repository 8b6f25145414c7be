"""The answer of a WSGI application, framed as HTTP/1 by h11."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

import h11

from labnode.http.connection import ClientGone, Connection
from labnode.http.request import Refusal

logger = logging.getLogger(__name__)


class Response:
    """What the application answers to one request; `last`: the connection ends with it."""

    def __init__(self, connection: Connection, *, last: bool) -> None:
        self._connection = connection
        self._http = connection.reader.http
        self._last = last
        self._head: h11.Response | None = None
        self._head_sent = False
        self._bodyless = False

    def run(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        """Call `app` and send all that it answers, or 500 when it fails; raises ClientGone."""
        self._bodyless = environ["REQUEST_METHOD"] == "HEAD"
        try:
            result = app(environ, self._start)
            try:
                if self._http.our_state is not h11.SWITCHED_PROTOCOL:
                    self._send_all(result)
            finally:
                if close := getattr(result, "close", None):
                    close()
        except ClientGone:
            raise
        except (Exception, SystemExit):
            logger.exception("The application failed in a %s request", environ["REQUEST_METHOD"])
            if self._head_sent:
                self._http.send_failed()
            else:
                refusal = Refusal(500, "Something went wrong in the lab; its log says what.")
                self._connection.send(refusal.response(bodyless=self._bodyless))

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
        code, _, reason = status.partition(" ")
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if all(name.lower() != b"date" for name, _ in raw):
            raw.append((b"Date", formatdate(usegmt=True).encode()))
        if self._last or self._connection.successor is not None:
            raw.append((b"Connection", b"close"))
        self._head = h11.Response(
            status_code=int(code), reason=reason.encode("latin-1"), headers=raw
        )
        return self._write

    def _send_all(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if piece:
                self._write(piece)
        if not self._head_sent:
            self._write(b"")
        if self._connection.successor is None and (end := self._http.send(h11.EndOfMessage())):
            self._connection.send(end)

    def _write(self, piece: bytes) -> None:
        if self._head is None:
            raise RuntimeError("the application did not call start_response")
        data = b"" if self._head_sent else self._http.send(self._head)
        if not self._bodyless:
            data += self._http.send(h11.Data(data=piece))
        self._head_sent = True
        self._connection.send(data)
