"""A node with WebSockets on a real port, and pages that speak to it byte by byte."""

from __future__ import annotations

import base64
import http.client
import json
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from labnode.http.websocket import Channel, WebSocketLimits
from labnode.sessions import Reason, Session, StartRequest
from labnode.web.lab_websockets import WebSockets
from labnode.weblab.fake import CentralServer
from tests.kit.agents import agent_of
from tests.kit.waiting import PATIENCE

BOARD = """
schema: 1
title: Bench
lab: {name: bench}
session: {users: 8, timeout: -1, connect_timeout: 3600, poll_interval: 5}
module: bench.py
devices:
  switch: {driver: digital_output, pin: GPIO17}
"""

MODULE = """
import threading
from labnode import Lab

lab = Lab()
news = []
release = threading.Event()


@lab.on_dispose
def dispose():
    lab.push("dispose")


@lab.websocket("/echo")
def echo(ws):
    for message in ws:
        ws.send(message)
    news.append(("closed", ws.closed, ws.receive(0)))


@lab.websocket("/who", access="public")
def who(ws):
    for message in ws:
        ws.send({"user": lab.user.username, "active": lab.user.active, "data": dict(lab.user.data)})


@lab.websocket("/after", access="login")
def after(ws):
    for message in ws:
        ws.send({"user": lab.user.username, "active": lab.user.active})


@lab.websocket("/say/<word>")
def say(ws, word):
    ws.send(word)


@lab.websocket("/count")
def count(ws):
    ws.receive()
    for number in range(2000):
        ws.send(bytes([number % 256]) * 4096)


@lab.websocket("/bye")
def bye(ws):
    ws.receive()
    ws.close(4321, "enough")
    try:
        ws.send("too late")
    except ConnectionError as error:
        news.append(("error", str(error)))


@lab.websocket("/broken")
def broken(ws):
    ws.send("before")
    raise RuntimeError("the handler's own fault")


@lab.websocket("/stuck")
def stuck(ws):
    ws.send("stuck")
    release.wait(30)
    for message in ws:
        ws.send(message)


@lab.websocket("/patient")
def patient(ws):
    ws.send({"first": ws.receive(0.01), "closed": ws.closed})
    ws.receive()


@lab.websocket("/switch")
def switch(ws):
    for message in ws:
        lab.devices.switch.set(message == "on")
        ws.send({"switch": lab.devices.switch.value})


@lab.websocket("/waiting")
def waiting(ws):
    ws.send("waiting")
    while lab.wait(60):
        pass


@lab.task(unique="global")
def on_the_board():
    lab.push("task", {"thread": threading.current_thread().name})


@lab.task()
def in_the_background():
    lab.push("task", {"thread": threading.current_thread().name})


@lab.app.get("/page")
def page():
    return "<title>bench</title>"


@lab.app.post("/push")
def push():
    lab.push("view", lab.user.username)
"""


class Node:
    """An agent that listens, its board with more `devices`; `limits` are the WebSockets' own."""

    def __init__(
        self,
        directory: Path,
        limits: WebSocketLimits | None = None,
        *,
        devices: str = "",
        **settings: Any,
    ) -> None:
        (directory / "bench.yaml").write_text(BOARD + devices)
        (directory / "bench.py").write_text(MODULE)
        with patch("labnode.node.runtime.WebSockets", partial(WebSockets, limits=limits)):
            self.agent = agent_of(directory / "bench.yaml", settings=settings)
        self.lab = self.agent.runtime.lab
        self.module = sys.modules[self.lab.functions["on_the_board"].__module__]
        self.agent.start()
        self.server = CentralServer(self.agent.url, "weblab", "weblab")
        self.pages: list[Page] = []

    def stop(self) -> None:
        self.module.release.set()
        for page in self.pages:
            page.close()
        self.agent.stop()

    def session(self, name: str = "ada") -> tuple[Session, str]:
        """A session, and the cookie of its browser."""
        number = len(self.agent.sessions.live())
        request = StartRequest(
            client=f"server-{number}", length=600, username=name, username_unique=name
        )
        session = self.agent.sessions.start(request)
        status, headers, _ = self.http("GET", f"/callback/{session.token}")
        assert status == 302
        cookie = headers["set-cookie"].partition(";")[0]
        assert self.http("GET", "/page", Cookie=cookie)[0] == 200  # now it is this browser's
        return session, cookie

    def end(self, session: Session, reason: Reason = Reason.EXITED) -> None:
        self.agent.sessions.end(session, reason)

    def channels(self) -> list[Channel]:
        """The WebSockets that are open and not about to be closed."""
        return [c for c in self.agent.runtime.websockets._channels.members if c.ending is None]

    @property
    def address(self) -> tuple[str, int]:
        return self.agent.web.address

    @property
    def origin(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def http(self, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        base = urlsplit(self.agent.url).path
        connection.request(method, base + path, headers=names)
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, body

    def open(self, path: str, cookie: str = "", *, more: bytes = b"", **options: str) -> Page:
        """A page whose WebSocket has been accepted."""
        page = Page(self.address, urlsplit(self.agent.url).path + path, self.origin, cookie)
        self.pages.append(page)
        page.ask(more=more, **options)
        status = page.read_head()
        assert status == 101, (status, page.rest)
        return page

    def refused(self, path: str, cookie: str = "", **options: Any) -> int:
        """The status with which a WebSocket is refused."""
        page = Page(self.address, urlsplit(self.agent.url).path + path, self.origin, cookie)
        try:
            page.ask(**options)
            return page.read_head()
        finally:
            page.close()


class Page:
    """A browser's end of a WebSocket."""

    def __init__(self, address: tuple[str, int], path: str, origin: str, cookie: str) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self.path = path
        self.headers = {
            "Host": f"{address[0]}:{address[1]}",
            "Origin": origin,
            "Connection": "keep-alive, Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Cookie": cookie,
        }
        self.protocol = Connection(ConnectionType.CLIENT)
        self.rest = b""
        self.events: Iterator[Event] = iter(())

    def ask(self, *, method: str = "GET", more: bytes = b"", **headers: str | None) -> None:
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {v}" for name, v in {**self.headers, **changed}.items() if v is not None]
        head = "\r\n".join([f"{method} {self.path} HTTP/1.1", *lines, "", ""])
        self.socket.sendall(head.encode() + more)

    def read_head(self) -> int:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            assert piece, f"the connection has ended after {data!r}"
            data += piece
        head, _, self.rest = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        if status == 101:
            self.protocol.receive_data(self.rest)
        return status

    def send(self, message: str | bytes) -> Page:
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        return self.send_raw(self.protocol.send(event))

    def send_raw(self, data: bytes) -> Page:
        self.socket.sendall(data)
        return self

    def part(self, data: str, *, last: bool) -> Page:
        return self.send_raw(self.protocol.send(TextMessage(data, message_finished=last)))

    def event(self) -> Event:
        """The next thing that comes; frames of one message are put together."""
        whole: str | bytes | None = None
        while True:
            for event in self.protocol.events():
                if isinstance(event, TextMessage | BytesMessage):
                    data: Any = event.data
                    whole = data if whole is None else whole + data
                    if event.message_finished:
                        return type(event)(whole)
                else:
                    return event
            piece = self.socket.recv(65536)
            self.protocol.receive_data(piece or None)

    def message(self) -> Any:
        """The next message."""
        event = self.event()
        assert isinstance(event, TextMessage | BytesMessage), event
        return event.data

    def json(self) -> Any:
        return json.loads(self.message())

    def closing(self) -> CloseConnection:
        """Read until the node closes, answer that, and wait for the end of the connection."""
        while not isinstance(event := self.event(), CloseConnection):
            pass
        if event.code != 1006:
            self.send_raw(self.protocol.send(event.response()))
            assert self.at_end()
        return event

    def at_end(self) -> bool:
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def ping(self, payload: bytes = b"") -> bytes:
        self.send_raw(self.protocol.send(Ping(payload)))
        event = self.event()
        assert isinstance(event, Pong)
        return bytes(event.payload)

    def hears_nothing(self, seconds: float = 0.05) -> bool:
        return not select.select([self.socket], [], [], seconds)[0]

    def leave(self) -> None:
        """Close in order."""
        self.send_raw(self.protocol.send(CloseConnection(1000, "leaving")))
        event = self.event()
        assert isinstance(event, CloseConnection)
        assert event.code == 1000
        assert self.at_end()
        self.close()

    def vanish(self) -> None:
        """Without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


@contextmanager
def running(directory: Path, **settings: Any) -> Iterator[Node]:
    node = Node(directory, **settings)
    try:
        yield node
    finally:
        node.stop()
