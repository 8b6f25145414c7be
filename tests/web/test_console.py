"""Serial consoles over WebSockets: every byte, in order, for those who may see it."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from labnode.drivers.serial.port import Frame, TtyPort
from labnode.locale import BUILT_IN
from labnode.web.console import _Page
from tests.kit.waiting import PATIENCE, eventually

from .sockets import Node, Page, running

DEVICES = """\
  console: {driver: serial, port: /dev/ttyTEST, baudrates: [9600], history: 100}
  watched: {driver: serial, port: /dev/ttyWATCHED, read_only: true}
  latin: {driver: serial, port: /dev/ttyLATIN, encoding: latin-1}
  slow: {driver: serial, port: /dev/ttySLOW, max_rate: 1000000}
  hidden: {driver: serial, port: /dev/ttyHIDDEN, access: system}
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path, devices=DEVICES) as node:
        yield node


def line(node: Node, name: str = "console") -> Any:
    return node.agent.board.file.devices[name].line


class Terminal:
    """A page with a console, and what it has on its screen."""

    def __init__(self, node: Node, cookie: str, place: str = "", name: str = "console") -> None:
        self.page: Page = node.open(f"/api/devices/{name}/console{place}", cookie)
        self.hello = self.news("hello")
        self.seen = b""
        self.told: list[dict[str, Any]] = []

    def news(self, kind: str) -> dict[str, Any]:
        """The next news of this kind."""
        while True:
            message = self.page.message()
            if isinstance(message, str) and (news := json.loads(message))["type"] == kind:
                return news

    def sees(self, data: bytes) -> None:
        """Read until the screen ends with `data`."""
        while not self.seen.endswith(data):
            message = self.page.message()
            if isinstance(message, str):
                self.told.append(json.loads(message))
            else:
                self.seen += message

    @property
    def place(self) -> str:
        """Where it goes on after a break."""
        return f"?epoch={self.hello['epoch']}&offset={self.hello['offset'] + len(self.seen)}"


@pytest.fixture
def cookie(node: Node) -> str:
    return node.session()[1]


# --- what a page sees and sends ---


def test_a_page_talks_with_the_device(node: Node, cookie: str) -> None:
    terminal = Terminal(node, cookie)
    assert terminal.hello == {
        "type": "hello",
        "epoch": line(node).epoch,
        "offset": 0,
        "read_only": False,
        "connected": True,
        "lent": False,
        "error": None,
        "baudrate": 115200,
    }
    terminal.page.send(b"\x00\xff\r")
    terminal.sees(b"\x00\xff\r")
    terminal.page.leave()


def test_a_text_is_sent_in_the_encoding_of_the_port(node: Node, cookie: str) -> None:
    terminal = Terminal(node, cookie, name="latin")
    terminal.page.send(json.dumps({"text": "20 °C €\n"}))
    terminal.sees(b"20 \xb0C ?\n")


def test_a_page_hears_how_much_of_its_bytes_the_port_has_taken(node: Node, cookie: str) -> None:
    terminal = Terminal(node, cookie)
    terminal.page.send(b"x" * 1000)
    assert terminal.news("sent") == {"type": "sent", "bytes": 1000, "lost": 0}


def test_two_pages_see_the_same(node: Node, cookie: str) -> None:
    one, other = Terminal(node, cookie), Terminal(node, cookie)
    one.page.send(b"hello\n")
    one.sees(b"hello\n")
    other.sees(b"hello\n")


@pytest.mark.parametrize("nonsense", ["", "[]", "7", '{"bytes": 1}', "[" * 100_000])
def test_nonsense_is_refused_in_a_sentence(node: Node, cookie: str, nonsense: str) -> None:
    terminal = Terminal(node, cookie)
    terminal.page.send(nonsense)
    refused = terminal.news("refused")["message"]
    assert refused == 'Expected bytes, or {"text": "…"} as JSON.'
    terminal.page.send(b"works on")
    terminal.sees(b"works on")


def test_a_page_that_does_not_read_its_refusals_is_not_read_either(node: Node, cookie: str) -> None:
    Terminal(node, cookie)
    [channel] = node.channels()
    user, sessions = channel.receiver._user, channel.receiver._sessions  # type: ignore[attr-defined]
    console: Any = node.agent.board.file.devices["console"]
    english = BUILT_IN.best()
    page = _Page(console, line(node).reader(None, None), user, sessions, english)
    for _ in range(100):
        page.message("nonsense")
    assert page.full()
    while page.full():
        assert page.next_message()


def test_a_page_that_comes_later_sees_the_history(node: Node, cookie: str) -> None:
    first = Terminal(node, cookie)
    first.page.send(bytes(200) + b"the end")
    first.sees(b"the end")
    later = Terminal(node, cookie)
    assert later.hello["offset"] == 107  # the last 100 bytes
    later.sees(b"the end")
    assert later.seen == bytes(93) + b"the end"


def test_a_page_that_comes_back_misses_nothing_and_sees_nothing_twice(
    node: Node, cookie: str
) -> None:
    port = line(node)
    everything = random.Random(2).randbytes(60_000)
    terminal = Terminal(node, cookie)
    seen = b""
    for number in range(20):
        part = everything[3000 * number : 3000 * (number + 1)]
        port.received.write(part[:1500])
        port._notify()
        terminal.sees(part[1000:1500])
        terminal.page.vanish()  # without having heard that there is more
        port.received.write(part[1500:])
        port._notify()
        seen += terminal.seen
        terminal = Terminal(node, cookie, terminal.place)
    terminal.sees(everything[-100:])
    assert seen + terminal.seen == everything


@pytest.mark.parametrize(
    ("place", "begins"), [("?epoch=other&offset=5", 20), ("?epoch={}&offset=9999", 20),
                          ("?offset=3", 20), ("?epoch={}&offset=0", 0), ("?epoch={}", 20)]
)  # fmt: skip
def test_a_place_that_means_nothing_here_is_the_beginning_of_the_history(
    node: Node, cookie: str, place: str, begins: int
) -> None:
    line(node).received.write(bytes(120))
    terminal = Terminal(node, cookie, place.format(line(node).epoch))
    assert terminal.hello["offset"] == begins


def test_a_page_that_is_too_slow_is_told_where_how_much_is_missing(node: Node, cookie: str) -> None:
    port = line(node)
    terminal = Terminal(node, cookie)
    total = 0
    while not port.dropped_bytes:  # it reads nothing until it has missed something
        assert total < 1 << 30, "a page that reads nothing has missed nothing"
        piece = b"%07d\n" % (total // 8) * 8192
        port.received.write(piece)
        port._notify()
        total += len(piece)
        time.sleep(0.001)
    port.received.write(b"the end")
    port._notify()
    terminal.sees(b"the end")
    dropped = sum(news["bytes"] for news in terminal.told if news["type"] == "dropped")
    assert dropped == port.dropped_bytes > 0
    assert len(terminal.seen) + dropped == total + len(b"the end")


def test_a_page_gets_no_more_than_its_rate_and_all_of_it(node: Node, cookie: str) -> None:
    port = line(node, "slow")
    everything = random.Random(3).randbytes(600_000)
    terminal = Terminal(node, cookie, name="slow")
    begun = time.monotonic()
    port.received.write(everything)
    port._notify()
    terminal.sees(everything[-50:])
    assert terminal.seen == everything
    assert time.monotonic() - begun > 0.3


# --- the port comes and goes ---


def test_a_page_sees_that_the_port_is_lent_and_comes_back(node: Node, cookie: str) -> None:
    terminal = Terminal(node, cookie)
    driver: Any = node.agent.board.file.devices["console"]
    lent, back = threading.Event(), threading.Event()

    def lend() -> None:
        with driver.lent():
            lent.set()
            assert back.wait(PATIENCE)

    programmer = threading.Thread(target=lambda: node.agent.worker.call(lend))
    programmer.start()
    assert terminal.news("status")["lent"]
    terminal.page.send(b"hello")
    assert "is lent to a programmer" in terminal.news("refused")["message"]
    assert terminal.news("sent") == {"type": "sent", "bytes": 0, "lost": 5}
    back.set()
    programmer.join()
    while not (status := terminal.news("status"))["connected"]:
        pass
    assert not status["lent"]
    terminal.page.send(b"hello")
    terminal.sees(b"hello")


def test_a_page_sees_the_baud_rate_that_another_one_has_chosen(node: Node, cookie: str) -> None:
    terminal = Terminal(node, cookie)
    node.agent.worker.call(lambda: node.agent.board.command("console", "set_baudrate", [9600]))
    assert terminal.news("status")["baudrate"] == 9600


# --- who may ---


@pytest.mark.parametrize("name", ["hidden", "switch", "nothing"])
def test_what_is_no_console_for_students_is_not_found(node: Node, cookie: str, name: str) -> None:
    assert node.refused(f"/api/devices/{name}/console", cookie) == 404


def test_a_console_is_for_the_active_student_alone(node: Node, cookie: str) -> None:
    assert node.refused("/api/devices/console/console") == 403
    assert node.refused("/api/devices/console/console", "labnode_bench=x.y.z") == 403


def test_a_plain_request_is_asked_to_upgrade(node: Node, cookie: str) -> None:
    assert node.http("GET", "/api/devices/console/console", Cookie=cookie)[0] == 426


def test_an_offset_that_is_none_is_refused(node: Node, cookie: str) -> None:
    assert node.refused("/api/devices/console/console?offset=-1", cookie) == 400


def test_a_console_ends_with_its_session(node: Node) -> None:
    session, cookie = node.session()
    terminal = Terminal(node, cookie)
    node.end(session)
    closing = terminal.page.closing()
    assert (closing.code, closing.reason) == (4001, "session-over")
    eventually(lambda: not line(node)._listeners)


def test_the_next_student_sees_nothing_of_the_last(node: Node) -> None:
    session, cookie = node.session("ada")
    terminal = Terminal(node, cookie)
    terminal.page.send(b"secret")
    terminal.sees(b"secret")
    node.end(session)
    assert session.disposed.wait(PATIENCE)
    _, cookie = node.session("bob")
    assert Terminal(node, cookie).hello["offset"] == len(b"secret")


def test_typing_keeps_the_session(node: Node) -> None:
    session, cookie = node.session()
    terminal = Terminal(node, cookie)
    before = session.last_poll
    terminal.page.send(b"x")
    terminal.sees(b"x")
    assert session.last_poll > before


def test_a_read_only_console_is_for_looking(node: Node, cookie: str) -> None:
    terminal = Terminal(node, cookie, name="watched")
    assert terminal.hello["read_only"]
    terminal.page.send(b"hello")
    assert terminal.news("refused")["message"] == "This console is for looking only."
    assert not line(node, "watched").tx_bytes


def test_an_observer_sees_what_the_student_sees_and_sends_nothing(node: Node) -> None:
    session, _ = node.session()
    link = node.lab._node.observers.link(session)
    status, headers, _ = node.http("GET", urlsplit(link).path)
    assert status == 302
    observer = Terminal(node, headers["set-cookie"].partition(";")[0])
    assert observer.hello["read_only"]
    before = session.last_poll
    observer.page.send(b"hello")
    assert observer.news("refused")
    assert session.last_poll == before
    line(node).received.write(b"what the student sees")
    line(node)._notify()
    observer.sees(b"what the student sees")
    node.end(session)
    assert observer.page.closing().code == 4001


# --- a real port ---


def test_what_a_device_says_at_three_megabaud_reaches_the_page_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, near = os.openpty()
    tty.setraw(near)
    devices = DEVICES.replace("/dev/ttyTEST", os.ttyname(near))
    monkeypatch.setattr(
        "labnode.drivers.serial.options.ScriptedPort",
        lambda path, *_: TtyPort(path, 3_000_000, Frame()) if "pts" in path else Silent(path),
    )
    everything = random.Random(4).randbytes(3_000_000)
    with running(tmp_path, devices=devices) as node:
        _, cookie = node.session()
        terminal = Terminal(node, cookie)
        os.close(near)
        talker = threading.Thread(target=say, args=(far, everything))
        talker.start()
        while len(terminal.seen) < len(everything):
            message = terminal.page.message()
            assert isinstance(message, bytes), message
            terminal.seen += message
        talker.join()
        assert terminal.seen == everything
        terminal.page.send(everything[:60_000])
        assert hear(far, 60_000) == everything[:60_000]
    os.close(far)


class Silent:
    """A port where nothing happens."""

    descriptor = None

    def __init__(self, path: str) -> None:
        self.path = path

    def due(self) -> None:
        return None

    def read(self) -> bytes:
        return b""

    def close(self) -> None: ...


def say(far: int, data: bytes) -> None:
    while data:
        data = data[os.write(far, data[:4096]) :]


def hear(far: int, number: int) -> bytes:
    heard = b""
    while len(heard) < number:
        heard += os.read(far, number - len(heard))
    return heard
