"""The protocol of the control socket: a line with a command, then a line with a JSON object.

A command may have options, a JSON object after its name: `tasks {"last": 5}`. The answer
is {"result": {...}} or {"error": {"code": ..., "message": ...}}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labnode.clock import Clock

NAME = "control.sock"  # in the state directory


@contextmanager
def address(directory: Path) -> Iterator[str]:
    """The socket's address during the block: by a descriptor, as paths have at most 107 bytes."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


class LineBuffer:
    """A line that comes in parts, `limit` bytes at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = b""

    def add(self, part: bytes) -> bool:
        """Add a part, b"" at the end of the stream; True when there is nothing more to wait for."""
        self._data += part
        return not part or len(self._data) > self._limit or self._data.endswith(b"\n")

    def text(self) -> str:
        """The line without its end; ValueError if it has no end, is too long or not UTF-8."""
        if len(self._data) > self._limit or not self._data.endswith(b"\n"):
            raise ValueError("this is not a line")
        return self._data[:-1].decode()


def read_line(connection: socket.socket, *, timeout: float, limit: int) -> str:
    """The next line; TimeoutError when it is late, other OSErrors, ValueError as in text()."""
    now = Clock().now
    deadline = now() + timeout
    line = LineBuffer(limit)
    whole = False
    while not whole:
        left = deadline - now()
        if left <= 0:
            raise TimeoutError("the line did not come in time")
        connection.settimeout(left)
        whole = line.add(connection.recv(65536))
    return line.text()
