"""What goes over the control socket: a line with a command, then a line with a JSON object.

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
    """The socket's address inside the block, which fits however long the directory's path is.

    A path in an address has at most 107 bytes; this one goes by the directory's descriptor.
    """
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def read_line(connection: socket.socket, *, timeout: float, limit: int) -> str:
    """The line that comes, without its end; OSError (TimeoutError) when it does not come in time.

    What ends without a line end, or is longer than `limit` bytes, is not a line: ValueError.
    """
    now = Clock().now
    deadline = now() + timeout
    data = b""
    while not data.endswith(b"\n"):
        left = deadline - now()
        if left <= 0:
            raise TimeoutError("the line did not come in time")
        connection.settimeout(left)
        part = connection.recv(65536)
        data += part
        if not part or len(data) > limit:
            raise ValueError("this is not a line")
    return data[:-1].decode()
