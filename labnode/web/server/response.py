"""The answer of a WSGI application, framed as HTTP/1."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from email.utils import formatdate
from types import TracebackType
from typing import TypeAlias
from wsgiref.types import WSGIApplication, WSGIEnvironment
from wsgiref.util import is_hop_by_hop

from labnode.web.server.connection import ClientGone
from labnode.web.server.request import Refusal, Request

logger = logging.getLogger(__name__)

_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
)
_STATUS = re.compile(r"[2-5][0-9][0-9] [^\x00\r\n]*")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00\r\n]*")


class Response:
    """What the application answers to one request; `send` takes the bytes, or raises ClientGone."""

    def __init__(self, request: Request, send: Callable[[bytes], None], last: bool) -> None:
        self.keep = request.keep_alive and not last  # the connection, for another request
        self._request = request
        self._send = send
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._bodyless = False
        self._left: int | None = None  # bytes of the declared length that have not come yet
        self._chunked = False
        self._head_sent = False

    def run(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        """Call `app` and send all that it answers, or 500 when it fails."""
        try:
            result = app(environ, self._start)
            try:
                for piece in [self._whole(result)] if isinstance(result, list) else result:
                    if piece:
                        self._write(piece)
                self._finish()
            finally:
                if close := getattr(result, "close", None):
                    close()
        except ClientGone:
            raise
        except (Exception, SystemExit):
            logger.exception("The application failed in a %s request", self._request.method)
            self.keep = False
            if not self._head_sent:
                refusal = Refusal(500, "Something went wrong in the lab; its log says what.")
                self._send(refusal.response(bodyless=self._request.method == "HEAD"))

    def _start(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        if exc_info and exc_info[1] and self._head_sent:
            raise exc_info[1]
        if self._status and not exc_info:
            raise RuntimeError("start_response was called twice")
        if not _STATUS.fullmatch(status):
            raise ValueError(f"{status!r} is not an HTTP status")
        for name, value in headers:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or is_hop_by_hop(name):
                raise ValueError(f"an application cannot send the header {name!r}: {value!r}")
        self._status, self._headers = status, list(headers)
        self._bodyless = self._request.method == "HEAD" or status[:3] in ("204", "304")
        declared = [value for name, value in headers if name.lower() == "content-length"]
        self._left = int(declared[0]) if declared and not self._bodyless else None
        return self._write

    def _whole(self, pieces: list[bytes]) -> bytes:
        body = b"".join(pieces)
        self._declare(len(body))
        return body

    def _declare(self, length: int) -> None:
        if self._left is None and not self._bodyless:
            self._left = length
            self._headers.append(("Content-Length", str(length)))

    def _write(self, piece: bytes) -> None:
        if not self._status:
            raise RuntimeError("the application did not call start_response")
        if self._bodyless:
            piece = b""
        elif self._left is not None:
            if len(piece) > self._left:
                raise ValueError("the answer is longer than its Content-Length")
            self._left -= len(piece)
        head = b"" if self._head_sent else self._head()
        if self._chunked and piece:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        data = head + piece
        self._head_sent = True
        self._send(data)

    def _head(self) -> bytes:
        lines = [f"HTTP/1.1 {self._status}"]
        lines += [f"{name}: {value}" for name, value in self._headers]
        if all(name.lower() != "date" for name, _ in self._headers):
            lines.append(f"Date: {formatdate(usegmt=True)}")
        if self._left is None and not self._bodyless:
            if self._request.version == "HTTP/1.1":
                self._chunked = True
                lines.append("Transfer-Encoding: chunked")
            else:
                self.keep = False  # the end of the connection is the end of the answer
        if not self.keep:
            lines.append("Connection: close")
        elif self._request.version == "HTTP/1.0":
            lines.append("Connection: keep-alive")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _finish(self) -> None:
        if not self._head_sent:
            self._declare(0)
            self._write(b"")
        if self._left:
            raise ValueError("the answer is shorter than its Content-Length")
        if self._chunked:
            self._send(b"0\r\n\r\n")
