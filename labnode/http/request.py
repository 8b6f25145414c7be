"""HTTP/1 as it is read: the bytes of one connection become WSGI environs, or a refusal."""

from __future__ import annotations

import json
import re
from email.utils import formatdate
from http import HTTPStatus
from io import BytesIO
from urllib.parse import unquote
from wsgiref.types import WSGIEnvironment

import h11

from labnode.http.cookies import well_formed
from labnode.http.writer import LargeBody, Waiter, Writer

_MAX_HEADERS = 100
TOO_MANY = "There are too many large requests at the moment; try again soon."
_TARGET = re.compile(r"(?:(?i:https?)://([^/?]+)|(?=/))([^?]*)\??(.*)")
_HOST = re.compile(r"([\w.~-]+|\[[0-9A-Fa-f:.]+\])(:\d{0,5})?", re.ASCII)
_ESCAPED_SLASH = re.compile("%(?=2[fF])")
_CONTROLS = re.compile("[\0-\x08\n-\x1f\x7f-\x9f]")  # all but the tab
_LENGTHS = re.compile(rb"\ncontent-length:.*,", re.IGNORECASE)


class Refusal(Exception):
    """The server itself answers, without the application: an HTTP status and one sentence.

    `code` is for programs, where they may have to know more than the status.
    """

    def __init__(self, status: int, message: str, code: str = "http") -> None:
        super().__init__(message)
        self.status = HTTPStatus(status)
        self.code = code

    def response(self, *, bodyless: bool = False) -> bytes:
        """The whole answer; the connection ends with it."""
        body = json.dumps({"error": True, "code": self.code, "message": str(self)}).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Date", formatdate(usegmt=True)),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", "default-src 'none'"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Connection", "close"),
        ]
        head = h11.Response(status_code=self.status, reason=self.status.phrase, headers=headers)
        # The connection's own h11 may be in any state, and this needs to know nothing of it.
        return h11.Connection(h11.SERVER).send(head) + (b"" if bodyless else body)


class RequestReader:
    """Makes requests out of the bytes of one connection, in whatever pieces they come.

    A body for which `writer` has a sink goes there, and the sink is `environ["labnode.body"]`.
    The request may be served when nothing of `large_body` is pending.

    `http` is the connection's protocol, for the answers too. What a client sends after a request
    waits there until that is answered.
    """

    def __init__(self, max_head: int, max_body: int, writer: Writer | None = None) -> None:
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=max_head)
        self.received = 0  # bytes of the request that is being read
        self.size = 0  # bytes of the body in memory, until its request is answered
        self.large_body: LargeBody | None = None  # of the request that is read or being answered
        self._length = 0  # of the body so far
        self._max_head = max_head
        self._max_body = max_body
        self._writer = writer
        self._environ: WSGIEnvironment | None = None  # of the request whose body is missing

    def feed(self, data: bytes, waiter: Waiter | None = None) -> WSGIEnvironment | None:
        """The environ of the request that `data` completes, as far as the client says it.

        None while something is missing; raises Refusal. `waiter` hears of what is written of a
        large body; without one there are none. After the answer the next request may be
        here already: feed nothing to get it.
        """
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
            self.clear()
            self.received = len(self.http.trailing_data[0])
            if not data and not self.received:
                return None
        if data:  # nothing would be the end of the connection
            self.http.receive_data(data)
            self.received += len(data)
        try:
            if self._environ is None:
                self._environ = self._read_head(waiter)
            if self._environ is None or not self._read_body(self._environ):
                return None
        except h11.RemoteProtocolError as error:
            error.__traceback__ = None  # a frame of h11's that refers to the error
            if error.error_status_hint == 431:
                raise self._head_too_large() from None
            reason = str(error).partition(":")[0]  # what follows is what the client has sent
            raise Refusal(error.error_status_hint, f"This is not valid HTTP: {reason}.") from None
        environ, self._environ = self._environ, None
        environ["CONTENT_LENGTH"] = str(self._length)
        environ["wsgi.input"].seek(0)
        return environ

    def go_on(self) -> bytes:
        """The "100 Continue" for which a client waits before it sends the body; else nothing."""
        if not self.http.they_are_waiting_for_100_continue:
            return b""
        go_on = h11.InformationalResponse(status_code=100, reason="Continue", headers=[])
        return self.http.send(go_on)

    def clear(self) -> None:
        """Give the memory free, and what was spooled and nobody took."""
        self._environ = None
        self.size = self._length = 0
        large_body, self.large_body = self.large_body, None
        if large_body is not None:
            large_body.discard()

    def _read_head(self, waiter: Waiter | None) -> WSGIEnvironment | None:
        before, _ = self.http.trailing_data
        event = self.http.next_event()
        if not isinstance(event, h11.Request):
            return None
        head = before[: len(before) - len(self.http.trailing_data[0])]
        if len(head) > self._max_head:
            raise self._head_too_large()
        if len(event.headers) > _MAX_HEADERS:
            raise Refusal(431, f"There are more than {_MAX_HEADERS} headers.")
        # RFC 9112 lets h11 take a bare line feed, a folded header and one Content-Length twice. A
        # proxy may see another request there, so each header that h11 gives has to be one line.
        lines = len(event.headers) + 2
        if not head.count(b"\n") == head.count(b"\r\n") == lines or _LENGTHS.search(head):
            raise Refusal(400, "A header is folded or doubled, or a line does not end with CR LF.")
        environ = _parse_head(event)
        length = environ.pop("HTTP_CONTENT_LENGTH", None)
        chunked = environ.pop("HTTP_TRANSFER_ENCODING", None)  # Bottle would look for chunks again
        if chunked and (length or event.http_version == b"1.0"):
            raise Refusal(400, "Transfer-Encoding with Content-Length or HTTP/1.0 is ambiguous.")
        if (length or chunked) and self._writer is not None and waiter is not None:
            environ["CONTENT_LENGTH"] = length or ""
            sink = self._writer.large(environ)
            if sink is not None and self._writer.full:
                raise Refusal(503, TOO_MANY)
            self.large_body = None if sink is None else self._writer.begin(sink, waiter)
        if length and int(length) > self._limit:
            raise self._body_too_large()
        if self.large_body is not None:
            environ["labnode.body"] = self.large_body.sink
            self.large_body.open()
        return environ

    @property
    def _limit(self) -> int:
        return self._max_body if self.large_body is None else self.large_body.sink.limit

    def _read_body(self, environ: WSGIEnvironment) -> bool:
        """Whether it is complete now."""
        while (event := self.http.next_event()) is not h11.NEED_DATA:
            if not isinstance(event, h11.Data):
                return True
            self._length += len(event.data)
            if self._length > self._limit:
                raise self._body_too_large()
            if self.large_body is None:
                self.size = self._length
                environ["wsgi.input"].write(event.data)
            else:
                self.large_body.write(event.data)
        # The head, the sizes of chunks and the trailers share one limit, so that a body of a
        # million tiny chunks does not keep the thread busy.
        if self.received - self._length > self._max_head:
            raise Refusal(413, "The body comes in too many small chunks.")
        return False

    def _head_too_large(self) -> Refusal:
        return Refusal(431, f"The head of the request has more than {self._max_head} bytes.")

    def _body_too_large(self) -> Refusal:
        return Refusal(413, f"The body has more than {self._limit} bytes.")


def _parse_head(request: h11.Request) -> WSGIEnvironment:
    """What a request says for the application; text is latin-1, as WSGI has it."""
    if not request.http_version.startswith(b"1"):
        raise Refusal(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    target = request.target.decode()
    match = _TARGET.fullmatch(target)
    if match is None:
        raise Refusal(400, "The address does not begin with '/', 'http://' or 'https://'.")
    host, path, query = match.groups()
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": request.method.decode(),
        "SCRIPT_NAME": "",
        # %2F stays as it is: the application decides
        "PATH_INFO": unquote(_ESCAPED_SLASH.sub("%25", path or "/"), "latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": target,
        "SERVER_PROTOCOL": f"HTTP/{request.http_version.decode()}",
        "wsgi.input": BytesIO(),
    }
    _check_text(environ["PATH_INFO"], "The path")
    for name, value in request.headers:
        if b"_" in name:
            continue  # X_Forwarded_For would look like X-Forwarded-For
        key = "HTTP_" + name.decode().upper().replace("-", "_")
        known = [environ[key]] if key in environ else []
        text = value.decode("latin-1")
        if name != b"cookie":  # those of other applications on the host may be anything
            _check_text(text, "A header")
        environ[key] = ("; " if name == b"cookie" else ", ").join([*known, text])
    if cookies := well_formed(environ.pop("HTTP_COOKIE", "")):
        environ["HTTP_COOKIE"] = cookies
    if "HTTP_CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
    if host is not None:
        environ["HTTP_HOST"] = host  # wins over the header: RFC 9112 3.2.2
    if not _HOST.fullmatch(environ.get("HTTP_HOST", "none")):
        raise Refusal(400, "The host is not a name or an address.")
    return environ


def _check_text(latin: str, what: str) -> None:
    """Refuse what no application expects, and no log should have; `latin`: as WSGI has it."""
    try:
        text = latin.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise Refusal(400, f"{what} is not UTF-8.") from None
    if _CONTROLS.search(text):
        raise Refusal(400, f"{what} contains a control character.")
