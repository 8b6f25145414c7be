"""Bodies that are too large for memory: they go to a sink as they come, and within limits."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from labnode.http import WebServer
from labnode.http.request import Refusal
from labnode.http.writer import Writer
from tests.kit.http_client import Client
from tests.kit.waiting import PATIENCE

LIMIT = 3_000_000


class Card:
    """It is slow while a test holds it, and knows who has waited for it."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.threads: set[str] = set()

    def touch(self) -> None:
        self.threads.add(threading.current_thread().name)
        assert self.free.wait(PATIENCE)


class Sink:
    """What the server is told to write to, by an SD card; `full` after that many bytes."""

    def __init__(self, full: int, limit: int, card: Card) -> None:
        self.limit = limit
        self.card = card
        self.opened = False
        self.full = full
        self.size = 0
        self.pieces = 0
        self.discarded = threading.Event()
        self.begun = threading.Event()

    def open(self) -> None:
        self.card.touch()
        if self.full == 0:
            raise OSError(28, "No space left on device")
        self.opened = True

    def write(self, data: bytes) -> None:
        assert self.opened
        self.begun.set()
        self.card.touch()
        self.size += len(data)
        self.pieces += 1
        if self.size > self.full:
            raise OSError(28, "No space left on device")

    def discard(self) -> None:
        self.card.touch()
        self.discarded.set()


class Uploads:
    """The application, and what it says of heads that come."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.full = LIMIT * 2
        self.limit = LIMIT
        self.card = Card()

    def expected(self, environ: dict[str, Any]) -> Sink | None:
        if environ["PATH_INFO"] == "/private":
            raise Refusal(403, "Log in first.")
        if environ["PATH_INFO"] != "/upload":
            return None
        self.sinks.append(Sink(self.full, self.limit, self.card))
        return self.sinks[-1]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        sink = environ.get("labnode.body")
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{sink and sink.size} {environ['CONTENT_LENGTH']} {len(body)}".encode()]


@pytest.fixture
def uploads() -> Uploads:
    return Uploads()


@pytest.fixture
def start(uploads: Uploads) -> Iterator[Callable[..., WebServer]]:
    servers: list[WebServer] = []

    def start(**options: Any) -> WebServer:
        server = WebServer(
            uploads, host="127.0.0.1", port=0, threads=2, large=uploads.expected, **options
        )
        server.start()
        servers.append(server)
        return server

    yield start
    uploads.card.free.set()
    for server in servers:
        server.stop()


def post(path: str, length: int, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: lab", f"Content-Length: {length}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def test_a_large_body_goes_to_its_sink_piece_by_piece(
    start: Callable[..., WebServer], uploads: Uploads
) -> None:
    with closing(Client(start())) as client:
        answer = client.send(post("/upload", LIMIT), b"x" * LIMIT).answer()
    assert answer.body == b"%d %d 0" % (LIMIT, LIMIT)
    assert uploads.sinks[0].pieces > 100
    assert uploads.sinks[0].discarded.wait(PATIENCE), "what nobody took is thrown away"


def test_one_in_chunks_does_so_too(start: Callable[..., WebServer], uploads: Uploads) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(Client(start())) as client:
        client.send(head, *[b"186A0\r\n" + b"x" * 100_000 + b"\r\n"] * 15, b"0\r\n\r\n")
        assert client.answer().body == b"1500000 1500000 0"


def test_the_next_request_on_the_connection_has_no_sink(start: Callable[..., WebServer]) -> None:
    with closing(Client(start())) as client:
        client.send(post("/upload", 10), b"x" * 10).answer()
        answer = client.send(post("/small", 10), b"x" * 10).answer()
    assert answer.body == b"None 10 10"


def test_one_that_says_that_it_is_too_large_is_refused_before_it_is_read(
    start: Callable[..., WebServer], uploads: Uploads
) -> None:
    with closing(Client(start())) as client:
        answer = client.send(post("/upload", LIMIT + 1, "Expect: 100-continue")).answer()
    assert answer.status == 413
    assert str(LIMIT) in answer.json["message"]
    assert uploads.sinks[0].discarded.wait(PATIENCE)
    assert uploads.sinks[0].size == 0


def test_one_that_does_not_say_so_is_refused_when_it_is(
    start: Callable[..., WebServer], uploads: Uploads
) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(Client(start())) as client:
        client.send(head, *[b"186A0\r\n" + b"x" * 100_000 + b"\r\n"] * 30, b"1\r\nx\r\n")
        assert client.answer().status == 413
    assert uploads.sinks[0].discarded.wait(PATIENCE)


def test_one_of_somebody_without_a_session_is_refused_before_it_is_read(
    start: Callable[..., WebServer],
) -> None:
    with closing(Client(start())) as client:
        answer = client.send(post("/private", LIMIT)).answer()
    assert (answer.status, answer.json["message"]) == (403, "Log in first.")


def test_a_client_that_goes_away_leaves_nothing(
    start: Callable[..., WebServer], uploads: Uploads
) -> None:
    client = Client(start())
    client.send(post("/upload", LIMIT), b"x" * 50_000)
    while not uploads.sinks:
        client.readable(0.01)
    assert uploads.sinks[0].begun.wait(PATIENCE)
    client.reset()
    assert uploads.sinks[0].discarded.wait(PATIENCE)


def test_a_full_disk_is_told(start: Callable[..., WebServer], uploads: Uploads) -> None:
    uploads.full = 100_000
    with closing(Client(start())) as client:
        answer = client.send(post("/upload", 200_000), b"x" * 200_000).answer()
    assert answer.status == 507
    assert uploads.sinks[0].discarded.wait(PATIENCE)


def test_one_that_stops_coming_is_ended(start: Callable[..., WebServer], uploads: Uploads) -> None:
    server = start(read_deadline=0.2)
    with closing(Client(server)) as client:
        assert client.send(post("/upload", LIMIT), b"x" * 1000).answer().status == 408
    assert uploads.sinks[0].discarded.wait(PATIENCE)


def test_one_that_keeps_coming_may_take_longer_than_other_requests(
    start: Callable[..., WebServer],
) -> None:
    server = start(read_deadline=0.3)
    with closing(Client(server)) as client:
        client.send(post("/upload", 48_000))
        for _ in range(12):
            client.send(b"x" * 4000)
            client.readable(0.1)
        assert client.answer().status == 200


def test_a_server_that_stops_throws_away_what_is_coming(
    start: Callable[..., WebServer], uploads: Uploads
) -> None:
    server = start()
    with closing(Client(server)) as client:
        client.send(post("/upload", LIMIT), b"x" * 50_000)
        while not uploads.sinks:
            client.readable(0.01)
        server.stop()
        assert uploads.sinks[0].discarded.is_set()


def test_the_loop_never_touches_the_card(start: Callable[..., WebServer], uploads: Uploads) -> None:
    with closing(Client(start())) as client:
        assert client.send(post("/upload", LIMIT), b"x" * LIMIT).answer().status == 200
        assert client.send(post("/upload", LIMIT + 1)).answer().status == 413
    assert all(sink.discarded.wait(PATIENCE) for sink in uploads.sinks)
    assert uploads.card.threads == {"http-writer-1"}


def test_a_card_that_is_slow_holds_up_nobody_else(
    start: Callable[..., WebServer], uploads: Uploads
) -> None:
    server = start()
    uploads.card.free.clear()
    with ExitStack() as clients:
        uploading = [clients.enter_context(closing(Client(server))) for _ in range(4)]
        for client in uploading:
            client.send(post("/upload", 10), b"x" * 10)
        with closing(Client(server)) as other:
            assert other.get().status == 200
        uploads.card.free.set()
        assert [client.answer().body for client in uploading] == [b"10 10 0"] * 4


def test_who_sends_faster_than_the_card_can_take_it_waits(
    start: Callable[..., WebServer], uploads: Uploads
) -> None:
    uploads.limit, uploads.full = 100 * LIMIT, 101 * LIMIT
    server = start()
    uploads.card.free.clear()
    piece, sent = b"x" * 100_000, 0
    with closing(Client(server)) as client, closing(Client(server)) as other:
        client.send(post("/upload", uploads.limit))
        client.socket.setblocking(False)
        waits = False
        while not waits and sent < uploads.limit:
            with suppress(BlockingIOError):
                while sent < uploads.limit:
                    sent += client.socket.send(piece)
            for _ in range(3):  # each takes the loop two turns, in which it would read more
                assert other.get().status == 200
            waits = not select.select([], [client.socket], [], 0)[1]
        assert waits


@pytest.mark.parametrize("length", [10, 200_000])
def test_a_card_that_is_full_from_the_start_is_told_before_the_body_is_sent(
    start: Callable[..., WebServer], uploads: Uploads, length: int
) -> None:
    uploads.full = 0
    with closing(Client(start())) as client:
        answer = client.send(post("/upload", length, "Expect: 100-continue")).answer()
    assert (answer.status, answer.json["message"]) == (
        507,
        "The lab's computer has no room for the file.",
    )
    assert uploads.sinks[0].discarded.wait(PATIENCE)
    assert uploads.sinks[0].pieces == 0


def test_a_card_that_does_not_come_back_holds_up_no_stop(
    start: Callable[..., WebServer], uploads: Uploads
) -> None:
    server = start()
    uploads.card.free.clear()
    with closing(Client(server)) as client:
        client.send(post("/upload", LIMIT), b"x" * 50_000)
        while not uploads.sinks:
            client.readable(0.01)
        server.stop(timeout=0.1)
        assert client.ended()
        uploads.card.free.set()
        assert uploads.sinks[0].discarded.wait(PATIENCE)


def test_what_is_answered_after_the_stop_leaves_nothing_either(uploads: Uploads) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hang(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        inside.set()
        assert go_on.wait(PATIENCE)
        return uploads(environ, start_response)

    server = WebServer(hang, host="127.0.0.1", port=0, threads=1, large=uploads.expected)
    server.start()
    with closing(Client(server)) as client:
        client.send(post("/upload", 10), b"x" * 10)
        assert inside.wait(PATIENCE)
        server.stop(timeout=0.0)
        assert not uploads.sinks[0].discarded.is_set()
        go_on.set()
        assert uploads.sinks[0].discarded.wait(PATIENCE)


def test_what_is_thrown_away_after_the_close_was_opened_before(uploads: Uploads) -> None:
    writer = Writer(uploads.expected, "http-writer")
    free = threading.Event()
    steps: list[str] = []
    writer.queue(lambda: steps.append("held") if free.wait(PATIENCE) else None)

    class Waiter:
        def wake(self) -> None:
            steps.append("opened")

    class Recorded(Sink):
        def discard(self) -> None:
            steps.append("discarded")

    body = writer.begin(Recorded(LIMIT, LIMIT, uploads.card), Waiter())
    body.open()
    writer.close()
    body.discard()  # by another thread, before the writer's has come to it
    free.set()
    for thread in writer.close():
        thread.join(PATIENCE)
    assert steps == ["held", "opened", "discarded"]


def test_a_card_that_hangs_does_not_gather_bodies_without_end(
    start: Callable[..., WebServer], uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.http.writer._MOST", 3)
    server = start()
    uploads.card.free.clear()
    for number in range(3):
        with closing(Client(server)) as client:
            client.send(post("/upload", 10))
            while len(uploads.sinks) <= number:
                client.readable(0.01)
    with closing(Client(server)) as client:
        assert client.send(post("/upload", 10)).answer().status == 503
    uploads.card.free.set()
    assert all(sink.discarded.wait(PATIENCE) for sink in uploads.sinks[:3])
    with closing(Client(server)) as client:
        assert client.send(post("/upload", 10), b"x" * 10).answer().status == 200
