"""What reads bytes of the network: no mutation is an accident, and no length costs its square."""

from __future__ import annotations

import gc
import io
import json
import logging
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.cookies import SimpleCookie
from types import SimpleNamespace
from typing import Any

import bottle
import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from labnode.clock import ManualClock
from labnode.errors import BadInput
from labnode.http.basic_auth import BasicAuth, Denied
from labnode.http.cookies import cookie_value, well_formed
from labnode.http.reactor import Group, Reactor
from labnode.http.replies import OwnViews
from labnode.http.request import Refusal, RequestReader
from labnode.http.websocket import Channel, WebSocketLimits
from labnode.lab.pages import accepted
from labnode.settings import Client
from labnode.weblab import lde, messages
from labnode.weblab.bodies import read_body
from tests.kit import malformed
from tests.kit.basic_auth import basic

SEED = 13
SHORT, LONG = 400, 50_000  # mutations of each
TIMES_LONGER = 8
TIMES_SLOWER = 30  # linear: 8, and some noise; quadratic: 64
HEADER = 16_384  # bytes of a head
BODY = 1 << 20
FRAMES = 1 << 17  # bytes of WebSockets' frames, and of a body in a short run

Parser = Callable[[bytes], object]


# ---------------------------------------------------------------------- the parsers


def cookies(data: bytes) -> None:
    header = data.decode("latin-1")
    kept = well_formed(header)
    read = SimpleCookie(kept)  # as Bottle does it for a lab's own views
    names = {pair.partition("=")[0] for pair in kept.split("; ") if pair}
    assert {name for name in names if name[0] != "$"} == set(read)
    for name in names:
        cookie_value(header, name)


def authorization(data: bytes) -> None:
    client = Client(name="weblab", username="weblab", password="secret")
    who = BasicAuth([client], ManualClock(), set()).check(data.decode("latin-1"), "192.0.2.1")
    assert who == "weblab" or isinstance(who, Denied)


def query(data: bytes) -> None:
    found = bottle.BaseRequest({"QUERY_STRING": data.decode("latin-1")}).query
    for name in found:
        found.getunicode(name, "")


def multipart(data: bytes) -> None:
    """What a view of a lab's own gets of a form."""
    bottle.request.bind(
        {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": "multipart/form-data; boundary=b",
            "CONTENT_LENGTH": str(len(data)),
            "wsgi.input": io.BytesIO(data),
        }
    )

    def view() -> bottle.HTTPResponse:
        for _, value in bottle.request.POST.allitems():
            if isinstance(value, bottle.FileUpload):
                assert "/" not in value.filename
                value.file.close()
        return bottle.HTTPResponse()

    with closing(bottle.request.body), suppress(bottle.HTTPError):
        OwnViews({}).apply(view, None)()


def byte_range(data: bytes) -> None:
    for begin, end in bottle.parse_range_header(data.decode("latin-1"), 1000):
        assert 0 <= begin < end <= 1000


def languages(data: bytes) -> None:
    accepted(data.decode("latin-1"))


def json_body(data: bytes) -> None:
    for parse in (
        lambda fields: messages.parse_start(fields, "weblab", 1.8e9),
        lambda fields: lde.parse_start(fields, "lde", 1.8e9),
        messages.parse_multiple,
        messages.is_delete,
    ):
        with suppress(BadInput):
            parse(read_body(data))


def http_request(data: bytes) -> None:
    reader = RequestReader(HEADER, BODY)
    with suppress(Refusal):
        for at in range(0, len(data), 1500):
            if reader.feed(data[at : at + 1500]) is not None:
                return


class Ears:
    """A receiver that hears everything, and is never full."""

    def begin(self, channel: Channel) -> None: ...
    def may_stay(self) -> bool:
        return True

    def full(self) -> bool:
        return False

    def message(self, message: str | bytes) -> None: ...
    def ended(self) -> None: ...


def websocket(data: bytes) -> None:
    """Fails by logging an error, as the reactor outlives everything."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    reactor = Reactor()
    connection: Any = SimpleNamespace(socket=near, reactor=reactor)
    group: Group[Channel] = Group()
    limits = WebSocketLimits()
    channel = Channel(connection, Ears(), group, limits, session_id=None, greeting=b"", early=data)
    group.add(channel)
    with closing(far):
        reactor.adopt(channel)
        for _ in range(3):  # what it says is heard, so that it never waits
            with suppress(BlockingIOError, ConnectionError):
                while far.recv(1 << 16):
                    pass
            channel.wake()
            reactor.turn()
        reactor.abandon()
        reactor.run()
    assert channel.ending is not None


# ---------------------------------------------------------------------- what they are given


def frames() -> bytes:
    protocol = Connection(ConnectionType.CLIENT)
    events = [
        TextMessage("one "),
        TextMessage("two", message_finished=False),
        Ping(b"there?"),
        TextMessage("three \u00e9"),
        BytesMessage(b"\0\xff" * 100),
        CloseConnection(1000, "done"),
    ]
    return b"".join(protocol.send(event) for event in events)


START = {
    "client_initial_data": {"back": "https://weblab.example/?x=1", "level": 3},
    "server_initial_data": {
        "priority.queue.slot.length": "200",
        "priority.queue.slot.start": "2026-09-21 16:13:18.5",
        "priority.queue.slot.start.timezone": "-7200",
        "priority.queue.slot.initialization_in_accounting": True,
        "request.username": "grace",
        "request.locale": "en",
    },
    "session_ids": ["a", "b"],
    "timeout": 3.5,
    "action": "delete",
}
UPLOAD = (
    b'--b\r\nContent-Disposition: form-data; name="a\\"b"; filename="C:\\\\x/../y.bin"\r\n'
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n"
    b"--b\r\nContent-Disposition: form-data; name=c\r\n\r\nworld\r\n--b--\r\n"
)
COOKIES = b'a=1; labnode_demo=h.n.m; q="x\\"\\054y"; path=/; $v=1; e=; p/q=2; x={"a":1}'
POST = (
    b"POST /api/x?y=%41 HTTP/1.1\r\nHost: lab:80\r\nCookie: a=1\r\nAuthorization: Basic eA==\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n"
)
PARSERS: dict[str, tuple[Parser, list[bytes]]] = {
    "cookies": (cookies, [COOKIES]),
    "Basic": (authorization, [basic("weblab:secret").encode(), b"Basic \xc3\xa9"]),
    "query": (query, [b"name=a%20b&x=%C3%B1&x=+&;y", b"session_id=x&session_id=%ff"]),
    "multipart": (multipart, [UPLOAD]),
    "Range": (byte_range, [b"bytes=0-10,20-,-5", b"bytes=999-1000"]),
    "Accept-Language": (languages, [b"de-AT,de;q=0.9, en;q=0.5,*;q=0"]),
    "JSON": (json_body, [json.dumps(START).encode(), b"session_id=x&timeout=3&action=delete"]),
    "HTTP": (http_request, [POST]),
    "WebSocket": (websocket, [frames()]),
}
PIECES = [
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b'"',
    b"\\",
    b";",
    b"=",
    b"%",
    b"{",
    b"]",
    b"-1",
    b"9" * 30,
]


def mutations(chance: random.Random, seeds: list[bytes], count: int) -> Iterator[bytes]:
    """Seeds with bytes changed, put in, cut out, repeated and mixed."""
    for _ in range(count):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice([1, 1, 2, 3, 8])):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(6):
                case 0 if data:
                    data[at % len(data)] ^= 1 << chance.randrange(8)
                case 1 if data:
                    data[at % len(data)] = chance.randrange(256)
                case 2:
                    data[at:at] = chance.choice(PIECES)
                case 3:
                    del data[at : at + chance.choice([1, 2, 10, 100])]
                case 4:
                    data[at:at] = data[at : at + chance.choice([1, 5, 40])] * chance.choice([1, 30])
                case _:
                    other = chance.choice(seeds)
                    data[at:] = other[chance.randrange(len(other)) :]
        yield bytes(data)


@pytest.mark.parametrize("name", PARSERS)
def test_no_mutation_is_an_accident(
    name: str, long_run: bool, caplog: pytest.LogCaptureFixture
) -> None:
    parser, seeds = PARSERS[name]
    caplog.set_level(logging.ERROR)
    for data in mutations(random.Random(SEED), seeds, LONG if long_run else SHORT):
        try:
            parser(data)
        except Exception as error:
            raise AssertionError(f"{name} fails on {data!r}") from error
        assert not caplog.records, data


def test_cookies_with_control_characters_are_left_out() -> None:
    kept = r'a=1; s="\054"; t="\\014"'
    assert well_formed(rf'{kept}; q="x\014"; r="\177"; u="\""') == rf'{kept}; u="\""'


def test_no_malformed_request_is_an_accident_for_the_reader_of_requests(long_run: bool) -> None:
    chance = random.Random(SEED)
    for _ in range(LONG if long_run else SHORT):
        http_request(malformed.request(chance, "a=b.c.d", "Basic eA==").encoded())


# ---------------------------------------------------------------------- no length costs its square


def repeated(before: bytes, piece: bytes, after: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: before + piece * (size // len(piece)) + after


def masked(head: bytes) -> bytes:
    """An empty frame."""
    return head + b"\x80\0\0\0\0"


LENGTHS: list[tuple[str, int, Callable[[int], bytes]]] = [
    *[
        ("cookies", HEADER, repeated(before, piece))
        for before in (b"", b'a="')
        for piece in (b"a=1;", b";", b"=", b'"', b"\\", b'a="\\"', b"\\041", b"a", b" ", b'\\";')
    ],
    *[("Basic", HEADER, repeated(b"Basic ", piece)) for piece in (b"A", b"=", b" ", b"\xff")],
    *[
        ("query", HEADER, repeated(b"", piece))
        for piece in (b"&", b"a=b&", b"%", b"%ff", b"=", b"+")
    ],
    *[
        ("multipart", BODY, repeated(before, piece))
        for before in (b"", b"--b\r\n", b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n")
        for piece in (b"--b\r\n", b"\r\n", b"\r", b"--", b"x", b"a: b\r\n")
    ],
    (
        "multipart",
        HEADER,
        repeated(b'--b\r\nContent-Disposition: form-data; name="', b'\\"', b"\r\n\r\n"),
    ),
    ("multipart", HEADER, repeated(b"--b\r\nContent-Disposition: a", b';a="', b"\r\n\r\n")),
    *[
        ("Range", HEADER, repeated(b"bytes=", piece))
        for piece in (b"0-,", b"-", b",", b"9", b"1-2,")
    ],
    *[
        ("Accept-Language", HEADER, repeated(b"", piece))
        for piece in (b"de,", b",", b";q=0.1", b"a-", b"q=")
    ],
    *[
        ("JSON", BODY, repeated(before, piece, after))
        for before, piece, after in (
            (b"", b"[", b""),
            (b"", b'{"a":', b""),
            (b'{"a": "', b"\\", b'"}'),
            (b'{"a": "', b"\\u0041", b'"}'),
            (b'{"a": ', b"9", b"}"),
            (b'{"a": 0.', b"9", b"}"),
            (b'{"a": [', b"1,", b"1]}"),
            (b'{"a": [', b"[],", b"1]}"),
            (b"", b" ", b""),
            (b"a=", b"%41", b""),
            (b"", b"a=b&", b""),
            (b'{"server_initial_data": "{', b"\\\\", b'"}'),
        )
    ],
    ("HTTP", HEADER, repeated(b"GET /", b"%", b" HTTP/1.1\r\nHost: a\r\n\r\n")),
    ("HTTP", HEADER, repeated(b"GET / HTTP/1.1\r\nHost: a\r\nX:", b" ", b"x\r\n\r\n")),
    ("HTTP", HEADER, repeated(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ", b"a=1;", b"\r\n\r\n")),
    ("HTTP", HEADER, repeated(b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n", b"\r\n")),
    ("HTTP", HEADER, repeated(b"GET / HTTP/1.1\r\nHost: ", b"a.", b"\r\n\r\n")),
    *[
        ("WebSocket", FRAMES, repeated(b"", piece))
        for piece in (masked(b"\x89"), masked(b"\x01") + masked(b"\x80"), b"\x01", b"\xff")
    ],
    ("WebSocket", FRAMES, repeated(masked(b"\x01"), masked(b"\0"))),
]


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Nobody looks for garbage: that would walk over all that other tests have left."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def cost(parser: Parser, data: bytes) -> float:
    """Seconds of this thread's own time, whatever else the machine does, and this process keeps."""
    began = time.thread_time()
    parser(data)
    return time.thread_time() - began


@pytest.mark.usefixtures("no_garbage")
@pytest.mark.parametrize("name", PARSERS)
def test_no_length_costs_its_square(name: str, long_run: bool) -> None:
    parser = PARSERS[name][0]
    for of, most, made in LENGTHS:
        if of != name:
            continue
        longest = most if long_run else min(most, FRAMES)
        short, long = made(longest // TIMES_LONGER), made(longest)
        parser(short)
        for _attempt in range(3):
            # The clock of a thread has steps, and the shortest of some times is the parser's own.
            quick = max(min(cost(parser, short) for _ in range(3)), 0.0005)
            slow = min(cost(parser, long) for _ in range(2))
            if slow <= quick * TIMES_SLOWER:
                break
        assert slow <= quick * TIMES_SLOWER, (long[:60], quick, slow)


@pytest.mark.usefixtures("no_garbage")
def test_16_kb_of_cookies_cost_a_view_of_a_lab_no_more_than_any_other_header() -> None:
    """That of the standard library takes seconds for the first of these (CVE-2024-7592)."""
    head = b"GET / HTTP/1.1\r\nHost: lab\r\n%s: %s\r\n\r\n"

    def read(data: bytes) -> None:
        environ = RequestReader(HEADER + 200, BODY).feed(data)
        assert environ is not None
        assert bottle.BaseRequest(environ).get_cookie("own", "none") in ("none", "1")

    plain = min(cost(read, head % (b"X", b"x" * HEADER)) for _ in range(3))
    for piece in (b'a="\\";', b"a=1;", b'a="\\\\";', b"\\", b'"'):
        for before in (b"own=1; ", b'own=1; a="'):
            data = head % (b"Cookie", before + piece * ((HEADER - 20) // len(piece)))
            spent = min(cost(read, data) for _ in range(3))
            assert spent < max(plain, 0.001) * 60, (data[:80], plain, spent)
