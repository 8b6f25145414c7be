"""An HTTP client that costs little beside what it measures: raw sockets, one request at a time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.kit.waiting import PATIENCE

Address = tuple[str, int]


class Reply:
    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: bytes) -> str:
        """Its value; "" where there is none."""
        _, found, rest = self.head.lower().partition(b"\r\n" + name + b":")
        start = len(self.head) - len(rest)
        return self.head[start:].partition(b"\r\n")[0].strip().decode() if found else ""


class Client:
    """One client with the headers that it sends each time.

    `keep`: its connection stays open, unless the server closes it. `host` is only the header.
    """

    def __init__(self, address: Address, *headers: str, keep: bool = True) -> None:
        self._address = address
        self._keep = keep
        more = [*headers, f"Host: {address[0]}:{address[1]}"]
        more += [] if keep else ["Connection: close"]
        self.headers = more
        self._socket: socket.socket | None = None

    def ask(self, method: str, path: str, data: Any = None) -> Reply:
        """The answer, whatever its status."""
        lines = [f"{method} {path} HTTP/1.1", *self.headers]
        body = b""
        if method == "POST":
            body = b"" if data is None else json.dumps(data).encode()
            lines += [f"Content-Length: {len(body)}"]
            lines += ["Content-Type: application/json"] if body else []
        request = "\r\n".join([*lines, "", ""]).encode() + body
        kept = self._socket is not None
        try:
            return self._exchange(request)
        except (ConnectionResetError, BrokenPipeError):
            if not kept:
                raise
            return self._exchange(request)  # it was closed just then

    def get(self, path: str) -> Reply:
        return good(self.ask("GET", path))

    def post(self, path: str, data: Any = None) -> Reply:
        return good(self.ask("POST", path, data))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes) -> Reply:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(request)
            reply = self._read(self._socket)
        except OSError:
            self.close()
            raise
        if not self._keep or b"connection: close" in reply.head.lower():
            self.close()
        return reply

    @staticmethod
    def _read(sock: socket.socket) -> Reply:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += _received(sock)
        head, body = data[: end + 2], data[end + 4 :]
        reply = Reply(int(head.split(b" ", 2)[1]), head, b"")
        if "chunked" in reply.header(b"transfer-encoding"):
            while not body.endswith(b"0\r\n\r\n"):
                body += _received(sock)
            body = _unchunked(body)
        length = int(reply.header(b"content-length") or 0)
        while len(body) < length:
            body += _received(sock)
        reply.body = body
        return reply


def _unchunked(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        whole, data = whole + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return whole


def _received(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise ConnectionResetError("the server has closed the connection")
    return data


def good(reply: Reply) -> Reply:
    """The reply, which is no error."""
    assert reply.status < 400, (reply.status, reply.body[:300])
    return reply


def timed(number: int, work: Callable[[], object]) -> list[float]:
    """Seconds that `work` takes, each time."""
    seconds = []
    for _ in range(number):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def together(works: list[Callable[[], list[float]]]) -> tuple[list[float], float]:
    """All at once, each in a thread: the seconds that they return, and how long it took."""
    results: list[list[float]] = []
    failed: list[BaseException] = []
    start = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], list[float]]) -> None:
        start.wait()
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 (it is raised below)
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    lasted = time.perf_counter() - began
    if failed:
        raise failed[0]
    return [seconds for result in results for seconds in result], lasted
