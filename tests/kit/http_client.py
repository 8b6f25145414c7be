"""A socket, and just enough HTTP to see exactly what a server sends."""

from __future__ import annotations

import json
import select
import socket
import struct
from dataclasses import dataclass
from typing import Any

from labnode.http import WebServer
from tests.kit.waiting import PATIENCE


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A client of a server, from `source` as its address."""

    def __init__(self, server: WebServer, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(server.address, PATIENCE, (source, 0))
        self.file = self.socket.makefile("rb")

    def send(self, *pieces: bytes) -> Client:
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def get(self, path: str = "/", *headers: str) -> Answer:
        lines = [f"GET {path} HTTP/1.1", "Host: lab", *headers, "", ""]
        return self.send("\r\n".join(lines).encode("latin-1")).answer()

    def answer(self, *, bodyless: bool = False) -> Answer:
        version, status, _ = self.file.readline().split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = {}
        while (line := self.file.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        if bodyless or status in (b"100", b"101", b"204", b"304"):
            body = b""
        elif "content-length" in headers:
            body = self.file.read(int(headers["content-length"]))
        elif "transfer-encoding" in headers:
            chunks = []
            while size := int(self.file.readline(), 16):
                chunks.append(self.file.read(size))
                assert self.file.read(2) == b"\r\n"
            assert self.file.readline() == b"\r\n"
            body = b"".join(chunks)
        else:
            body = self.file.read()
        return Answer(int(status), headers, body)

    def ended(self) -> bool:
        """Wait for the end of the connection; False when there is something else."""
        try:
            return self.file.read(1) == b""
        except ConnectionError:
            return True

    def readable(self, seconds: float) -> bool:
        return bool(select.select([self.socket], [], [], seconds)[0])

    def reset(self) -> None:
        """Vanish without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()
