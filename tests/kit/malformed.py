"""Requests that no good client sends: routes, credentials and tricks, combined by a seed."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.kit.basic_auth import basic
from tests.kit.waiting import PATIENCE

ROUTES = [
    "/",
    "/?",
    "//",
    "/index.html",
    "/favicon.ico",
    "/static/page.js",
    "/static/lab/x",
    "/static/../demo.py",
    "/static/%2e%2e/x",
    "/api/board",
    "/api/state",
    "/api/session",
    "/api/live",
    "/api/observe",
    "/api/devices/switch/set",
    "/api/devices/switch/toggle",
    "/api/devices/lamp/set",
    "/api/devices/nothing/set",
    "/api/devices//set",
    "/api/devices/switch/set?x=%ff",
    "/api/devices/switch/stream",
    "/api/devices/switch/snapshot",
    "/api/devices/switch/program?name=%00",
    "/api/uploads/switch",
    "/api/tasks/blink",
    "/api/tasks/nothing",
    "/api/tasks/x/stop",
    "/api/tasks/%C3%B1",
    "/api/recording",
    "/api/console/switch",
    "/callback/",
    "/callback/x",
    "/callback/x/poll",
    "/callback/x/logout",
    "/observe/x",
    "/weblab/health",
    "/weblab/sessions/",
    "/weblab/sessions/api",
    "/weblab/sessions/api.php",
    "/weblab/sessions/test",
    "/weblab/sessions/x",
    "/weblab/sessions/x/status",
    "/weblab/sessions/status/multiple",
    "/weblab/sessions/status.php?session_id=x",
    "/weblab/sessions/action.php?session_id=%ff&session_id=y",
    "/ldl/sessions/",
    "/ldl/sessions/api",
    "/ldl/sessions/test",
    "/ldl/sessions/x",
    "/ldl/sessions/status/multiple",
    "/admin",
    "/admin/",
    "/admin/estop",
    "/admin/x",
    "/metrics",
    "/robots.txt",
    "/.git/config",
    "/cgi-bin/x.php",
]
METHODS = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "PRI",
    "get",
    "G%T",
    "BREW",
]
BODIES = [
    b"",
    b"{",
    b"[]",
    b"{}",
    b"null",
    b'{"a":' * 3000,
    b"[" * 60_000,
    b'{"value": NaN}',
    b'{"value": 1e999}',
    b'{"value": ' + b"9" * 5000 + b"}",
    b'{"\\ud800": "\\udfff"}',
    b'{"value": "\\u0000\\u001b[31m"}',
    b'{"self": 1, "cls": 2, "name": 3, "args": []}',
    b'{"value": true, "value": {}}',
    b'\xef\xbb\xbf{"value": 1}',
    b"\xff\xfe{\x00}\x00",
    b"a=1&a=2&%ff=%00&;&=&" * 30,
    b'{"action": "delete", "action": []}',
    b'{"session_ids": "x", "timeout": "y"}',
    b'{"session_ids": [null, {}, 1e400, "\\ud800"], "timeout": -1}',
    b'{"client_initial_data": "{", "server_initial_data": "[1"}',
    b'{"server_initial_data": {"priority.queue.slot.length": "inf"}}',
    b'{"server_initial_data": {"priority.queue.slot.length": {}}, "back": ["x"]}',
    b'--b\r\nContent-Disposition: form-data; name="a"; filename="../../x"\r\n\r\nx\r\n--b--\r\n',
    b"--b\r\n" * 5000,
    b"x" * 70_000,
]
_ODD = [b"\0", b"\n", b"\r", b"\t", b" ", b"\x7f", b"\x1b[31m", b"\xff", b"\xc2\x85", b"%", b":"]


@dataclass
class Request:
    """The parts of a request, on which tricks are played."""

    method: bytes
    target: bytes
    headers: list[bytes]
    body: bytes
    version: bytes = b"HTTP/1.1"
    line_end: bytes = b"\r\n"
    framing: list[bytes] | None = None  # None: the length of the body
    after: bytes = b""
    keep: int | None = None  # bytes that are sent
    route: str = ""  # to which tricks were added
    stranger: bool = True  # nobody's credentials
    tricks: list[str] = field(default_factory=list)

    def encoded(self) -> bytes:
        framing = self.framing
        if framing is None:
            framing = [b"Content-Length: %d" % len(self.body)] if self.body else []
        lines = [b" ".join([self.method, self.target, self.version]), *self.headers, *framing]
        head = self.line_end.join([*lines, b"", b""])
        return (head + self.body + self.after)[: self.keep]


Trick = Callable[[random.Random, Request], None]


def chunked(body: bytes, size: int = 7) -> bytes:
    pieces = [body[at : at + size] for at in range(0, min(len(body), 500), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def framing(chance: random.Random, request: Request) -> None:
    """Two lengths, or one that is none."""
    length = b"Content-Length: %d" % len(request.body)
    te = b"Transfer-Encoding: chunked"
    request.framing = chance.choice(
        [
            [length, te],
            [te, length],
            [length, length],
            [length, b"Content-Length: 0"],
            [b"Content-Length: %d, %d" % (len(request.body), len(request.body))],
            [b"Content-Length: -1"],
            [b"Content-Length: +5"],
            [b"Content-Length: 0x10"],
            [b"Content-Length: 1_0"],
            [b"Content-Length: " + b"9" * 400],
            [b"Content-Length: 99999999999"],
            [b"Content-Length : 3"],
            [b"Content-Length:"],
            [b"Content_Length: 3"],
            [te, te],
            [b"Transfer-Encoding: identity"],
            [b"Transfer-Encoding: gzip, chunked"],
            [b"Transfer-Encoding: xchunked"],
            [b"Transfer-Encoding:\tchunked"],
            [b"Transfer-Encoding: \x0bchunked"],
            [b"Transfer-Encoding: chunked\r\n ,identity"],
            [b"Transfer-Encoding : chunked"],
            [b"Transfer_Encoding: chunked"],
        ]
    )
    if chance.random() < 0.5:
        request.body = chunked(request.body)


def chunks(chance: random.Random, request: Request) -> None:
    """Chunks whose sizes, ends or trailers are not right."""
    request.framing = [b"Transfer-Encoding: chunked"]
    body = chunked(request.body or b"{}", chance.choice([1, 7, 4096]))
    bad = [b"-1", b"0x2", b"+2", b" 2", b"2 ", b"2;x", b"2;" + b"y" * 9000, b"g", b"", b"f" * 17]
    request.body = chance.choice(
        [
            body,
            body[:-2],
            body.replace(b"\r\n", b"\n"),
            body.replace(b"\r\n", b"\r"),
            body.replace(b"0\r\n\r\n", b"0\r\nA: b\r\nContent-Length: 3\r\n\r\n"),
            body.replace(b"0\r\n\r\n", b"0\r\n" + b"A: b\r\n" * 3000 + b"\r\n"),
            b"1\r\nx\r\n" * 6000 + b"0\r\n\r\n",
            *[size + b"\r\nab\r\n0\r\n\r\n" for size in bad],
        ]
    )


def lines(chance: random.Random, request: Request) -> None:
    """Ends of lines, and what is between them."""
    if chance.random() < 0.3:
        request.line_end = chance.choice([b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n"])
    bad = [
        b" folded",
        b"\tfolded",
        b"NoColon",
        b": noname",
        b"Spa ce: x",
        b"X : y",
        b"X:" + chance.choice(_ODD) + b"y",
        b"X" + chance.choice(_ODD) + b": y",
        b"X: \xc3\xa9",
        b"X: " + b"y" * chance.choice([100, 8000, 20_000]),
        b"Host: other",
    ]
    request.headers.insert(chance.randrange(len(request.headers) + 1), chance.choice(bad))


def many_headers(chance: random.Random, request: Request) -> None:
    """More headers than anybody sends."""
    count = chance.choice([90, 101, 1000, 4000])
    request.headers += [b"X-%d: y" % number for number in range(count)]


def start_line(chance: random.Random, request: Request) -> None:
    """A first line that is none."""
    request.version = chance.choice(
        [
            b"HTTP/1.0",
            b"HTTP/1.2",
            b"HTTP/0.9",
            b"HTTP/2.0",
            b"HTTP/1.1 x",
            b"HTTP/11",
            b"",
            b"http/1.1",
        ]
    )
    if chance.random() < 0.3:
        request.method = chance.choice([b"", b" ", b"\0", b"G" * 9000, b"GET\t", b"\xff", b"GET "])


def address(chance: random.Random, request: Request) -> None:
    """An address that another program might understand in another way."""
    path = request.target
    request.target = chance.choice(
        [
            b"http://other" + path,
            b"http://user@lab" + path,
            b"http://" + path,
            b"HTTPS://lab:99999" + path,
            b"//other" + path,
            b"/." + path,
            b"/.." + path,
            b"/%2e%2e" + path,
            b"/%2f" + path,
            b"\\" + path,
            path.replace(b"/", b"%2F"),
            path.replace(b"a", b"%61"),
            path
            + chance.choice([b"%00", b"%ff", b"%0d%0aX:y", b"%", b"%zz", b";x=y", b"#x", b"/.."]),
            path + b"?" + b"&".join(b"k%d=%%ff" % n for n in range(200)),
            path + b"/" * 3000,
            path + b"x" * chance.choice([1000, 20_000]),
            b"*",
            b"",
            path + chance.choice(_ODD),
        ]
    )


def oddities(chance: random.Random, request: Request) -> None:
    """Headers with a meaning, and values without."""
    junk = [b"", b"x", b"\xff", b"-1", b",", b";;=", b"a" * 3000, b"\x1b[2J", b"'\"<>", b"%00"]
    value = chance.choice(junk)
    request.headers.append(
        chance.choice(
            [
                b"Host: " + value,
                b"Cookie: " + value,
                b"Cookie: " + b'a="\\"' * 2500,
                b"Cookie: a/b=1; user@x=1; x={}",
                b"Authorization: " + value,
                b"Authorization: Basic " + value,
                b"Authorization: Bearer " + value,
                b"Content-Type: " + value,
                b"Content-Type: multipart/form-data; boundary=" + value,
                b"Content-Encoding: gzip",
                b"Range: bytes=" + value,
                b"Range: bytes=" + b"0-," * 2000,
                b"If-Modified-Since: " + value,
                b"If-None-Match: " + value,
                b"Accept-Encoding: " + value,
                b"Accept-Language: " + b"de;q=0.1," * 1000,
                b"Accept-Language: " + value,
                b"Origin: " + value,
                b"Sec-Fetch-Site: " + value,
                b"X-Forwarded-For: " + value,
                b"X-Forwarded-Host: " + value,
                b"X-Forwarded-Proto: " + value,
                b"Expect: 100-continue",
                b"Expect: " + value,
                b"Connection: " + value,
                b"Connection: close, keep-alive, Upgrade",
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: " + value,
                b"Upgrade: h2c\r\nHTTP2-Settings: " + value,
                b"Transfer-Encoding: " + value,
                b"Trailer: " + value,
            ]
        )
    )


def half(chance: random.Random, request: Request) -> None:
    """The client goes away before it has said all."""
    request.keep = chance.randrange(len(request.encoded()))


def pipelined(chance: random.Random, request: Request) -> None:
    """Something follows at once."""
    again = request.encoded()
    request.after = chance.choice(
        [again, again * 5, again[: len(again) // 2], b"\r\n" * 20, b"\0" * 50, b"GET"]
    )


def flipped(chance: random.Random, request: Request) -> None:
    """One byte of an address, a header or the body is another one."""
    parts = [request.target, *request.headers]
    at = chance.randrange(len(parts))
    part = bytearray(parts[at])
    if part:
        part[chance.randrange(len(part))] = chance.randrange(256)
    if at == 0:
        request.target = bytes(part)
    else:
        request.headers[at - 1] = bytes(part)


TRICKS: list[Trick] = [
    framing,
    chunks,
    lines,
    many_headers,
    start_line,
    address,
    oddities,
    half,
    pipelined,
    flipped,
]


def request(chance: random.Random, cookie: str, authorization: str) -> Request:
    """A request with one to three tricks; `cookie` and `authorization` are genuine."""
    nobodys = [
        [],
        [f"Cookie: {cookie[:-3]}xyz"],
        [f"Cookie: {cookie.replace('.', ';')}"],
        [f"Authorization: {basic('weblab:wrong')}"],
        [f"Authorization: {authorization[:-4]}", "X-Forwarded-For: 127.0.0.1"],
    ]
    genuine = [
        [f"Cookie: {cookie}"],
        [f"Cookie: other=1; {cookie}; x={{}}"],
        [f"Authorization: {authorization}"],
        [f"Authorization: {authorization}", f"Cookie: {cookie}"],
    ]
    stranger = chance.random() < 0.4
    route = chance.choice(ROUTES)
    made = Request(
        method=chance.choice(METHODS[:5] if chance.random() < 0.8 else METHODS).encode(),
        target=route.encode(),
        headers=[b"Host: lab"],
        body=chance.choice(BODIES) if chance.random() < 0.6 else b"",
        route=route,
        stranger=stranger,
    )
    credentials = chance.choice(nobodys if stranger else genuine)
    made.headers += [line.encode() for line in credentials]
    for trick in chance.sample(TRICKS, chance.choice([1, 1, 1, 2, 3])):
        trick(chance, made)
        made.tricks.append(trick.__name__)
    return made


def answers(address: tuple[str, int], data: bytes) -> bytes:
    """All that the node answers to `data` until it closes the connection."""
    got = bytearray()
    with socket.create_connection(address, PATIENCE) as client:
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(1 << 16):
                got += piece
        except (ConnectionError, BrokenPipeError):  # it has refused to read the rest
            pass
    return bytes(got)
