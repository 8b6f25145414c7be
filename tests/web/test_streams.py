"""Streams of pictures: to the session's browsers alone, and never more than one picture behind."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from labnode.http import Connection
from labnode.web.camera import Streams
from tests.kit.waiting import PATIENCE, eventually

from .sockets import Node, running

DEVICES = """\
  camera: {driver: mjpeg, device: /dev/video0, rate: 60}
  hidden: {driver: mjpeg, device: /dev/video1, access: system}
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(tmp_path, devices=DEVICES) as node:
        yield node


def streams(node: Node) -> Streams:
    return node.agent.runtime.streams


def viewers(node: Node) -> int:
    return len(streams(node)._viewers.members)


def looked_at(node: Node) -> bool:
    driver: Any = node.agent.board.file.devices["camera"]
    return bool(driver.capture._viewers)


class Browser:
    """A browser that has opened a stream."""

    def __init__(self, node: Node, cookie: str, *, version: str = "HTTP/1.1") -> None:
        self.socket = socket.create_connection(node.address, PATIENCE)
        lines = [f"GET /api/devices/camera/stream {version}", "Host: x", f"Cookie: {cookie}"]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.reply = http.client.HTTPResponse(self.socket)
        self.reply.begin()
        assert self.reply.status == 200

    def picture(self) -> bytes:
        """The next picture, and what has to come before and after it."""
        assert self.reply.readline() == b"--labnode-picture\r\n"
        assert self.reply.readline() == b"Content-Type: image/jpeg\r\n"
        name, _, length = self.reply.readline().partition(b": ")
        assert name == b"Content-Length"
        assert self.reply.readline().startswith(b"Labnode-Taken: ")
        assert self.reply.readline() == b"\r\n"
        picture = self.reply.read(int(length))
        assert self.reply.readline() == b"\r\n"
        return picture

    def ends(self) -> bool:
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.reply.close()
        self.socket.close()


@pytest.fixture
def browse(node: Node) -> Iterator[Any]:
    browsers: list[Browser] = []

    def browse(cookie: str, **options: Any) -> Browser:
        browsers.append(Browser(node, cookie, **options))
        return browsers[-1]

    yield browse
    for browser in browsers:
        browser.close()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_browser_sees_pictures_one_after_the_other(node: Node, browse: Any, version: str) -> None:
    browser = browse(node.session()[1], version=version)
    assert browser.reply.getheader("Content-Type") == (
        "multipart/x-mixed-replace; boundary=labnode-picture"
    )
    assert browser.reply.getheader("Cache-Control") == "no-store"
    assert browser.reply.getheader("X-Accel-Buffering") == "no"
    assert browser.reply.getheader("Connection") == "close"
    assert browser.reply.getheader("X-Content-Type-Options") == "nosniff"
    pictures = [browser.picture() for _ in range(4)]
    assert all(p.startswith(b"\xff\xd8") and p.endswith(b"\xff\xd9") for p in pictures)
    assert len(set(pictures)) == 4


def test_two_browsers_share_one_capture(node: Node, browse: Any) -> None:
    _, cookie = node.session()
    one, other = browse(cookie), browse(cookie)
    assert one.picture()
    assert other.picture()
    assert viewers(node) == 2


def test_nothing_is_taken_any_more_when_the_last_browser_has_left(node: Node, browse: Any) -> None:
    browser = browse(node.session()[1])
    browser.picture()
    assert looked_at(node)
    browser.close()
    eventually(lambda: not looked_at(node))
    assert viewers(node) == 0


def test_a_stream_is_cut_at_the_end_of_its_session(node: Node, browse: Any) -> None:
    session, cookie = node.session()
    browser = browse(cookie)
    browser.picture()
    node.end(session)
    assert browser.ends()
    eventually(lambda: not looked_at(node))


def test_streams_take_no_thread_of_the_pool(node: Node, browse: Any) -> None:
    cookies = [node.session(name)[1] for name in ("ada", "bob", "cy", "dan", "eve", "fay")]
    browsers = [browse(cookie) for cookie in cookies for _ in range(4)]  # more than there are
    for browser in browsers:
        browser.picture()
    assert node.http("GET", "/api/session", Cookie=cookies[0])[0] == 200


def test_too_many_streams_of_one_session_are_refused(node: Node, browse: Any) -> None:
    _, cookie = node.session()
    for _ in range(4):
        browse(cookie)
    eventually(lambda: viewers(node) == 4)
    status, _, body = node.http("GET", "/api/devices/camera/stream", Cookie=cookie)
    assert status == 503
    assert b"too many pages that show a camera" in body


def test_a_browser_that_is_slow_misses_pictures_and_costs_no_memory(
    node: Node, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cookie = node.session()
    slow, quick = browse(cookie), browse(cookie)
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    driver: Any = node.agent.board.file.devices["camera"]
    for _ in range(100):
        quick.picture()
    for viewer in streams(node)._viewers.members:
        assert len(viewer._out) <= 10_000  # a picture
    assert driver.capture.latest.number >= 100
    assert slow.picture()


def test_a_browser_that_takes_nothing_is_dropped(
    node: Node, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.web.camera._STALLED", 0.05)
    sent: list[bytes] = []
    monkeypatch.setattr(Connection, "framed", lambda self, data: sent.append(data) or data * 2000)
    browse(node.session()[1])
    eventually(lambda: sent)
    eventually(lambda: viewers(node) == 0)


def test_a_stalled_stream_and_a_slow_websocket_delay_no_request(
    node: Node, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    framed = Connection.framed
    monkeypatch.setattr(Connection, "framed", lambda self, data: framed(self, data) * 2000)
    _, cookie = node.session()
    browse(cookie)  # reads nothing
    eventually(lambda: [viewer for viewer in streams(node)._viewers.members if viewer._out])
    node.open("/count", cookie).send("go")  # nor does this one, of 8 MB
    eventually(lambda: [channel for channel in node.channels() if channel._queue])
    for _ in range(20):
        assert node.http("GET", "/api/session", Cookie=cookie)[0] == 200
    assert viewers(node) == 1
    assert [channel for channel in node.channels() if channel._queue]


def test_a_large_picture_is_sent_in_pieces_between_which_others_have_their_turn(
    node: Node, browse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[int] = []

    class Taking:
        """A socket that takes whatever it gets."""

        def __init__(self, sock: socket.socket) -> None:
            self.fileno, self.close, self.recv = sock.fileno, sock.close, sock.recv

        def send(self, data: memoryview) -> int:
            pieces.append(len(data))
            return len(data)

    monkeypatch.setattr(Connection, "framed", lambda self, data: data.ljust(500_000))
    browser = browse(node.session()[1])
    eventually(lambda: viewers(node))
    (viewer,) = streams(node)._viewers.members
    viewer.socket = Taking(viewer.socket)  # type: ignore[assignment]
    eventually(lambda: len(pieces) > 20)
    assert max(pieces) == 1 << 16
    browser.close()


def test_a_snapshot_is_one_picture(node: Node) -> None:
    _, cookie = node.session()
    status, headers, body = node.http("GET", "/api/devices/camera/snapshot", Cookie=cookie)
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert body.startswith(b"\xff\xd8")
    assert headers["cache-control"] == "no-store"


def test_a_snapshot_that_cannot_be_taken_says_why(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cookie = node.session()
    monkeypatch.setattr("labnode.web.camera._SNAPSHOT_WITHIN", 0.01)
    driver: Any = node.agent.board.file.devices["camera"]
    monkeypatch.setattr(driver.capture, "_latest_since", lambda at: None)
    status, _, body = node.http("GET", "/api/devices/camera/snapshot", Cookie=cookie)
    assert status == 503
    assert b"'camera' has no picture" in body


@pytest.mark.parametrize("what", ["stream", "snapshot"])
def test_pictures_are_for_the_active_student_alone(node: Node, what: str) -> None:
    session, cookie = node.session()
    assert node.http("GET", f"/api/devices/camera/{what}")[0] == 403
    for name in ("hidden", "switch", "nothing"):
        assert node.http("GET", f"/api/devices/{name}/{what}", Cookie=cookie)[0] == 404
    node.end(session)
    assert node.http("GET", f"/api/devices/camera/{what}", Cookie=cookie)[0] == 403


def test_an_observer_sees_the_camera(node: Node, browse: Any) -> None:
    session, _ = node.session()
    link = node.lab._node.observers.link(session)
    _, headers, _ = node.http("GET", urlsplit(link).path)
    browser = browse(headers["set-cookie"].partition(";")[0])
    assert browser.picture()
    node.end(session)
    assert browser.ends()


def test_head_is_answered_and_ends(node: Node) -> None:
    _, cookie = node.session()
    assert node.http("HEAD", "/api/devices/camera/stream", Cookie=cookie)[0] == 200
    assert viewers(node) == 0


def lasting_threads() -> list[str]:
    """All but those of the web server's pool, which go when they have had no job for a minute."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if not name.startswith("http-")]


def test_browsers_that_come_and_go_leave_nothing_behind(node: Node) -> None:
    _, cookie = node.session()
    first = Browser(node, cookie)
    first.picture()
    first.close()
    eventually(lambda: viewers(node) == 0)
    threads = len(lasting_threads())
    for _ in range(20):
        browsers = [Browser(node, cookie) for _ in range(4)]
        browsers[0].picture()
        eventually(lambda: viewers(node) == 4)
        for browser in browsers:
            browser.close()
        eventually(lambda: viewers(node) == 0)
    assert not looked_at(node)
    eventually(lambda: len(lasting_threads()) <= threads)
