"""The web server with real sockets: what it answers, what it refuses, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import resource
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import bottle
import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labnode.errors import ConfigError
from labnode.http import Connection, WebServer
from labnode.http.connection import ClientGone, ConnectionState, Limits, Listener
from labnode.http.reactor import Participant, Reactor
from labnode.http.request import RequestReader
from labnode.threads import Pool
from tests.kit.http_client import Answer, Client
from tests.kit.waiting import eventually

PATIENCE = 20.0  # seconds after which a wait has failed; nothing here takes a tenth of it
FOR_ONE = Limits(
    read_deadline=PATIENCE,
    keep_alive=PATIENCE,
    max_head=1000,
    max_body=1000,
    memory=10_000,
    connections=1,
    per_address=1,
)

Start = Callable[..., WebServer]


class Gate:
    """An application whose every request waits until the test lets it go."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.open = threading.Event()
        self.lock = threading.Lock()
        self.now = self.most = self.total = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/quick":
            return echo(environ, start_response)
        with self.lock:
            self.total += 1
            self.now += 1
            self.most = max(self.most, self.now)
        self.inside.release()
        assert self.open.wait(PATIENCE)
        with self.lock:
            self.now -= 1
        return echo(environ, start_response)

    def wait(self, requests: int) -> None:
        """Until so many more requests are inside."""
        for _ in range(requests):
            assert self.inside.acquire(timeout=PATIENCE)


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    told = {key: value for key, value in environ.items() if isinstance(value, str)}
    told["body"] = environ["wsgi.input"].read().decode("latin-1")
    told["thread"] = threading.current_thread().name
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


def web_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "http" or t.name.startswith("http-")]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a Path would not say it shorter


def serve_nobody(_connection: Connection) -> None:
    """There is no thread that could."""


@contextmanager
def stepped(sock: socket.socket, limits: Limits = FOR_ONE) -> Iterator[tuple[Reactor, Listener]]:
    """A reactor without a thread: the test takes its turns."""
    reactor = Reactor()
    try:
        yield (
            reactor,
            Listener(sock, limits, reactor, Pool("http", serve_nobody, most=0, waiting=9)),
        )
    finally:
        reactor.abandon()
        reactor.run()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers that are stopped at the end, with all their threads."""
    servers = []

    def start_one(app: Any = echo, **options: Any) -> WebServer:
        server = WebServer(app, host="127.0.0.1", **{"port": 0, "threads": 4, **options})
        server.start()
        servers.append(server)
        return server

    yield start_one
    for server in servers:
        server.stop()
    assert web_threads() == []


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Open clients that are closed at the end."""
    clients = []

    def connect_one(server: WebServer, source: str = "127.0.0.1") -> Client:
        clients.append(Client(server, source))
        return clients[-1]

    yield connect_one
    for client in clients:
        client.close()


Connect = Callable[..., Client]


# What a good client gets


def test_a_get_reaches_the_application_with_its_environ(start: Start, connect: Connect) -> None:
    server = start()
    answer = connect(server).get("/a%20b?x=%20y", "X-Extra: 1", "Cookie: a=1", "Cookie: b=2")
    told = answer.json
    assert answer.status == 200
    assert (told["REQUEST_METHOD"], told["PATH_INFO"], told["QUERY_STRING"]) == (
        "GET",
        "/a b",
        "x=%20y",
    )
    assert told["REQUEST_URI"] == "/a%20b?x=%20y"
    assert (told["HTTP_HOST"], told["HTTP_X_EXTRA"]) == ("lab", "1")
    assert told["HTTP_COOKIE"] == "a=1; b=2"
    assert (told["REMOTE_ADDR"], told["SERVER_PROTOCOL"]) == ("127.0.0.1", "HTTP/1.1")
    assert told["SERVER_PORT"] == str(server.address[1])
    assert told["thread"] in {"http-1", "http-2", "http-3", "http-4"}


def test_a_header_may_be_utf_8_and_have_tabs(start: Start, connect: Connect) -> None:
    told = connect(start()).get("/", "X-Name: caf\xc3\xa9\tau lait").json
    assert told["HTTP_X_NAME"] == "caf\xc3\xa9\tau lait"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ('Cookie: a="b\\"c"; d=e=f', 'a="b\\"c"; d=e=f'),
        ('Cookie: a=1; x={"a":1}; path=/; $v=1; user@x=1; p/q=2; caf\xe9=3; c; b=2', "a=1; b=2"),
        ("Cookie: a=\x1b[31m; b=2", "b=2"),
        ("Cookie: a=" + "x" * 5000 + "; b=2", "b=2"),
        ("Cookie: ;;=;", None),
    ],
)
def test_of_cookies_the_application_gets_those_that_are_some(
    start: Start, connect: Connect, header: str, kept: str | None
) -> None:
    assert connect(start()).get("/", header).json.get("HTTP_COOKIE") == kept


def test_what_an_application_writes_to_the_error_stream_is_one_short_line(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    app = bottle.Bottle()
    app.default_error_handler = lambda _error: "sorry"  # which logs nothing

    @app.hook("before_request")
    def fail() -> None:
        raise ValueError("broken\n" + "x" * 1000)

    assert connect(start(app)).get().status == 500
    (record,) = caplog.records
    assert "ValueError('broken" in record.getMessage()
    assert len(record.getMessage()) < 300
    assert "\n" not in record.getMessage()
    assert capsys.readouterr().err == ""


def test_the_environment_of_the_process_stays_out_of_the_environ(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABNODE_WEBLAB_PASSWORD", "secret")
    assert "LABNODE_WEBLAB_PASSWORD" not in connect(start()).get().json


def test_a_post_brings_its_body(start: Start, connect: Connect) -> None:
    head = b"POST / HTTP/1.1\r\nHost: lab\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\n"
    told = connect(start()).send(head + b"hello").answer().json
    assert (told["body"], told["CONTENT_LENGTH"], told["CONTENT_TYPE"]) == ("hello", "5", "text/x")
    assert "HTTP_CONTENT_LENGTH" not in told


def test_a_chunked_body_arrives_whole_with_its_length(start: Start, connect: Connect) -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
    )
    told = connect(start()).send(request).answer().json
    assert (told["body"], told["CONTENT_LENGTH"]) == ("abc0123456789", "13")
    assert "HTTP_TRANSFER_ENCODING" not in told


def test_bottle_reads_a_chunked_body(start: Start, connect: Connect) -> None:
    app = bottle.Bottle()
    app.post("/", callback=lambda: {"got": bottle.request.json})
    request = (
        b"POST / HTTP/1.1\r\nHost: lab\r\nContent-Type: application/json\r\n"
        b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n'
    )
    assert connect(start(app)).send(request).answer().json == {"got": {"a": 1}}


def test_a_request_in_single_bytes_is_the_same_request(start: Start, connect: Connect) -> None:
    request = b"POST /x HTTP/1.1\r\nHost: lab\r\nContent-Length: 3\r\n\r\nabc"
    pieces = [request[i : i + 1] for i in range(len(request))]
    told = connect(start()).send(*pieces).answer().json
    assert (told["PATH_INFO"], told["body"]) == ("/x", "abc")


@given(st.lists(st.integers(1, 40)))
def test_requests_do_not_depend_on_how_their_bytes_are_split(sizes: list[int]) -> None:
    stream = (
        b"POST /one?q HTTP/1.1\r\nHost: lab\r\nContent-Length: 7\r\n\r\n\r\nbody\n"
        b"POST /two HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4;a=b\r\n\r\n\r\n\r\n3\r\nxyz\r\n0\r\nA: b\r\nC: d\r\n\r\n"
        b"GET /three HTTP/1.0\r\n\r\n"
    )
    reader = RequestReader(1000, 1000)
    seen = []
    for size in [*sizes, len(stream)]:
        piece, stream = stream[:size], stream[size:]
        request = reader.feed(piece)
        while request is not None:
            told = [request[key] for key in ("PATH_INFO", "SERVER_PROTOCOL", "CONTENT_LENGTH")]
            seen.append((*told, request["wsgi.input"].read()))
            if len(seen) == 3:
                break
            reader.http.send(h11.Response(status_code=204, headers=[]))
            reader.http.send(h11.EndOfMessage())
            request = reader.feed(b"")
    assert seen == [
        ("/one", "HTTP/1.1", "7", b"\r\nbody\n"),
        ("/two", "HTTP/1.1", "7", b"\r\n\r\nxyz"),
        ("/three", "HTTP/1.0", "0", b""),
    ]
    assert reader.http.trailing_data == (b"", False)
    assert reader.size == 0


def test_one_connection_serves_many_requests(start: Start, connect: Connect) -> None:
    client = connect(start())
    for number in range(50):
        answer = client.get(f"/{number}")
        assert answer.json["PATH_INFO"] == f"/{number}"
        assert "connection" not in answer.headers


def test_requests_sent_together_are_answered_in_order(start: Start, connect: Connect) -> None:
    client = connect(start())
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: lab\r\n\r\n" % n for n in range(5)))
    assert [client.answer().json["PATH_INFO"] for _ in range(5)] == ["/0", "/1", "/2", "/3", "/4"]


def test_connection_close_ends_it_after_the_answer(start: Start, connect: Connect) -> None:
    client = connect(start())
    answer = client.get("/", "Connection: Close")
    assert answer.headers["connection"] == "close"
    assert client.ended()


# h11 keeps no HTTP/1.0 connection open; the answer says so, which is all that the client needs.
@pytest.mark.parametrize("header", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_ends_after_the_answer(start: Start, connect: Connect, header: bytes) -> None:
    client = connect(start()).send(b"GET / HTTP/1.0\r\n" + header + b"\r\n")
    answer = client.answer()
    assert answer.json["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert answer.headers["connection"] == "close"
    assert client.ended()


def test_a_client_that_closes_its_side_still_gets_its_answer(
    start: Start, connect: Connect
) -> None:
    client = connect(start()).send(b"GET /x HTTP/1.1\r\nHost: lab\r\n\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.answer().json["PATH_INFO"] == "/x"
    assert client.ended()


def test_expect_100_continue_is_answered_before_the_body(start: Start, connect: Connect) -> None:
    head = b"POST / HTTP/1.1\r\nHost: lab\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    client = connect(start()).send(head)
    assert client.answer().status == 100
    assert client.send(b"abc").answer().json["body"] == "abc"
    client.send(head + b"abc", b"GET /next HTTP", b"/1.1\r\nHost: lab\r\n\r\n")
    assert client.answer().json["body"] == "abc"  # nobody waited for a 100
    assert client.answer().json["PATH_INFO"] == "/next"


def test_head_has_the_headers_of_get_and_no_body(start: Start, connect: Connect) -> None:
    client = connect(start())
    client.send(b"HEAD /x HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert client.answer(bodyless=True).status == 200
    assert client.get("/next").json["PATH_INFO"] == "/next"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("//a///b", "//a///b"),
        ("/a%2fb%2Fc", "/a%2fb%2Fc"),
        ("/%C3%B1", "/\xc3\xb1"),
        ("/%F0%9F%94%A5", "/\xf0\x9f\x94\xa5"),
        ("/100%", "/100%"),
        ("/../etc", "/../etc"),
        ("/a;b=c:d@e", "/a;b=c:d@e"),
    ],
)
def test_the_application_decides_about_odd_paths(
    start: Start, connect: Connect, target: str, path: str
) -> None:
    assert connect(start()).get(target).json["PATH_INFO"] == path


def test_an_absolute_address_is_understood_and_its_host_wins(
    start: Start, connect: Connect
) -> None:
    client = connect(start())
    told = client.get("http://other.example:81/x?q=1").json
    assert (told["PATH_INFO"], told["QUERY_STRING"]) == ("/x", "q=1")
    assert told["HTTP_HOST"] == "other.example:81"
    assert client.get("http://other.example").json["PATH_INFO"] == "/"


def test_a_header_with_an_underscore_cannot_pose_as_another(start: Start, connect: Connect) -> None:
    told = connect(start()).get("/", "X-Forwarded-For: a", "X_Forwarded_For: b").json
    assert told["HTTP_X_FORWARDED_FOR"] == "a"


@pytest.mark.parametrize("headers", [{}, {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}])
def test_an_answer_has_one_date(start: Start, connect: Connect, headers: dict[str, str]) -> None:
    client = connect(start(streaming(**headers))).send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.file.read().count(b"Date: ") == 1


def test_no_banner_says_what_serves(start: Start, connect: Connect) -> None:
    assert "server" not in connect(start()).get().headers


class Chat(Participant):
    """Says what it hears, in capitals."""

    def __init__(self, connection: Connection, heard: bytes = b"") -> None:
        super().__init__(connection.socket, connection.reactor)
        self.heard = heard
        self.closed = threading.Event()

    def ready(self, events: int) -> None:
        data = self.socket.recv(100)
        self.over = not data
        self.socket.send(data.upper())

    def woken(self) -> None:
        self.socket.send(self.heard.upper())

    def close(self) -> None:
        super().close()
        self.closed.set()


UPGRADE = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"


def test_a_view_may_go_on_with_another_protocol_until_the_server_stops(
    start: Start, connect: Connect
) -> None:
    chats = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        connection = environ["labnode.connection"]
        headers = [("Connection", "Upgrade"), ("Upgrade", "chat")]
        answer = h11.InformationalResponse(status_code=101, headers=headers)
        connection.send(connection.reader.http.send(answer))
        assert connection.reader.http.trailing_data == (b"early", False)
        chats.append(Chat(connection, b"early"))
        connection.become(chats[0])
        return [b"nothing of this is sent"]

    server = start(app)
    client = connect(server)
    client.send(UPGRADE + b"early")
    assert client.answer().status == 101
    assert client.file.read(5) == b"EARLY"
    client.send(b"late")
    assert client.file.read(4) == b"LATE"
    server.stop()
    assert client.ended()
    assert chats[0].closed.is_set()


def test_an_answer_may_be_gone_on_with_after_its_head(start: Start, connect: Connect) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        connection = environ["labnode.connection"]
        connection.become(Chat(connection))
        start_response("200 OK", [("Content-Length", "9")])
        return [b"first"]

    client = connect(start(app)).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    head = [client.file.readline() for _ in range(5)]
    assert b"Connection: close\r\n" in head
    assert client.file.read(5) == b"first"
    client.send(b"more")
    assert client.file.read(4) == b"MORE"


def test_what_a_view_that_fails_would_have_gone_on_with_is_closed(
    start: Start, connect: Connect
) -> None:
    chats = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        connection = environ["labnode.connection"]
        chats.append(Chat(connection))
        connection.become(chats[-1])
        if environ["PATH_INFO"] == "/late":
            start_response("200 OK", [])
            yield b"first"
        raise RuntimeError("the view fails")

    server = start(app)
    for path in ("/", "/late"):
        client = connect(server).send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        client.file.read()
        client.close()
        assert chats[-1].closed.wait(PATIENCE)


# What the application may answer


def streaming(*pieces: bytes, status: str = "200 OK", **headers: str) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, [(k.replace("_", "-"), v) for k, v in headers.items()])
        yield from pieces

    return app


def test_an_answer_of_unknown_length_is_chunked(start: Start, connect: Connect) -> None:
    client = connect(start(streaming(b"ab", b"", b"cde")))
    for _ in range(2):
        answer = client.get()
        assert (answer.headers["transfer-encoding"], answer.body) == ("chunked", b"abcde")


def test_an_answer_of_unknown_length_ends_the_connection_of_http_1_0(
    start: Start, connect: Connect
) -> None:
    client = connect(start(streaming(b"ab", b"cde")))
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    answer = client.answer()
    assert (answer.headers["connection"], answer.body) == ("close", b"abcde")


def test_the_declared_length_of_a_stream_is_kept(start: Start, connect: Connect) -> None:
    client = connect(start(streaming(b"ab", b"cde", Content_Length="5")))
    assert [client.get().body for _ in range(2)] == [b"abcde", b"abcde"]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_body_has_no_length(start: Start, connect: Connect, status: str) -> None:
    client = connect(start(streaming(status=status)))
    answers = [client.get() for _ in range(2)]
    assert all("content-length" not in answer.headers for answer in answers)


@pytest.mark.parametrize(
    "app",
    [
        streaming(b"abc", Content_Length="2"),
        streaming(b"abc", status="200 OK\r\nX: y"),
        streaming(b"abc", X_Note="a\r\nSet-Cookie: b"),
        streaming(b"abc", Transfer_Encoding="gzip"),
        streaming(b"abc", X_Note="\u20ac"),
        lambda environ, start_response: [b"no start"],
        lambda environ, start_response: [b"" for _ in "ab" if start_response("200 OK", [])],
        lambda environ, start_response: None,
    ],
)
def test_a_wrong_answer_of_the_application_becomes_500(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture, app: Any
) -> None:
    server = start(app)
    assert connect(server).get().status == 500
    assert len(caplog.records) == 1


def test_an_application_that_raises_gives_500_once_logged_and_the_server_lives(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/secret-token":
            raise {"GET": ValueError("broken"), "POST": SystemExit(3)}[environ["REQUEST_METHOD"]]
        return echo(environ, start_response)

    server = start(app, threads=1)
    for _ in range(3):
        answer = connect(server).get("/secret-token")
        assert answer.status == 500
        assert answer.json["error"] is True
        assert "broken" not in answer.json["message"]
    assert connect(server).send(b"POST /secret-token HTTP/1.0\r\n\r\n").answer().status == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 4
    assert all(record.exc_info for record in caplog.records)
    assert "secret-token" not in "".join(record.getMessage() for record in caplog.records)
    assert connect(server).get().status == 200


def test_the_answer_to_head_has_no_body_even_when_the_application_fails(
    start: Start, connect: Connect
) -> None:
    client = connect(start(streaming(status="0"))).send(b"HEAD / HTTP/1.1\r\nHost: lab\r\n\r\n")
    answer = client.file.read()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("first", "status"), [(b"", 503), (b"first", 200)])
def test_an_application_may_change_its_answer_until_the_first_byte(
    start: Start, connect: Connect, first: bytes, status: int
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield first
        try:
            raise ValueError("broken")
        except ValueError:
            start_response("503 Service Unavailable", [], sys.exc_info())
        yield b"second"

    client = connect(start(app)).send(b"GET / HTTP/1.0\r\n\r\n")
    answer = client.answer()
    assert (answer.status, answer.body) == (status, first or b"second")


def test_what_the_application_returns_is_closed(start: Start, connect: Connect) -> None:
    closed = threading.Event()

    class Pieces(list[bytes]):
        def close(self) -> None:
            closed.set()

    def app(environ: dict[str, Any], start_response: Any) -> Pieces:
        start_response("200 OK", [])
        return Pieces([b"x"])

    assert connect(start(app)).get().body == b"x"
    assert closed.wait(PATIENCE)


def test_an_answer_that_fails_half_way_is_visibly_cut_off(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"first"
        raise ValueError("broken")

    client = connect(start(app)).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert client.file.read().endswith(b"\r\n\r\n5\r\nfirst\r\n")  # and no last chunk
    assert len(caplog.records) == 1


def test_an_answer_shorter_than_its_length_is_visibly_cut_off(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(start(streaming(b"abc", Content_Length="5")))
    assert client.get().body == b"abc"
    assert client.ended()
    assert len(caplog.records) == 1


# What is refused

HEAD = b"POST / HTTP/1.1\r\nHost: lab\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        # not HTTP
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
        (b"\0\0\0\0", 400),
        (b"hello\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: lab\n\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: lab\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET / HTTP/1.\xb2\r\nHost: lab\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        # addresses
        (b"GET x HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"CONNECT lab:80 HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET ftp://lab/ HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET http://user@lab/ HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET http:///x HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        # headers
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b'GET / HTTP/1.1\r\nHost: a"<b>\r\n\r\n', 400),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        (HEAD + b"X : 1\r\n\r\n", 400),
        (HEAD + b"X\r\n\r\n", 400),
        (HEAD + b" folded\r\n\r\n", 400),
        (HEAD + b"X: a\n folded\r\n\r\n", 400),
        (HEAD + b"X: a\nY: b\r\n folded\r\n\r\n", 400),
        (HEAD + b"X: a\r\n\n", 400),
        (HEAD + b": 1\r\n\r\n", 400),
        (HEAD + b"X: a\0b\r\n\r\n", 400),
        (HEAD + b"X: a\rb\r\n\r\n", 400),
        # text that is none
        (b"GET /%1b[31m HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET /a%0d%0aERROR HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET /%7f HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET /%C2%85 HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET /%c3 HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (b"GET /\xc3\xb1 HTTP/1.1\r\nHost: lab\r\n\r\n", 400),
        (HEAD + b"X: \xff\r\n\r\n", 400),
        (HEAD + b"Authorization: Basic \x1b[31m\r\n\r\n", 400),
        (HEAD + b"X: a\x7fb\r\n\r\n", 400),
        (HEAD + b"X: \xc2\x85\r\n\r\n", 400),
        (HEAD + b"X: a\nContent-Length: 1\r\n\r\n", 400),
        # lengths
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: +1\r\n\r\n", 400),
        (HEAD + b"Content-Length: ten\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1_0\r\n\r\n", 400),
        (HEAD + b"Content-Length: 0x1\r\n\r\n", 400),
        (HEAD + b"Content-Length: \xb2\r\n\r\n", 400),
        (HEAD + b"Content-Length:\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1, 1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Content-Length: " + b"9" * 1000 + b"\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1001\r\n\r\n", 413),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n", 413),
        # smuggling
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        # chunks
        (CHUNKED + b"x\r\n", 400),
        (CHUNKED + b"-1\r\n", 400),
        (CHUNKED + b"0x1\r\n", 400),
        (CHUNKED + b"\r\n", 400),
        (CHUNKED + b"1\na\r\n0\r\n\r\n", 400),
        (CHUNKED + b"1\r\nabc", 400),
        (CHUNKED + b"f" * 21 + b"\r\n", 400),
        (CHUNKED + b"3e9\r\n" + b"x" * 1001, 413),
        (CHUNKED + b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n" + b"x" * 501, 413),
        (CHUNKED + b"1\r\nx\r\n" * 500, 413),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 500, 431),
        (CHUNKED + b"1;" + b"x" * 2000, 431),
        # too much
        (HEAD + b"X: " + b"x" * 2000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 2000, 431),
        (b"x" * 2001, 431),
        (HEAD + b"X: 1\r\n" * 101 + b"\r\n", 431),
    ],
)
def test_a_bad_request_is_refused_at_once_in_json(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture, request_: bytes, status: int
) -> None:
    def never(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise AssertionError("the application was called")

    server = start(never, max_head=2000, max_body=1000)
    client = connect(server).send(request_)
    answer = client.answer()
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    assert answer.json["error"] is True
    assert answer.json["message"].endswith(".")
    assert "bytearray" not in answer.json["message"]  # what h11 says, without what came
    assert client.ended()
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_refused_head_is_told_the_limit(start: Start, connect: Connect, end: bytes) -> None:
    request = HEAD + b"X: " + b"x" * 2000 + end
    answer = connect(start(max_head=2000)).send(request).answer()
    assert answer.json["message"] == "The head of the request has more than 2000 bytes."


def test_a_body_up_to_the_limit_is_accepted(start: Start, connect: Connect) -> None:
    server = start(max_body=1000)
    body = b"x" * 1000
    for request in (
        HEAD + b"Content-Length: 1000\r\n\r\n" + body,
        CHUNKED + b"3e8\r\n" + body + b"\r\n0\r\n\r\n",
    ):
        assert connect(server).send(request).answer().json["CONTENT_LENGTH"] == "1000"


def test_a_client_that_is_still_sending_can_read_why_it_was_refused(
    start: Start, connect: Connect
) -> None:
    client = connect(start(max_body=1000))
    client.send(HEAD + b"Content-Length: 3000000\r\n\r\n", b"x" * 3_000_000)
    assert client.answer().status == 413


def test_what_follows_a_refused_request_is_not_another_request(
    start: Start, connect: Connect
) -> None:
    gate = Gate()
    client = connect(start(gate))
    client.send(HEAD + b"Content-Length: 1x\r\n\r\nGET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert client.answer().status == 400
    assert client.ended()
    assert gate.total == 0


# Clients that are slow, many or gone


def drip(client: Client, piece: bytes) -> Answer:
    """Send `piece` again and again, until the server has had enough."""
    end = time.monotonic() + PATIENCE
    while not client.readable(0.02):
        assert time.monotonic() < end
        client.send(piece)
    return client.answer()


@pytest.mark.parametrize("head", [b"GET /", HEAD + b"X: ", HEAD + b"Content-Length: 9999\r\n\r\n"])
def test_a_client_that_drips_gets_408_when_the_time_for_the_request_is_over(
    start: Start, connect: Connect, head: bytes
) -> None:
    answer = drip(connect(start(read_deadline=0.3)).send(head), b"x")
    assert answer.status == 408
    assert answer.json["error"] is True


def test_a_client_that_drips_chunks_gets_408(start: Start, connect: Connect) -> None:
    assert drip(connect(start(read_deadline=0.3)).send(CHUNKED), b"1\r\nx\r\n").status == 408


def test_a_head_without_its_body_gets_408_also_as_a_second_request(
    start: Start, connect: Connect
) -> None:
    client = connect(start(read_deadline=0.3))
    assert client.get().status == 200
    client.send(HEAD + b"Content-Length: 5\r\n\r\n")
    assert client.answer().status == 408


def test_the_beginning_of_a_request_that_came_with_the_last_one_gets_408(
    start: Start, connect: Connect
) -> None:
    client = connect(start(read_deadline=0.3))
    client.send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\nGET /next HTTP/1.1\r\n")
    assert [client.answer().status for _ in range(2)] == [200, 408]


def test_the_next_request_has_its_own_time(start: Start, connect: Connect) -> None:
    client = connect(start(read_deadline=0.3))
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        assert client.get().status == 200
        assert not client.readable(0.05)


def test_a_client_that_says_nothing_is_closed(start: Start, connect: Connect) -> None:
    assert connect(start(read_deadline=0.2)).ended()


def test_a_kept_connection_is_closed_when_it_is_not_used(start: Start, connect: Connect) -> None:
    client = connect(start(keep_alive=0.2))
    assert client.get().status == 200
    assert client.ended()


def test_dripping_clients_do_not_take_a_thread(start: Start, connect: Connect) -> None:
    server = start(threads=1)
    dripping = [connect(server).send(HEAD) for _ in range(20)]
    assert connect(server).get("/quick").status == 200
    assert not any(client.readable(0) for client in dripping)


def test_all_threads_work_at_once_and_the_rest_waits_its_turn(
    start: Start, connect: Connect
) -> None:
    gate = Gate()
    server = start(gate, threads=4)
    slow = [connect(server).send(b"GET /slow HTTP/1.1\r\nHost: lab\r\n\r\n") for _ in range(3)]
    gate.wait(3)
    assert connect(server).get("/quick").status == 200
    slow += [connect(server).send(b"GET /slow HTTP/1.1\r\nHost: lab\r\n\r\n") for _ in range(5)]
    gate.wait(1)
    gate.open.set()
    assert [client.answer().status for client in slow] == [200] * 8
    assert gate.most == 4


def test_at_the_limit_the_connection_that_was_idle_for_longest_makes_room(
    start: Start, connect: Connect
) -> None:
    server = start(connections=3, threads=1)  # one thread: they become idle in this order
    first, second, third = (connect(server) for _ in range(3))
    for client in (second, first, third):
        assert client.get().status == 200
    newcomer = connect(server)
    assert newcomer.get().status == 200
    assert second.ended()
    assert [client.get().status for client in (first, third, newcomer)] == [200] * 3


def test_one_address_makes_room_for_itself_only(start: Start, connect: Connect) -> None:
    server = start(connections=10, per_address=2, threads=1)
    other = connect(server, "127.0.0.2")
    mine = [connect(server) for _ in range(2)]
    for client in (other, *mine):
        assert client.get().status == 200
    assert connect(server).get().status == 200
    assert mine[0].ended()
    assert [client.get().status for client in (other, mine[1])] == [200, 200]


@pytest.mark.parametrize("limits", [{"connections": 2}, {"per_address": 2}])
def test_at_the_limit_with_nobody_idle_a_newcomer_gets_503(
    start: Start, connect: Connect, limits: dict[str, int]
) -> None:
    gate = Gate()
    server = start(gate, threads=1, **limits)
    busy = connect(server).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    gate.wait(1)
    half = connect(server)
    half.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert half.answer().status == 100  # so it counts as reading now
    refused = connect(server)
    answer = refused.get()
    assert answer.status == 503
    assert answer.json["error"] is True
    assert refused.ended()
    gate.open.set()
    assert busy.answer().status == 200
    assert half.send(b"ab").answer().status == 200
    assert connect(server).get().status == 200


def test_the_limit_of_one_address_leaves_the_others_alone(start: Start, connect: Connect) -> None:
    gate = Gate()
    server = start(gate, per_address=1)
    connect(server).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    gate.wait(1)
    assert connect(server).get("/quick").status == 503
    assert connect(server, "127.0.0.2").get("/quick").status == 200
    gate.open.set()


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [
        (("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"), True),
        (("2001:db8:0:1::1", "2001:db8:0:2::1"), False),
        (("fe80::1%eth0", "fe80::2%eth0"), True),
        (("::ffff:192.0.2.1", "192.0.2.1"), True),
        (("::ffff:192.0.2.1", "192.0.2.2"), False),
    ],
)
def test_the_addresses_of_one_ipv6_network_count_as_one(
    addresses: tuple[str, str], refused: bool
) -> None:
    limits = replace(FOR_ONE, connections=10)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        stepped(server, limits) as (reactor, listener),
        ExitStack() as clients,
    ):
        for address in addresses:
            near, far = socket.socketpair()
            clients.enter_context(far)
            connection = Connection(near, address, 1, listener)
            listener.connections.add(connection)
            reactor.adopt(connection)
            far.send(b"G")  # so it is not idle
            reactor.turn()
        far.setblocking(False)
        assert (refused and far.recv(12) == b"HTTP/1.1 503") or not refused
        assert len(listener.connections.members) == 2
        assert [c.state.name for c in listener.connections.members].count("READING") == 2 - refused


@pytest.mark.parametrize("proxy", ["127.0.0.1", "127.0.0.0/8"])
def test_a_trusted_proxy_may_have_more_connections(
    start: Start, connect: Connect, proxy: str
) -> None:
    gate = Gate()
    server = start(gate, per_address=1, threads=4, trusted_proxies=[proxy])
    clients = [connect(server).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n") for _ in range(4)]
    gate.wait(4)
    gate.open.set()
    assert [client.answer().status for client in clients] == [200] * 4


def test_a_connection_that_is_ending_takes_nobodys_place(start: Start, connect: Connect) -> None:
    server = start(connections=1)
    refused = connect(server).send(b"nonsense\r\n\r\n")
    assert refused.answer().status == 400
    assert connect(server).get().status == 200


def test_who_has_just_sent_a_request_is_not_closed_as_idle_for_a_newcomer() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        stepped(server) as (reactor, listener),
    ):
        address = server.getsockname()
        with closing(socket.create_connection(address)) as first:
            reactor.turn()
            first.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with closing(socket.create_connection(address)) as newcomer:
                reactor.turn()
                assert newcomer.recv(12) == b"HTTP/1.1 503"
            (request,) = listener.requests.take_waiting()
            request.give_back()


def test_what_was_cut_off_while_it_was_served_is_closed_when_it_is_given_back() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        stepped(server) as (reactor, listener),
        closing(socket.create_connection(server.getsockname())) as client,
    ):
        reactor.turn()
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        reactor.turn()
        (request,) = listener.requests.take_waiting()
        reactor.discard(request)
        assert request.socket.fileno() >= 0  # whoever serves it may still use it
        request.give_back()
        assert request.socket.fileno() == -1
        assert listener.connections.members == frozenset()


def test_what_is_given_back_while_the_reactor_ends_is_closed_too() -> None:
    limits = replace(FOR_ONE, connections=2, per_address=2)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        ExitStack() as clients,
        stepped(server, limits) as (reactor, listener),
    ):
        served = []
        for _ in range(2):
            client = socket.create_connection(server.getsockname())
            clients.enter_context(closing(client)).sendall(b"GET / HTTP/1.0\r\n\r\n")
            reactor.turn()
            reactor.turn()
            (connection,) = listener.requests.take_waiting()
            served.append(connection)
        first, second = served

        class Closing:
            """A socket during whose close another thread gives its connection back."""

            def __init__(self, sock: socket.socket) -> None:
                self.shutdown, self.sock = sock.shutdown, sock

            def close(self) -> None:
                self.sock.close()
                other = threading.Thread(target=second.give_back)
                other.start()
                other.join(PATIENCE)

        first.socket = Closing(first.socket)  # type: ignore[assignment]
        first.give_back()
    assert second.socket.fileno() == -1


def test_a_flood_of_refused_connections_ends_and_the_server_lives(
    start: Start, connect: Connect
) -> None:
    gate = Gate()
    server = start(gate, connections=1)
    busy = connect(server).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    gate.wait(1)
    before = open_descriptors()
    flood = [connect(server) for _ in range(60)]
    assert all(client.file.readline().startswith(b"HTTP/1.1 503") for client in flood)
    assert open_descriptors() - before < 60 + 20  # the server keeps only some of them for a while
    gate.open.set()
    assert busy.answer().status == 200
    assert busy.get().status == 200


def test_large_requests_share_a_limit_of_memory(start: Start, connect: Connect) -> None:
    server = start(max_body=100_000)
    observer = connect(server)
    clients = []
    for _ in range(20):
        clients.append(
            connect(server).send(HEAD + b"Content-Length: 100000\r\n\r\n", b"x" * 99_999)
        )
        for _ in range(8):  # each takes the loop two turns, and a turn reads 16 KiB of the body
            assert observer.get().status == 200
    assert [client.readable(0) for client in clients] == [False] * 16 + [True] * 4
    assert [client.answer().status for client in clients[16:]] == [503] * 4
    first = clients.pop(0)
    assert first.send(b"x").answer().status == 200
    assert first.get().status == 200  # so the memory of its last request is free
    clients.append(connect(server).send(HEAD + b"Content-Length: 100000\r\n\r\n", b"x" * 99_999))
    served = [*clients[:15], clients[-1]]
    assert [client.send(b"x").answer().status for client in served] == [200] * 16


def test_a_client_that_vanishes_is_no_error(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    server = start(gate, threads=1)
    for beginning in (b"", b"GET", HEAD + b"Content-Length: 5\r\n\r\nab", CHUNKED + b"5\r\na"):
        connect(server).send(beginning).reset()
        connect(server).send(beginning).close()
    waiting = connect(server).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    gate.wait(1)
    waiting.reset()
    gate.open.set()
    assert connect(server).get().status == 200
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_stream_whose_client_vanishes_is_closed(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    closed = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 10_000
        finally:
            closed.set()

    client = connect(start(app)).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
    client.reset()
    assert closed.wait(PATIENCE)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_connection_on_which_sending_failed_takes_no_other_request() -> None:
    near, far = socket.socketpair()
    with (
        near,
        far,
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        stepped(server) as (_, listener),
    ):
        connection = Connection(near, "127.0.0.1", 1, listener)
        far.close()
        connection.reader.feed(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
        connection.reader.http.send(h11.Response(status_code=204, headers=[]))
        connection.reader.http.send(h11.EndOfMessage())
        assert connection.reusable
        with pytest.raises(ClientGone):
            connection.send(b"HTTP/1.1 204 \r\n\r\n")
        assert not connection.reusable


def test_a_client_that_does_not_read_its_answer_gives_the_thread_free(
    start: Start, connect: Connect
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * (50_000_000 if environ["PATH_INFO"] == "/huge" else 1)]

    server = start(app, threads=1, read_deadline=0.3)
    connect(server).send(b"GET /huge HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert connect(server).get().body == b"x"


def test_without_descriptors_accepting_pauses_and_goes_on_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.http.connection._RETRY_ACCEPT", 0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        stepped(server) as (reactor, listener),
    ):
        client = socket.create_connection(server.getsockname())
        with closing(client):
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
            try:
                reactor.turn()  # nothing can be accepted
                reactor.turn()  # only waits, although somebody knocks
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            reactor.turn()
            reactor.turn()
            (request,) = listener.requests.take_waiting()
            request.give_back()


# Start and stop


def test_the_address_has_the_real_port(start: Start) -> None:
    host, port = start().address
    assert host == "127.0.0.1"
    assert port > 0


def test_a_port_in_use_is_one_sentence(start: Start) -> None:
    port = start().address[1]
    with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is already in use"):
        WebServer(echo, host="127.0.0.1", port=port).start()


def test_the_port_is_free_again_after_the_stop(start: Start, connect: Connect) -> None:
    server = start()
    client = connect(server)
    assert client.get().status == 200
    server.stop()
    again = WebServer(echo, host="127.0.0.1", port=server.address[1], threads=1)
    again.start()
    again.stop()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "", "a" * 300])
def test_an_address_of_another_machine_is_one_sentence(host: str) -> None:
    with pytest.raises(ConfigError, match=r"host .*not an address") as raised:
        WebServer(echo, host=host, port=0).start()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("port", [-1, 65536, 1 << 40])
def test_a_port_that_does_not_exist_is_one_sentence(port: int) -> None:
    with pytest.raises(ConfigError, match=f"port {port} does not exist"):
        WebServer(echo, host="127.0.0.1", port=port).start()


def test_a_port_without_the_right_to_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ConfigError, match="may not listen on port 80"):
        WebServer(echo, host="127.0.0.1", port=80).start()


def test_a_trusted_proxy_that_is_no_address_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="trusted_proxies: 'nginx' is not an IP address"):
        WebServer(echo, host="127.0.0.1", port=0, trusted_proxies=["nginx"])


def test_starting_twice_is_an_error(start: Start) -> None:
    with pytest.raises(RuntimeError, match="already started"):
        start().start()


def test_ipv6_any_address_serves_ipv4_clients_by_their_ipv4_address(connect: Connect) -> None:
    server = WebServer(echo, host="::", port=0, threads=1)
    try:
        server.start()
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    server.address = ("127.0.0.1", server.address[1])
    try:
        assert connect(server).get().json["REMOTE_ADDR"] == "127.0.0.1"
    finally:
        server.stop()


def test_stop_lets_a_request_in_flight_finish(start: Start, connect: Connect) -> None:
    gate = Gate()
    server = start(gate, threads=1)
    served = connect(server).send(
        b"GET /served HTTP/1.1\r\nHost: lab\r\n\r\nGET /too-late HTTP/1.1\r\nHost: lab\r\n\r\n"
    )
    gate.wait(1)
    idle = connect(server)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    assert idle.ended()  # closed at once, while the request goes on
    gate.open.set()
    assert served.answer().json["PATH_INFO"] == "/served"
    assert served.ended()
    stopping.join(PATIENCE)
    assert web_threads() == []


def test_stop_also_answers_requests_that_wait_for_a_thread(start: Start, connect: Connect) -> None:
    gate = Gate()
    server = start(gate, threads=1)
    clients = [connect(server).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n") for _ in range(3)]
    gate.wait(1)
    half = connect(server).send(HEAD)
    assert connect(server).send(b"x\r\n\r\n").answer().status == 400  # so all of them were read
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    assert half.ended()
    gate.open.set()
    answers = [client.answer() for client in clients]
    assert [answer.status for answer in answers] == [200] * 3
    assert [answer.headers.get("connection") for answer in answers] == [None, "close", "close"]
    stopping.join(PATIENCE)


def test_stop_is_bounded_when_a_view_hangs_and_its_thread_ends_later(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    server = start(gate, threads=2)
    clients = [connect(server).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n") for _ in range(3)]
    gate.wait(2)
    listener = server._listener
    assert listener is not None
    while len(listener.connections.members) < 3 or not listener.requests._waiting:
        clients[0].readable(0.01)
    began = time.monotonic()
    server.stop(timeout=0.1)
    assert time.monotonic() - began < PATIENCE / 2
    assert "http-1, http-2" in caplog.text
    assert all(client.ended() for client in clients)
    assert len(listener.connections.members) == 2  # nobody has the third, so it is closed
    gate.open.set()
    for thread in web_threads():
        thread.join(PATIENCE)
    assert gate.total == 2  # the third was never started


def test_stop_cuts_off_a_client_that_does_not_read(start: Start, connect: Connect) -> None:
    server = start(streaming(*[b"x" * 1_000_000] * 1000), read_deadline=60)
    client = connect(server).send(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
    server.stop(timeout=0.1)
    assert web_threads() == []


def test_stop_is_idempotent_and_a_server_starts_again(start: Start, connect: Connect) -> None:
    server = start()
    server.stop()
    server.stop()
    assert web_threads() == []
    server.start()
    assert connect(server).get().status == 200
    WebServer(echo, host="127.0.0.1", port=0).stop()


def test_starting_and_stopping_leaks_neither_threads_nor_descriptors() -> None:
    descriptors = open_descriptors()
    began = time.monotonic()
    for _ in range(20):
        server = WebServer(echo, host="127.0.0.1", port=0)
        server.start()
        with closing(Client(server)) as kept, closing(Client(server)) as half:
            assert kept.get().status == 200
            half.send(HEAD)
            server.stop()
            assert kept.ended()
            assert half.ended()
        assert web_threads() == []
    assert open_descriptors() == descriptors
    assert time.monotonic() - began < PATIENCE / 2  # no stop waits for the turn of a clock


def test_an_idle_server_does_not_wake_up(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float | None] = []

    class Recording(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            timeouts.append(timeout)
            return super().select(timeout)

    monkeypatch.setattr("selectors.DefaultSelector", Recording)
    server = start()
    client = connect(server)
    assert client.get().status == 200
    assert connect(server).get("/", "Connection: close").status == 200
    assert timeouts[0] is None
    assert all(timeout is None or timeout > 1 for timeout in timeouts)


def test_an_answer_that_was_sent_at_once_wakes_the_reactor_for_nothing(
    start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    client = connect(server)
    assert client.get().status == 200
    listener = server._listener
    assert listener is not None
    (connection,) = listener.connections.members
    woken: list[Participant] = []
    monkeypatch.setattr(listener.reactor, "wake", woken.append)
    for _ in range(10):
        eventually(lambda: connection.state is ConnectionState.IDLE)
        assert client.get().status == 200
    eventually(lambda: connection.state is ConnectionState.IDLE)
    assert woken == []


# A socket that outlives the server


@pytest.fixture
def kept() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_who_comes_while_no_server_runs_waits_for_the_next(
    start: Start, connect: Connect, kept: socket.socket
) -> None:
    port = kept.getsockname()[1]
    first = start(listener=kept, port=port)
    assert connect(first).get("/").status == 200
    first.stop()
    waiting = connect(first).send(b"GET /later HTTP/1.1\r\nHost: lab\r\n\r\n")
    start(listener=kept, port=port)
    assert waiting.answer().json["PATH_INFO"] == "/later"


def test_a_server_that_holds_serves_whom_it_has_and_leaves_others_to_the_next(
    start: Start, connect: Connect, kept: socket.socket
) -> None:
    port = kept.getsockname()[1]
    first = start(listener=kept, port=port)
    known = connect(first)
    assert known.get("/").status == 200
    first.hold()
    newcomer = connect(first).send(b"GET /later HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert known.get("/again").status == 200
    assert not newcomer.readable(0)
    first.stop()
    start(listener=kept, port=port)
    assert newcomer.answer().json["PATH_INFO"] == "/later"


def test_a_server_with_a_socket_of_its_own_holds_nobody(start: Start, connect: Connect) -> None:
    server = start()
    server.hold()
    assert connect(server).get("/").status == 200


def test_a_socket_at_another_address_is_not_used(
    start: Start, connect: Connect, kept: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(listener=kept)
    assert not server.inherits
    assert connect(server).get("/").status == 200
    assert f"systemd listens on port {kept.getsockname()[1]} of 127.0.0.1" in caplog.text
