"""Clients that do not read what they have asked for: they hold a socket, and no thread."""

from __future__ import annotations

import contextvars
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import bottle
import pytest

from labnode.http import WebServer
from labnode.http.connection import Connection, ConnectionState, Limits, Listener
from labnode.http.reactor import Reactor
from labnode.threads import Pool
from tests.kit.http_client import Client
from tests.kit.waiting import PATIENCE, eventually

PIECE = bytes(range(256)) * 256
PIECES = 500  # far more than any socket's buffers take
GET = b"GET %s HTTP/1.1\r\nHost: lab\r\n\r\n"

Connect = Callable[..., Client]
Start = Callable[..., WebServer]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def start_one(app: Any, **options: Any) -> WebServer:
            server = WebServer(app, host="127.0.0.1", port=0, **{"threads": 1, **options})
            server.start()
            stack.callback(server.stop)
            return server

        yield start_one


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def connect_one(server: WebServer, source: str = "127.0.0.1") -> Client:
            client = Client(server, source)
            stack.callback(client.close)
            return client

        yield connect_one


class Download:
    """An application with a large answer at /large, in pieces, which notes when it is closed."""

    def __init__(self, pieces: int = PIECES) -> None:
        self.pieces = pieces
        self.given = 0
        self.closed = threading.Semaphore(0)
        self.closed_by: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/large":
            start_response("200 OK", [("Content-Length", "5")])
            return [b"small"]
        start_response("200 OK", [])
        return self.large()

    def large(self) -> Iterator[bytes]:
        try:
            for _ in range(self.pieces):
                self.given += 1
                yield PIECE
        finally:
            self.closed_by.append(threading.current_thread().name)
            self.closed.release()

    def wait_closed(self, times: int = 1) -> None:
        for _ in range(times):
            assert self.closed.acquire(timeout=PATIENCE)


def connections(server: WebServer) -> Iterable[Connection]:
    assert server._listener is not None
    return server._listener.connections.members


def sending(server: WebServer) -> int:
    return sum(c.state is ConnectionState.SENDING for c in connections(server))


def test_32_clients_that_never_read_hold_no_thread(start: Start, connect: Connect) -> None:
    download = Download()
    server = start(download)
    for _ in range(32):
        connect(server).send(GET % b"/large")
    eventually(lambda: sending(server) == 32)
    student = connect(server, "127.0.0.2")
    assert [student.get("/").body for _ in range(5)] == [b"small"] * 5
    assert sending(server) == 32


def test_an_answer_goes_on_as_its_client_reads_it(start: Start, connect: Connect) -> None:
    download = Download()
    server = start(download)
    slow = connect(server).send(GET % b"/large", GET % b"/next")
    eventually(lambda: sending(server) == 1)
    assert download.given < PIECES  # what the client does not take is not made
    answer = slow.answer()
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == PIECE * PIECES
    download.wait_closed()
    assert slow.answer().body == b"small"  # the request that was sent with the first
    assert slow.get("/").body == b"small"


def test_an_answer_in_one_piece_arrives_whole(start: Start, connect: Connect) -> None:
    body = PIECE * 500

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    server = start(app, max_body=100)  # so it is larger than what may wait of all answers together
    client = connect(server).send(GET % b"/")
    eventually(lambda: sending(server) == 1)
    assert client.answer().body == body
    assert client.get("/").body == body


def test_an_answer_whose_client_leaves_is_closed_on_the_pool(
    start: Start, connect: Connect
) -> None:
    download = Download()
    server = start(download)
    for leave in (Client.close, Client.reset):
        client = connect(server).send(GET % b"/large")
        eventually(lambda: sending(server) == 1)
        leave(client)
        download.wait_closed()
    assert download.closed_by == ["http-1", "http-1"]
    eventually(lambda: not connections(server))


def test_a_client_that_takes_nothing_for_too_long_is_closed(start: Start, connect: Connect) -> None:
    download = Download()
    server = start(download, read_deadline=0.3)
    client = connect(server).send(GET % b"/large")
    download.wait_closed()
    assert len(client.file.read()) < len(PIECE) * PIECES
    assert client.ended()


def test_a_client_that_takes_a_few_bytes_again_and_again_has_an_end() -> None:
    limits = Limits(
        read_deadline=10,
        keep_alive=10,
        max_head=1000,
        max_body=1000,
        memory=10_000,
        connections=10,
        per_address=10,
    )
    near, far = socket.socketpair()
    reactor = Reactor()
    with near, far, closing(socket.create_server(("127.0.0.1", 0))) as server:
        near.setblocking(False)
        nobody: Pool[Connection] = Pool("http", lambda _: None, most=0, waiting=9)
        connection = Connection(near, "127.0.0.1", 1, Listener(server, limits, reactor, nobody))
        time = 0.0
        connection._now = lambda: time
        connection.send(bytes(10_000_000))
        connection._take_back()
        while connection.deadline is not None and connection.deadline > time:
            assert time < 300
            time += 1
            far.recv(1000)
            connection.ready(selectors.EVENT_WRITE)
        assert connection.state is ConnectionState.SENDING
        reactor.abandon()
        reactor.run()


def test_an_answer_that_nobody_takes_is_closed_by_the_stop(start: Start, connect: Connect) -> None:
    download = Download()
    server = start(download)
    clients = [connect(server).send(GET % b"/large") for _ in range(3)]
    eventually(lambda: sending(server) == 3)
    server.stop(timeout=0.1)
    download.wait_closed(3)
    assert set(download.closed_by) == {"http-1"}
    for client in clients:
        client.file.read()


def test_a_stop_waits_for_an_answer_that_is_being_read(start: Start, connect: Connect) -> None:
    download = Download(300)
    server = start(download)
    client = connect(server).send(GET % b"/large")
    eventually(lambda: sending(server) == 1)
    stopping = threading.Thread(target=server.stop, args=[PATIENCE])
    stopping.start()
    assert client.answer().body == PIECE * 300
    assert client.ended()
    stopping.join(PATIENCE)
    assert download.closed_by == ["http-1"]


def test_too_much_that_waits_for_all_clients_closes_who_took_nothing_for_longest(
    start: Start, connect: Connect
) -> None:
    body = PIECE * 300

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    server = start(app, max_body=100_000)  # 1.6 MB of all answers may wait, or a single one
    first = connect(server).send(GET % b"/")
    eventually(lambda: sending(server) == 1)
    second = connect(server).send(GET % b"/")
    assert len(first.file.read()) < len(body)
    assert second.answer().body == body


def test_a_generator_that_goes_on_in_another_thread_has_its_own_request(
    start: Start, connect: Connect
) -> None:
    """Bottle keeps the request in the thread, and encodes text with the charset found there."""
    seen: set[tuple[str, str, str, str]] = set()
    asked = contextvars.ContextVar("asked", default="nothing")
    app = bottle.Bottle()

    @app.get("/<name>")
    def pieces(name: str) -> Iterator[str]:
        bottle.response.content_type = f"text/{name}; charset=latin-1"

        def text() -> Iterator[str]:
            asked.set(name)
            for _ in range(300):
                type_ = bottle.response.content_type.partition(";")[0]
                seen.add((name, bottle.request.path, asked.get(), type_))
                yield "\u00e9" * 65536

        return text()

    server = start(app, threads=3)
    names = [f"n{number}" for number in range(6)]
    clients = [connect(server).send(GET % b"/%s" % name.encode()) for name in names]
    eventually(lambda: sending(server) == len(clients))
    for client in reversed(clients):
        assert client.answer().body == b"\xe9" * 65536 * 300
    assert seen == {(name, f"/{name}", name, f"text/{name}") for name in names}


def test_a_fast_reader_of_an_endless_answer_leaves_others_their_turn(
    start: Start, connect: Connect
) -> None:
    class Endless(Download):
        def large(self) -> Iterator[bytes]:
            while True:
                yield PIECE

    server = start(Endless())
    reader = connect(server).send(GET % b"/large")
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            reader.socket.recv(1 << 20)

    reading = threading.Thread(target=read)
    reading.start()
    try:
        student = connect(server)
        assert [student.get("/").body for _ in range(3)] == [b"small"] * 3
    finally:
        ended.set()
        reading.join(PATIENCE)


def test_a_file_is_closed_when_its_client_leaves_it(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "large.bin").write_bytes(PIECE * PIECES)
    app = bottle.Bottle()
    app.get("/", callback=lambda: bottle.static_file("large.bin", root=tmp_path))
    server = start(app)

    def is_open() -> bool:
        links = Path("/proc/self/fd").iterdir()
        return any(str(link.resolve()).endswith("large.bin") for link in links)

    client = connect(server).send(GET % b"/")
    eventually(lambda: sending(server) == 1)
    assert is_open()
    client.close()
    eventually(lambda: not is_open())
    assert connect(server).get("/").body == PIECE * PIECES


def test_a_head_request_for_a_large_answer_has_no_body(start: Start, connect: Connect) -> None:
    download = Download()
    client = connect(start(download))
    client.send(b"HEAD /large HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert client.answer(bodyless=True).status == 200
    assert client.get("/").body == b"small"
    assert download.given == PIECES


def test_an_answer_that_fails_after_the_client_was_slow_is_visibly_cut_off(
    start: Start, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Download):
        def large(self) -> Iterator[bytes]:
            yield from super().large()
            raise ValueError("broken")

    client = connect(start(Failing())).send(GET % b"/large")
    body = client.file.read()
    assert len(body) > len(PIECE) * PIECES
    assert not body.endswith(b"0\r\n\r\n")
    assert [record.message for record in caplog.records] == [
        "The application failed in a GET request"
    ]


def test_slow_clients_of_many_addresses_keep_nobody_out(start: Start, connect: Connect) -> None:
    server = start(Download(), connections=20)
    for number in range(10):
        connect(server, f"127.0.1.{number + 1}").send(GET % b"/large")
    eventually(lambda: sending(server) == 10)
    for number in range(30):
        connect(server, f"127.0.2.{number + 1}").send(b"GET / HTTP/1.1\r\nX: half")
    assert [connect(server, "127.0.0.9").get("/").body for _ in range(5)] == [b"small"] * 5


def test_nothing_of_an_answer_is_kept_when_it_is_over(start: Start, connect: Connect) -> None:
    download = Download(200)
    server = start(download)
    client = connect(server).send(GET % b"/large")
    eventually(lambda: sending(server) == 1)
    assert client.answer().status == 200
    (connection,) = connections(server)
    assert connection.unsent == 0
    eventually(lambda: connection.answer is None)
