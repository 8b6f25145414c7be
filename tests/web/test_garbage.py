"""Requests that are over leave nothing in memory that only the search for garbage would find."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager

from labnode.http import Connection
from labnode.http.request import RequestReader
from tests.kit import malformed
from tests.kit.basic_auth import basic
from tests.kit.waiting import eventually

from .sockets import Node

REQUESTS = 300


@contextmanager
def no_search_for_garbage() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left(kind: type) -> int:
    return sum(isinstance(each, kind) for each in gc.get_objects())


def test_requests_that_are_over_are_freed_at_once(node: Node) -> None:
    _, cookie = node.session()
    listener = node.agent.web._listener
    assert listener is not None
    chance = random.Random(13)
    with no_search_for_garbage():
        for _ in range(REQUESTS):
            request = malformed.request(chance, cookie, basic("weblab:weblab"))
            malformed.answers(node.address, request.encoded())
        command = b'{"value": 3}'  # which the hardware thread refuses
        head = f"POST /api/devices/switch/set HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n"
        answer = malformed.answers(
            node.address, f"{head}Content-Length: {len(command)}\r\n\r\n".encode() + command
        )
        assert b"400 Bad Request" in answer
        eventually(lambda: not listener.connections.members)
        eventually(lambda: left(Connection) == 0)
        eventually(lambda: left(RequestReader) == 0)
