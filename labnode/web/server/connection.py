"""One client's connection, and the limits that it has to keep."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address

from labnode.web.server.request import Request, RequestReader


class ClientGone(Exception):
    """The client has closed its connection or does not take the answer: nobody's fault."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may use; times in seconds, sizes in bytes."""

    read_deadline: float  # for one whole request, and for taking one piece of the answer
    keep_alive: float  # between two requests
    max_head: int
    max_body: int
    memory: int  # all requests together
    connections: int
    per_address: int
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()  # exempt from per_address


class State(Enum):
    """What a connection is doing."""

    IDLE = "no byte of a request has come"
    READING = "a part of a request has come"
    SERVING = "a whole request is with the application"
    LINGERING = "the last answer is sent, what still comes is thrown away"


class Connection:
    """One client's socket; lent to whoever serves its request, else touched by its loop only."""

    def __init__(self, sock: socket.socket, address: str, port: int, limits: Limits) -> None:
        self.socket = sock
        self.address = address.removeprefix("::ffff:")  # IPv4 on an IPv6 listener
        self.port = port
        self.trusted = any(ip_address(self.address) in network for network in limits.trusted)
        self.request: Request | None = None  # the one that is being served
        self.keep = True  # for another request
        self.reader = RequestReader(limits.max_head, limits.max_body)
        self.state = State.IDLE
        self.since = 0.0  # when it entered its state
        self.deadline: float | None = None  # when it has to leave it
        self._send_deadline = limits.read_deadline

    @property
    def size(self) -> int:
        """Bytes of requests held in memory."""
        return self.reader.size + (len(self.request.body) if self.request else 0)

    def send(self, data: bytes) -> None:
        """Wait until the client's side has taken all of `data`; ClientGone when it does not."""
        try:
            self.socket.settimeout(self._send_deadline)  # sendall: for all of it together
            self.socket.sendall(data)
        except OSError as error:
            raise ClientGone from error
