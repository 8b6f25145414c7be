"""HTTP/1 as it is read: the bytes of one connection become whole requests, or a refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

_MAX_HEADERS = 100
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e\x80-\xff]+) HTTP/(\d)\.(\d)" % _TOKEN.pattern)
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]+)(.*)")
_HOST = re.compile(r"([\w.~-]+|\[[0-9A-Fa-f:.]+\])(:\d{0,5})?", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r]*)?")
# A line feed alone ends a line for some parsers and not for others, so it is refused like NUL.
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n")


class Refusal(Exception):
    """The server itself answers, without the application: an HTTP status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = HTTPStatus(status)

    def response(self, *, bodyless: bool = False) -> bytes:
        """The whole answer; the connection ends with it."""
        body = json.dumps({"error": True, "message": str(self)}).encode()
        head = (
            f"HTTP/1.1 {self.status:d} {self.status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nDate: {formatdate(usegmt=True)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if bodyless else body)


@dataclass(kw_only=True)
class Request:
    """One whole request; text is latin-1, as WSGI has it."""

    method: str
    target: str  # as sent
    path: str  # decoded, except that %2F stays as it was: the application decides
    query: str
    version: str  # "HTTP/1.0" or "HTTP/1.1"
    headers: dict[str, str]  # by name in lower case
    keep_alive: bool
    body: bytes = b""

    @property
    def chunked(self) -> bool:
        return "transfer-encoding" in self.headers

    @property
    def expects_continue(self) -> bool:
        return "expect" in self.headers and self.version == "HTTP/1.1"


class RequestReader:
    """Makes requests out of the bytes of one connection, in whatever pieces they come."""

    def __init__(self, max_head: int, max_body: int) -> None:
        self.started = False  # a part of a request has come
        self.wants_continue = False  # the client waits for "100 Continue" before it sends the body
        self._max_head = max_head
        self._max_body = max_body
        self._buffer = bytearray()
        self._body = bytearray()
        self._parser = self._parse()

    @property
    def size(self) -> int:
        """Bytes held in memory."""
        return len(self._buffer) + len(self._body)

    def feed(self, data: bytes) -> Request | None:
        """The request that `data` completes, None while something is missing; raises Refusal.

        What follows that request is kept for the next `feed`, which may be of nothing.
        """
        self._buffer += data
        try:
            next(self._parser)
        except StopIteration as done:
            self._parser = self._parse()
            self.started = False
            request: Request = done.value
            return request
        return None

    def clear(self) -> None:
        """Give the memory free; the connection has no future."""
        self._buffer.clear()
        self._body.clear()

    def _parse(self) -> Generator[None, None, Request]:
        while not self._buffer:
            yield
        self.started = True
        request = parse_head((yield from self._until(b"\r\n\r\n", self._max_head, 431)))
        length = _body_length(request, self._max_body)
        self.wants_continue = request.expects_continue and length != 0 and not self._buffer
        if length is None:
            yield from self._parse_chunks()
        else:
            self._body += yield from self._take(length)
        request.body = bytes(self._body)
        self._body.clear()
        return request

    def _parse_chunks(self) -> Generator[None, None, None]:
        # What is not data (sizes, trailers) shares one limit, so that a body
        # of millions of tiny chunks does not keep the thread busy.
        overhead = self._max_head
        while True:
            line = yield from self._until(b"\r\n", overhead, 413)
            overhead -= len(line) + 4
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise Refusal(400, "The size of a chunk of the body is not a hexadecimal number.")
            size = int(match[1], 16)
            if size == 0:
                break
            if len(self._body) + size > self._max_body:
                raise _too_large(self._max_body)
            self._body += yield from self._take(size)
            if (yield from self._take(2)) != b"\r\n":
                raise Refusal(400, "A chunk of the body is longer than its size says.")
        while trailer := (yield from self._until(b"\r\n", overhead, 413)):
            overhead -= len(trailer) + 2

    def _until(self, mark: bytes, limit: int, status: int) -> Generator[None, None, bytes]:
        seen = 0
        while True:
            found = self._buffer.find(mark, max(0, seen - len(mark)))
            end = len(self._buffer) if found < 0 else found
            if _FORBIDDEN.search(self._buffer, seen, end):
                raise Refusal(400, "This is not HTTP: a control character or a bare line feed.")
            if end > limit:
                raise Refusal(status, f"Head or chunk sizes take more than {self._max_head} bytes.")
            if found >= 0:
                taken = bytes(self._buffer[:end])
                del self._buffer[: end + len(mark)]
                return taken
            seen = end
            yield

    def _take(self, count: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < count:
            yield
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def parse_head(head: bytes) -> Request:
    """The request without its body; `head` ends before the empty line. Raises Refusal."""
    first, *lines = head.removeprefix(b"\r\n").split(b"\r\n")  # RFC 9112 2.2: one empty line first
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise Refusal(400, "The first line is not of the form 'METHOD /path HTTP/1.1'.")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Refusal(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    version = "HTTP/1.0" if minor == b"0" else "HTTP/1.1"
    headers = _parse_headers(lines)
    if version == "HTTP/1.1" and "host" not in headers:
        raise Refusal(400, "The header Host is missing.")
    if absolute := _ABSOLUTE.fullmatch(target):
        headers["host"] = absolute[1].decode("latin-1")  # wins over the header: RFC 9112 3.2.2
    elif not target.startswith(b"/"):
        raise Refusal(400, "The address does not begin with '/', 'http://' or 'https://'.")
    if "host" in headers and not _HOST.fullmatch(headers["host"]):
        raise Refusal(400, "The host is not a name or an address.")
    path, _, query = (absolute[2] if absolute else target).partition(b"?")
    connection = [token.strip() for token in headers.get("connection", "").lower().split(",")]
    return Request(
        method=method.decode(),
        target=target.decode("latin-1"),
        path=_decode_path(path or b"/"),
        query=query.decode("latin-1"),
        version=version,
        headers=headers,
        keep_alive="close" not in connection
        and (version == "HTTP/1.1" or "keep-alive" in connection),
    )


def _decode_path(path: bytes) -> str:
    parts = re.split(rb"(%2[fF])", path)
    parts[::2] = map(unquote_to_bytes, parts[::2])
    decoded = b"".join(parts)
    if b"\0" in decoded:
        raise Refusal(400, "The path contains a NUL character.")
    return decoded.decode("latin-1")


def _parse_headers(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > _MAX_HEADERS:
        raise Refusal(431, f"More than {_MAX_HEADERS} headers.")
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(raw_name) or b"\r" in raw_value:
            raise Refusal(400, "A header line is not of the form 'Name: value'.")
        if b"_" in raw_name:
            continue  # in WSGI X_Forwarded_For could not be told from X-Forwarded-For
        name, value = raw_name.decode().lower(), raw_value.strip(b" \t").decode("latin-1")
        if name in headers:
            if name in ("content-length", "host", "transfer-encoding"):
                raise Refusal(400, f"The header {name.title()} is given twice.")
            value = headers[name] + ("; " if name == "cookie" else ", ") + value
        headers[name] = value
    return headers


def _body_length(request: Request, max_body: int) -> int | None:
    """Bytes of the body, None when it comes in chunks; RFC 9112 6.3, always the strict choice."""
    declared = request.headers.get("content-length")
    if request.headers.get("expect", "100-continue").lower() != "100-continue":
        raise Refusal(417, "Of the header Expect only '100-continue' is understood.")
    if request.chunked:
        if declared is not None or request.version == "HTTP/1.0":
            raise Refusal(400, "Transfer-Encoding with Content-Length or HTTP/1.0 is ambiguous.")
        if request.headers["transfer-encoding"].lower() != "chunked":
            raise Refusal(501, "Of the header Transfer-Encoding only 'chunked' is understood.")
        return None
    if declared is None:
        return 0
    if not re.fullmatch("[0-9]{1,18}", declared):
        raise Refusal(400, "The header Content-Length is not a number of bytes.")
    if int(declared) > max_body:
        raise _too_large(max_body)
    return int(declared)


def _too_large(max_body: int) -> Refusal:
    return Refusal(413, f"The body has more than {max_body} bytes.")
