"""One client's connection, and the limits that it has to keep."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address
from wsgiref.types import WSGIEnvironment

import h11

from labnode.http.request import RequestReader
from labnode.http.writer import Large, Writer, nothing_large


class ClientGone(Exception):
    """The client has closed its connection or does not take the answer: nobody's fault."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may use; times in seconds, sizes in bytes."""

    read_deadline: float  # for one whole request, and for taking one piece of the answer
    keep_alive: float  # between two requests
    max_head: int
    max_body: int
    memory: int  # all bodies together
    connections: int
    per_address: int
    large: Large = nothing_large  # bodies that go elsewhere than into memory
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()  # exempt from per_address


class Body:
    """The rest of an answer; whoever has it owns `socket`."""

    def __init__(self, sock: socket.socket, http: h11.Connection) -> None:
        self.socket = sock
        self._http = http

    def framed(self, data: bytes) -> bytes:
        """`data` as it goes over the wire."""
        return bytes(self._http.send(h11.Data(data=data)) or b"")


class State(Enum):
    """What a connection is doing."""

    IDLE = "no byte of a request has come"
    READING = "a part of a request has come, or a large body is not all written"
    SERVING = "a whole request is with the application"
    LINGERING = "the last answer is sent, what still comes is thrown away"


class Connection:
    """One client's socket; lent to whoever serves its request, else touched by its loop only.

    Whoever serves a request may go on with another protocol: send h11's 101 answer, and own the
    socket from then on. What the client has sent since is in `reader.http.trailing_data`. Or it may
    `hand_over` an answer whose body does not end soon.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: str,
        port: int,
        limits: Limits,
        writer: Writer | None = None,
    ) -> None:
        self.socket = sock
        self.address = address.removeprefix("::ffff:")  # IPv4 on an IPv6 listener
        self.port = port
        self.trusted = any(ip_address(self.address) in network for network in limits.trusted)
        self.request: WSGIEnvironment | None = None  # the one that is being served
        self.reader = RequestReader(limits.max_head, limits.max_body, writer)
        self.state = State.IDLE
        self.since = 0.0  # when it entered its state
        self.deadline: float | None = None  # when it has to leave it
        self.handed_over = False
        self.successor: Callable[[Body], None] | None = None
        self._send_deadline = limits.read_deadline

    def hand_over(self, successor: Callable[[Body], None]) -> None:
        """Have `successor` own the rest of the answer, once its head and what the view returns of
        its body are sent. The connection ends with it; a client that goes before never gets there.
        """
        self.successor = successor

    @property
    def reusable(self) -> bool:
        """Whether its request is answered and another one may follow."""
        return self.reader.http.our_state is h11.DONE

    def succeed(self) -> None:
        """Hand over now."""
        assert self.successor is not None
        self.handed_over = True
        # As another object: the server may still close the one that it knows, when it stops.
        self.successor(Body(socket.socket(fileno=self.socket.detach()), self.reader.http))

    @property
    def switched(self) -> bool:
        """Whether it goes on with another protocol."""
        return self.reader.http.our_state is h11.SWITCHED_PROTOCOL

    def send(self, data: bytes) -> None:
        """Wait until the client's side has taken all of `data`; ClientGone when it does not."""
        try:
            self.socket.settimeout(self._send_deadline)  # sendall: for all of it together
            self.socket.sendall(data)
        except OSError as error:
            self.reader.http.send_failed()
            raise ClientGone from error
