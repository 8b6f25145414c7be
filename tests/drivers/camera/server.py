"""An MJPEG server that does what a test says, at a port or a Unix socket."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 10.0

Answer = Callable[[socket.socket], None]


def jpeg(number: int, size: int = 100) -> bytes:
    """Nobody looks into it; it begins as one, and has line ends and marks inside."""
    return (
        b"\xff\xd8" + b"\r\n--not the boundary\r\n" + b"%06d" % number + b"x" * size + b"\xff\xd9"
    )


def head(boundary: str = "b", status: str = "200 OK", more: str = "") -> bytes:
    kind = f"multipart/x-mixed-replace; boundary={boundary}"
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}\r\n".encode()


def part(picture: bytes, boundary: str = "b", *, length: bool = True, more: str = "") -> bytes:
    about = f"Content-Length: {len(picture)}\r\n" if length else ""
    lines = f"--{boundary}\r\nContent-Type: image/jpeg\r\n{about}{more}\r\n"
    return lines.encode() + picture + b"\r\n"


class Server:
    """Every connection is answered by `answer`; `requests` is what was asked."""

    def __init__(self, sock: socket.socket, answer: Answer) -> None:
        self.answer = answer
        self.requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.open = 0  # connections now
        self.all = 0  # … that there have been
        self._listener = sock
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        self.open += 1
        self.all += 1
        with contextlib.suppress(OSError), sock:
            sock.settimeout(PATIENCE)  # fails, too, where the server has stopped meanwhile
            self.requests.put(sock.recv(4096))
            self.answer(sock)
        self.open -= 1

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(PATIENCE)  # no other connection comes after it
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # its thread closes it
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(PATIENCE)


def endless(pause: float = 0.001, size: int = 100) -> Answer:
    """Pictures until the other side has gone."""

    def answer(sock: socket.socket) -> None:
        sock.sendall(head())
        gone = threading.Event()
        number = 0
        while not gone.wait(pause):
            number += 1
            sock.sendall(part(jpeg(number, size)))

    return answer


def once(data: bytes, pieces: int = 1 << 20) -> Answer:
    """These bytes, and then silence until the other side has gone."""

    def answer(sock: socket.socket) -> None:
        for at in range(0, len(data), pieces):
            sock.sendall(data[at : at + pieces])
        sock.recv(1)

    return answer


@contextmanager
def serving(answer: Answer, path: Path | None = None) -> Iterator[tuple[Server, str]]:
    """The server and its address."""
    if path is None:
        sock = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/stream?x=1"
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        url = str(path)
    server = Server(sock, answer)
    try:
        yield server, url
    finally:
        server.stop()
