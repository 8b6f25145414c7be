"""WebSockets byte by byte: frames that are right, frames that are not, and clients that vanish."""

from __future__ import annotations

import gc
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wsproto.events import CloseConnection, Ping

from labnode.http.websocket import WebSocketLimits
from tests.kit.waiting import PATIENCE, eventually

from .sockets import Node, Page, running

MIB = 1 << 20


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path) as node:
        yield node


@pytest.fixture
def page(node: Node) -> Page:
    return node.open("/echo", node.session()[1])


def frame(opcode: int, payload: bytes = b"", *, last: bool = True, masked: bool = True) -> bytes:
    """A frame by hand; the mask is zero, so the payload is to be seen."""
    head = bytes([opcode | (0x80 if last else 0)])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 1 << 16:
        head += bytes([mask | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", len(payload))
    return head + (bytes(4) if masked else b"") + payload


TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


# --- what is right ---


def test_a_message_in_fragments_is_one_message(page: Page) -> None:
    page.part("one ", last=False).part("two ", last=False).part("thrée", last=True)
    assert page.message() == "one two thrée"


def test_a_character_may_be_cut_in_two_by_fragments(page: Page) -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    page.send_raw(frame(TEXT, first, last=False) + frame(CONTINUATION, second))
    assert page.message() == "é"


def test_a_message_may_come_byte_by_byte(page: Page) -> None:
    for byte in frame(TEXT, b"slowly"):
        page.send_raw(bytes([byte]))
    assert page.message() == "slowly"


def test_a_ping_is_answered_even_between_fragments(page: Page) -> None:
    page.part("one ", last=False)
    assert page.ping(b"are you there?") == b"are you there?"
    page.part("two", last=True)
    assert page.message() == "one two"


def test_the_largest_message_passes(page: Page) -> None:
    assert page.send("x" * MIB).message() == "x" * MIB


def test_many_messages_at_once_come_back_in_order(page: Page) -> None:
    page.send_raw(b"".join(frame(TEXT, str(number).encode()) for number in range(500)))
    assert [page.message() for _ in range(500)] == [str(number) for number in range(500)]


def test_a_close_is_answered_with_its_code(page: Page) -> None:
    page.leave()


def test_a_close_without_a_code_is_answered(page: Page) -> None:
    page.send_raw(frame(CLOSE))
    event = page.event()
    assert isinstance(event, CloseConnection)
    assert event.code == 1005
    assert page.at_end()


# --- what is not ---


def test_a_message_of_10_mb_is_refused_and_never_in_memory(node: Node, page: Page) -> None:
    head = frame(BINARY, b"x" * (10 * MIB))
    writer = threading.Thread(target=page.send_raw, args=(head,))
    writer.start()
    closing = page.event()
    writer.join()
    assert isinstance(closing, CloseConnection)
    assert (closing.code, closing.reason) == (1009, "message-too-big")
    page.send_raw(page.protocol.send(closing.response()))
    assert page.at_end()


def test_a_message_that_grows_too_large_in_fragments_is_refused(page: Page) -> None:
    for _ in range(11):
        page.part("x" * 100_000, last=False)
    assert page.closing().code == 1009


def test_one_byte_more_than_the_largest_message_is_refused(page: Page) -> None:
    page.send_raw(frame(BINARY, b"x" * (MIB + 1)))
    assert page.closing().code == 1009


def test_a_message_of_endless_empty_fragments_costs_nothing(page: Page) -> None:
    page.send_raw(frame(TEXT, last=False) + frame(CONTINUATION, last=False) * 50_000)
    page.send_raw(frame(CONTINUATION, b"end"))
    assert page.message() == "end"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"caf\xc3"), 1007),
        (frame(TEXT, b"unmasked", masked=False), 1002),
        (frame(CONTINUATION, b"of nothing"), 1002),
        (frame(TEXT, b"one", last=False) + frame(TEXT, b"two"), 1002),
        (frame(3, b"unknown"), 1002),
        (frame(TEXT | 0x40, b"compressed, which nobody has agreed to"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"fragment", last=False), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, struct.pack("!H", 1006)), 1002),
        (frame(CLOSE, struct.pack("!H", 999)), 1002),
        (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
    ],
)
def test_a_violation_is_answered_with_its_code(
    node: Node, page: Page, data: bytes, code: int
) -> None:
    page.send_raw(data)
    event = page.event()
    assert isinstance(event, CloseConnection)
    assert event.code == code
    assert page.at_end()  # without waiting for what cannot be understood
    page.close()
    eventually(lambda: not node.agent.runtime.websockets._channels.members)


def test_a_client_that_does_not_answer_a_close_is_cut_off(tmp_path: Path) -> None:
    with running(tmp_path, limits=WebSocketLimits(close_within=0.1)) as node:
        session, cookie = node.session()
        page = node.open("/echo", cookie)
        node.end(session)
        assert page.at_end()


# --- who is still there ---


def test_a_silent_client_is_asked_and_stays_when_it_answers(tmp_path: Path) -> None:
    with running(tmp_path, limits=WebSocketLimits(ping_every=0.05, pong_within=5)) as node:
        page = node.open("/echo", node.session()[1])
        for _ in range(3):
            ping = page.event()
            assert isinstance(ping, Ping)
            page.send_raw(page.protocol.send(ping.response()))
        page.send("still here")


def test_a_client_that_does_not_answer_a_ping_is_gone(tmp_path: Path) -> None:
    with running(tmp_path, limits=WebSocketLimits(ping_every=0.05, pong_within=0.05)) as node:
        page = node.open("/echo", node.session()[1])
        assert page.at_end()
        eventually(lambda: node.module.news == [("closed", True, None)])


def test_a_client_is_not_given_up_while_its_handler_does_not_listen(tmp_path: Path) -> None:
    with running(tmp_path, limits=WebSocketLimits(queue=10)) as node:
        page = node.open("/stuck", node.session()[1])
        assert page.message() == "stuck"
        page.send("one")  # fills the queue
        [channel] = node.channels()
        eventually(channel.receiver.full)
        for _ in range(3):  # long after the last sign of life, and after a ping
            channel._pinged = channel._heard = long_ago = time.monotonic() - 3600
            channel.wake()
            eventually(lambda: channel._heard != long_ago)  # noqa: B023 - called in this turn
        node.module.release.set()
        assert page.message() == "one"


def test_a_login_level_websocket_ends_when_its_user_is_forgotten(tmp_path: Path) -> None:
    limits = WebSocketLimits(ping_every=0.05, pong_within=5)
    with running(tmp_path, limits=limits, expired_users_timeout=0.01) as node:
        session, cookie = node.session()
        page = node.open("/after", cookie)
        node.end(session)
        assert page.json()["event"] == "dispose"
        end = time.monotonic() + PATIENCE
        while isinstance(event := page.event(), Ping):
            assert time.monotonic() < end, "it is never forgotten"
            page.send_raw(page.protocol.send(event.response()))
        assert isinstance(event, CloseConnection)
        assert event.code == 4001


# --- the slow and the many ---


def test_a_slow_reader_is_dropped_and_told_and_slows_nobody(node: Node) -> None:
    _, cookie = node.session()
    slow, quick = node.open("/echo", cookie), node.open("/echo", cookie)
    news = "x" * 100_000
    longest, pushed = 0.0, 0
    while len(node.channels()) == 2:
        began = time.monotonic()
        node.lab.push("news", news)
        longest = max(longest, time.monotonic() - began)
        assert quick.json()["data"] == news
        pushed += 1
        assert pushed < 1000
    assert longest < 0.5
    closing = slow.closing()
    assert (closing.code, closing.reason) == (1013, "too-slow")
    assert quick.send("still here").message() == "still here"


def test_a_flood_of_pings_whose_answers_nobody_reads_is_ended(tmp_path: Path) -> None:
    limits = WebSocketLimits(queue=10_000, message=10_000, close_within=0.1)
    with running(tmp_path, limits=limits) as node:
        page = node.open("/echo", node.session()[1])
        page.socket.settimeout(10)
        with pytest.raises(ConnectionError):
            page.send_raw(frame(PING, b"x" * 125) * 1_000_000)


def test_the_central_server_is_answered_while_50_websockets_are_open(node: Node) -> None:
    sessions = [node.session(f"student {number}") for number in range(5)]
    pages = [node.open("/echo", cookie) for _, cookie in sessions for _ in range(10)]
    longest = 0.0
    for session, _ in sessions * 4:
        began = time.monotonic()
        assert node.server.status(session.id) > 0
        longest = max(longest, time.monotonic() - began)
    assert longest < 1.0
    assert [page.send("x").message() for page in pages] == ["x"] * 50


@pytest.mark.parametrize(("path", "times"), [("/echo", 20), ("/api/live", 80)])
def test_40_clients_that_leave_at_once_leave_nothing_behind(
    node: Node, path: str, times: int
) -> None:
    sessions = [node.session(f"student {number}")[1] for number in range(4)]

    def visit() -> None:
        pages = [node.open(path, cookie) for cookie in sessions for _ in range(10)]
        for page in pages:
            page.send("hello")
        for number, page in enumerate(pages):
            if number % 2:
                page.vanish()
            else:
                page.close()
        node.pages.clear()
        eventually(
            lambda: not node.agent.runtime.websockets._channels.members, "all channels are dropped"
        )
        eventually(lambda: not node.agent.runtime.websockets._threads, "all handlers have ended")
        eventually(
            lambda: not node.agent.runtime.websockets.live._pages, "no page is told anything"
        )

    visit()
    before = _use()
    for _ in range(times):
        visit()
    eventually(lambda: _use()[:2] <= before[:2], f"threads and files are as they were: {before}")
    assert _use()[2] < before[2] + 4000, "no memory grows"


def _use() -> tuple[int, int, int]:
    """Threads, open files and objects."""
    gc.collect()
    files = len(list(Path("/proc/self/fd").iterdir()))
    return threading.active_count(), files, len(gc.get_objects())
