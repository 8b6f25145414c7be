"""Clients of many addresses that write or read slowly, and what the others get meanwhile."""

from __future__ import annotations

import math
import socket
import statistics
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from labnode.clock import Clock
from labnode.errors import LabnodeError
from tests.kit.figures import FigureReporter
from tests.kit.target import Target
from tests.kit.waiting import PATIENCE
from tests.web.sockets import Page

POLLS = 30
PROMISED = 0.5  # seconds
SESSIONS = 10
HALF = b"POST /api/devices/switch/set HTTP/1.1\r\nHost: lab\r\nX-Drip: "
UNREAD = b"GET /static/page.css HTTP/1.1\r\nHost: lab\r\n\r\n" * 100  # more than the kernel keeps


class Slow:
    """A client that writes or reads slowly, and comes again when it is cut off."""

    def __init__(self, target: Target, number: int) -> None:
        self.cut_off = 0
        self._target = target
        self._source = f"127.{number // 250 + 1}.{number % 250 + 1}.{number % 200 + 2}"
        self._writes = number % 2 == 0
        self._socket: socket.socket | None = None

    def turn(self) -> None:
        """Send a little."""
        try:
            if self._socket is None:
                self._begin()
            elif self._writes:
                self._socket.send(b"x")
            elif self._is_closed(self._socket):
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            self.cut_off += 1
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _begin(self) -> None:
        self._socket = sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE)
        sock.bind((self._source, 0))
        sock.connect(self._target.address)
        sock.setblocking(False)
        sock.send(HALF if self._writes else UNREAD)

    @staticmethod
    def _is_closed(sock: socket.socket) -> bool:
        """Whether the node has reset it; what has come stays unread."""
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


class Attack:
    """Slow clients that go on, each once a second, until the end of the block."""

    def __init__(self, target: Target, count: int) -> None:
        self.clients = [Slow(target, number) for number in range(count)]
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Attack:
        self._thread.start()
        assert self._begun.wait(PATIENCE)
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)
        for client in self.clients:
            client.close()

    def _run(self) -> None:
        while not self._ended.wait(1.0 if self._begun.is_set() else 0.0):
            for client in self.clients:
                client.turn()
            self._begun.set()


def websocket(target: Target, cookie: str) -> Page:
    page = Page(target.address, "/api/live", target.url, cookie)
    page.ask()
    assert page.read_head() == 101
    return page


def test_slow_clients_of_many_addresses_keep_no_server_and_no_student_out(
    tmp_path: Path, long_run: bool, figure: FigureReporter
) -> None:
    slow, pages = (500, 100) if long_run else (100, 20)
    now = Clock().now
    times = []
    with ExitStack() as stack:
        target = stack.enter_context(Target(tmp_path))
        students = [target.student() for _ in range(SESSIONS)]
        for number in range(pages):
            page = websocket(target, students[number % SESSIONS].cookie)
            stack.callback(page.close)
        attack = stack.enter_context(Attack(target, slow))
        for number in range(POLLS):
            began = now()
            with suppress(OSError, LabnodeError):
                assert target.server.status(students[number % SESSIONS].session_id) > 0
                times.append(now() - began)
            assert students[number % SESSIONS].get("/api/state").status == 200
            time.sleep(0.5 if long_run else 0.0)
        cut_off = sum(client.cut_off for client in attack.clients)
    slowest = sorted(times)[math.ceil(0.95 * len(times)) - 1] if times else math.inf
    figure(
        f"{slow} slow connections of many addresses and {pages} WebSockets: status polls of the "
        "central server, 95 % of them within",
        f"{POLLS} of {POLLS} served, {PROMISED * 1000:.0f} ms",
        f"{len(times)} of {POLLS} served, {slowest * 1000:.0f} ms "
        f"(median {statistics.median(times) * 1000:.0f} ms; slow ones cut off: {cut_off})",
    )
    assert len(times) == POLLS
    if long_run:
        assert cut_off > 0
        assert slowest <= PROMISED
