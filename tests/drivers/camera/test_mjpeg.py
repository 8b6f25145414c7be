"""A camera: pictures from a server of this machine, taken once, and only while somebody looks."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.camera import Mjpeg
from labnode.errors import DeviceGone
from labnode.schema import build, parse_yaml
from tests.kit.services import Thread

from .server import PATIENCE, endless, head, jpeg, once, part, serving


class Viewer:
    """Somebody who looks, and remembers what there was to see."""

    def __init__(self, camera: Mjpeg) -> None:
        self.capture = camera.capture
        self.seen: list[bytes] = []
        self.look = self._look
        self.capture.look(self.look)

    def _look(self) -> None:
        assert self.capture.latest is not None
        self.seen.append(self.capture.latest.jpeg)

    def leave(self) -> None:
        self.capture.look_away(self.look)


@pytest.fixture
def make(thread: Thread) -> Iterator[Callable[..., Mjpeg]]:
    made: list[Mjpeg] = []

    def make(**options: Any) -> Mjpeg:
        camera = Mjpeg(**{"rate": 60.0, **options})
        camera.attach("camera", thread)  # type: ignore[arg-type]
        camera.open()
        made.append(camera)
        return camera

    yield make
    for camera in made:
        camera.close()


Make = Callable[..., Mjpeg]


def test_pictures_come_while_somebody_looks_and_are_taken_once_for_all(
    make: Make, thread: Thread
) -> None:
    with serving(endless()) as (server, url):
        camera = make(url=url)
        one, other = Viewer(camera), Viewer(camera)
        thread.until(lambda: len(one.seen) > 3 and len(other.seen) > 3)
        assert server.all == 1
        assert server.requests.get().startswith(b"GET /stream?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        one.leave()
        seen = len(other.seen)
        thread.until(lambda: len(other.seen) > seen + 2)
        other.leave()
        thread.until(lambda: server.open == 0)
        assert camera.state() == {"value": None, "connected": True}


def test_no_more_pictures_are_passed_on_than_the_rate_allows(make: Make, thread: Thread) -> None:
    with serving(endless(pause=0.0005)) as (_, url):
        camera = make(url=url, rate=20.0)
        viewer = Viewer(camera)
        begun = time.monotonic()
        thread.until(lambda: len(viewer.seen) == 6)
        assert time.monotonic() - begun > 5 * 0.04


def test_nobody_looks_and_no_picture_is_taken(make: Make, thread: Thread) -> None:
    with serving(endless()) as (server, url):
        camera = make(url=url)
        assert camera.capture.fresh(0, PATIENCE).jpeg.startswith(b"\xff\xd8")
        thread.until(lambda: server.open == 0)
        assert server.all == 1


def test_a_picture_of_a_moment_ago_is_fresh_enough(make: Make, thread: Thread) -> None:
    with serving(endless()) as (_, url):
        camera = make(url=url)
        first = camera.capture.fresh(0, PATIENCE)
        assert camera.capture.fresh(60, PATIENCE) is first
        assert camera.capture.fresh(0, PATIENCE) is not first


def test_while_nobody_looks_one_is_taken_from_time_to_time(make: Make, thread: Thread) -> None:
    with serving(endless()) as (server, url):
        camera = make(url=url, idle_every=0.02)
        thread.until(lambda: server.all >= 3)
        assert camera.capture.latest is not None


def test_the_next_student_does_not_see_the_last_picture(make: Make, thread: Thread) -> None:
    with serving(endless()) as (_, url):
        camera = make(url=url)
        first = camera.capture.fresh(0, PATIENCE)
        camera.reset()
        assert camera.capture.latest is None
        assert camera.capture.fresh(60, PATIENCE).number > first.number


def test_a_unix_socket_is_as_good(make: Make, tmp_path: Path) -> None:
    with serving(endless(), tmp_path / "camera") as (server, path):
        camera = make(socket=Path(path), path="/video")
        camera.capture.fresh(0, PATIENCE)
        assert server.requests.get().startswith(b"GET /video HTTP/1.1\r\nHost: localhost\r\n")


# --- what servers send ---

PICTURES = [jpeg(number) for number in range(3)]


def chunked(data: bytes) -> bytes:
    return b"".join(
        b"%x\r\n%s\r\n" % (len(c), c) for c in (data[i : i + 7] for i in range(0, len(data), 7))
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(head() + b"".join(map(part, PICTURES)) + b"--b\r\n", id="ordinary"),
        pytest.param(
            head() + b"\r\nnonsense\r\n" + b"".join(map(part, PICTURES)) + b"--b\r\n",
            id="a preamble",
        ),
        pytest.param(
            head() + b"".join(part(p, length=False) for p in PICTURES) + b"--b\r\n",
            id="without lengths",
        ),
        pytest.param(
            head('"--b"') + b"".join(map(part, PICTURES)) + b"--b\r\n", id="quoted, with dashes"
        ),
        pytest.param(
            head(more="Transfer-Encoding: chunked\r\n")
            + chunked(b"".join(map(part, PICTURES)) + b"--b\r\n"),
            id="chunked",
        ),
    ],
)
@pytest.mark.parametrize("pieces", [1 << 20, 13])
def test_what_servers_send_is_understood(
    make: Make, thread: Thread, monkeypatch: pytest.MonkeyPatch, data: bytes, pieces: int
) -> None:
    monkeypatch.setattr("labnode.drivers.camera.capture._EARLY", 0)
    with serving(once(data, pieces)) as (_, url):
        viewer = Viewer(make(url=url))
        thread.until(lambda: len(viewer.seen) == 3)
        assert viewer.seen == PICTURES


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (head(status="404 Not Found"), "the camera's server answers 404 Not Found"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "sends text/html, not multipart"),
        (head(boundary='""'), "sends multipart/x-mixed-replace, not multipart"),
        (b"hello\r\n\r\n", "does not answer"),
        (head() + part(b"GIF89a") + b"--b\r\n", "something that is no JPEG"),
        (head() + b"--b\r\nContent-Length: 99999999\r\n\r\n", "a picture of 99999999 bytes"),
        (head() + b"--b\r\n" + b"x: y\r\n" * 20_000, "endless headers"),
        (head() + b"x" * 9_000_000, "a picture without an end"),
        (
            head() + part(jpeg(1), more="X-UStreamer-Online: false\r\n") + b"--b\r\n",
            "ustreamer gets no pictures from the camera",
        ),
    ],
)
def test_what_cannot_be_understood_is_said(
    make: Make, thread: Thread, data: bytes, says: str
) -> None:
    with serving(once(data)) as (_, url):
        camera = make(url=url)
        viewer = Viewer(camera)
        thread.until(lambda: "error" in camera.state())
        assert says in camera.state()["error"]
        assert camera.state()["connected"] is False
        assert viewer.seen == []


def test_a_snapshot_says_why_there_is_none(make: Make) -> None:
    with serving(once(head(status="500 Broken"))) as (_, url):
        camera = make(url=url)
        with pytest.raises(DeviceGone, match=r"'camera' has no picture: .* answers 500 Broken"):
            camera.capture.fresh(0, PATIENCE)


def test_a_snapshot_does_not_wait_for_ever(make: Make) -> None:
    with serving(once(head())) as (_, url):
        camera = make(url=url)
        with pytest.raises(DeviceGone, match=r"no picture came within 0.05 s"):
            camera.capture.fresh(0, 0.05)


def test_a_server_that_comes_back_is_found(make: Make, thread: Thread, tmp_path: Path) -> None:
    path = tmp_path / "camera"
    camera = make(socket=path)
    viewer = Viewer(camera)
    thread.until(lambda: "error" in camera.state())
    assert "does not answer: No such file" in camera.state()["error"]
    with serving(endless(), path):
        thread.until(lambda: viewer.seen)
        thread.until(lambda: "error" not in camera.state())
    thread.until(lambda: "error" in camera.state())


def test_a_stop_does_not_wait_for_a_server_that_says_nothing(make: Make) -> None:
    with serving(once(b"")) as (server, url):
        camera = make(url=url)
        Viewer(camera)
        server.requests.get(timeout=PATIENCE)
        begun = time.monotonic()
        camera.close()
        assert time.monotonic() - begun < 0.9


def test_who_waits_for_a_snapshot_is_told_when_the_board_closes(make: Make) -> None:
    with serving(once(b"")) as (server, url):
        camera = make(url=url)
        failures: list[Exception] = []

        def wait() -> None:
            try:
                camera.capture.fresh(0, PATIENCE)
            except DeviceGone as error:
                failures.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        server.requests.get(timeout=PATIENCE)
        camera.close()
        waiting.join(PATIENCE)
        assert len(failures) == 1


# --- a simulated one ---


def test_a_simulated_camera_shows_a_test_picture_that_moves(make: Make, thread: Thread) -> None:
    thread.simulated = True
    viewer = Viewer(make(device=Path("/dev/video0")))
    thread.until(lambda: len(viewer.seen) >= 8)
    assert len(set(viewer.seen)) >= 8
    assert all(p.startswith(b"\xff\xd8") and p.endswith(b"\xff\xd9") for p in viewer.seen)


# --- options ---


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("{}", "say one of device, source, url and socket"),
        ("{device: /dev/video0, socket: /run/x}", "socket, not device and socket"),
        ("{source: rpicam, device: /dev/video0}", "socket, not device and source"),
        ("{url: 'http://192.168.1.2:8080/'}", "an MJPEG server on this machine"),
        ("{url: 'https://127.0.0.1/'}", "an MJPEG server on this machine"),
        ("{url: 'http://camera/'}", "an MJPEG server on this machine"),
        ("{url: 'http://127.0.0.1:99999/'}", "an MJPEG server on this machine"),
        ("{socket: /run/x, path: 'x y'}", "expected a path such as /stream"),
        ("{device: /dev/video0, resolution: large}", "expected a size such as 640x480"),
        ("{device: /dev/video0, rate: 0}", "expected a number from 0.1 to 60"),
    ],
)
def test_options_that_cannot_be_are_refused(options: str, problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        build(Mjpeg, parse_yaml(options, "x.yaml"))


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/stream", "http://[::1]:8080/", "http://127.0.0.9/"]
)
def test_an_address_of_this_machine_is_fine(url: str) -> None:
    assert build(Mjpeg, parse_yaml(f"{{url: '{url}'}}", "x.yaml")).url == url


# --- the real ustreamer, without a camera ---

needs_ustreamer = pytest.mark.skipif(
    shutil.which("ustreamer") is None, reason="needs ustreamer: apt-get install ustreamer"
)


def test_ustreamer_that_is_missing_is_said(
    make: Make, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.drivers.camera.ustreamer.shutil.which", lambda _: None)
    camera = make(device=Path("/dev/null"))
    Viewer(camera)
    thread.until(lambda: "error" in camera.state())
    assert camera.state()["error"] == "ustreamer is not installed (apt install ustreamer)"


@needs_ustreamer
def test_a_camera_that_is_not_there_is_said(make: Make, thread: Thread, tmp_path: Path) -> None:
    camera = make(device=tmp_path / "video0")
    Viewer(camera)
    thread.until(lambda: "error" in camera.state())
    assert camera.state()["error"] == f"there is no {tmp_path}/video0"


@needs_ustreamer
def test_ustreamer_runs_while_the_board_is_open_and_says_that_it_gets_no_pictures(
    make: Make, thread: Thread
) -> None:
    camera = make(device=Path("/dev/null"))  # which is no camera
    assert camera.ustreamer is not None
    assert camera.ustreamer._process is None  # not before somebody looks
    Viewer(camera)
    thread.until(lambda: "error" in camera.state())
    assert camera.state()["error"] == "ustreamer gets no pictures from the camera"
    process = camera.ustreamer._process
    assert process is not None
    assert process.poll() is None
    folder = Path(camera.ustreamer._folder.name)  # type: ignore[union-attr]
    assert (folder / "camera").stat().st_mode & 0o777 == 0o600
    camera.close()
    assert process.poll() is not None
    assert not folder.exists()


@needs_ustreamer
def test_the_pictures_of_a_real_ustreamer_are_read(
    make: Make, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "labnode.drivers.camera.driver.PATH", "/stream"
    )  # it does not say "offline"
    viewer = Viewer(make(device=Path("/dev/null")))
    thread.until(lambda: viewer.seen)  # the one that says NO SIGNAL
    assert viewer.seen[0].startswith(b"\xff\xd8")
    assert viewer.seen[0].endswith(b"\xff\xd9")


@needs_ustreamer
def test_ustreamer_that_was_killed_is_started_again(make: Make, thread: Thread) -> None:
    camera = make(device=Path("/dev/null"))
    Viewer(camera)
    assert camera.ustreamer is not None
    thread.until(lambda: "error" in camera.state())
    first = camera.ustreamer._process
    assert first is not None
    first.kill()
    thread.until(lambda: camera.ustreamer and camera.ustreamer._process is not first)
    thread.until(lambda: camera.state().get("error", "").startswith("ustreamer gets no pictures"))
