"""A camera at the Pi's own connector, with a program that stands in for rpicam-vid."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labnode.drivers.camera import Mjpeg
from labnode.drivers.camera.rpicam import JpegStream
from labnode.errors import DeviceGone
from tests.kit.services import Thread

from .test_mjpeg import Viewer, make

__all__ = ["make"]

Make = Callable[..., Mjpeg]
Install = Callable[[str], Path]

# Two tables that contain what looks like an end, then data with a stuffed byte and a restart.
PICTURE = (
    b"\xff\xd8" + b"\xff\xdb\x00\x06\xff\xd9\xff\xd8" + b"\xff\xda\x00\x04\x00\x01"
    b"data\xff\x00\xff\xd3more%d\xff\xd9"
)

SENDS = f"""
import sys, time
number = 0
while True:
    number += 1
    sys.stdout.buffer.write({PICTURE!r} % number)
    sys.stdout.buffer.flush()
    time.sleep(0.01)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a Python script where rpicam-vid is looked for; it leaves its arguments and number."""

    def install(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "rpicam-vid"
        facts = f"open({str(tmp_path / 'facts')!r}, 'w').write(f'{{os.getpid()}} {{sys.argv[1:]}}')"
        program.write_text(f"#!{sys.executable}\nimport os, sys\n{facts}\n{script}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))
        return tmp_path / "facts"

    return install


def error(camera: Mjpeg, thread: Thread) -> Any:
    Viewer(camera)
    thread.until(lambda: "error" in camera.state())
    return camera.state()["error"]


def test_pictures_come_from_its_pipe_while_somebody_looks(
    make: Make, thread: Thread, install: Install
) -> None:
    facts = install(SENDS)
    camera = make(source="rpicam", camera=1, resolution="320x240", rate=30.0)
    assert not facts.exists()
    viewer = Viewer(camera)
    thread.until(lambda: len(viewer.seen) >= 3)
    assert viewer.seen[0] == PICTURE % 1
    assert all(picture.endswith(b"\xff\xd9") for picture in viewer.seen)
    pid, _, arguments = facts.read_text().partition(" ")
    for part in ("--codec=mjpeg", "--camera=1", "--width=320", "--height=240", "--framerate=30"):
        assert repr(part) in arguments
    viewer.leave()
    thread.until(lambda: not Path(f"/proc/{pid}").exists())
    assert camera.state() == {"value": None, "connected": True}


def test_the_end_of_the_board_ends_the_program(
    make: Make, thread: Thread, install: Install
) -> None:
    facts = install(SENDS)
    camera = make(source="rpicam")
    viewer = Viewer(camera)
    thread.until(lambda: viewer.seen)
    camera.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(facts.read_text().split()[0]), 0)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "sys.stderr.write('ERROR: *** no cameras available ***\\n'); sys.exit(255)",
            "rpicam-vid has ended with code 255: ERROR: *** no cameras available ***",
        ),
        ("print('hello', flush=True)", "rpicam-vid sends something that is no JPEG"),
    ],
)
def test_what_is_wrong_with_it_is_said(
    make: Make, thread: Thread, install: Install, script: str, says: str
) -> None:
    install(script)
    assert error(make(source="rpicam"), thread) == says


def test_a_program_that_is_missing_is_said(
    make: Make, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    says = "rpicam-vid is not installed (apt install rpicam-apps-lite)"
    assert error(make(source="rpicam"), thread) == says


def cuts(total: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, total), max_size=8).map(sorted)


@given(cuts(4 * len(PICTURE)))
def test_pictures_are_found_however_they_come_in_pieces(places: list[int]) -> None:
    pictures = [PICTURE % number for number in range(4)]
    whole = b"".join(pictures)
    stream = JpegStream()
    edges = [0, *(min(place, len(whole)) for place in places), len(whole)]
    found: list[bytes] = []
    for begin, end in pairwise(edges):
        found += stream.feed(whole[begin:end])
    assert found == pictures


def test_a_picture_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labnode.drivers.camera.rpicam._LARGEST", 1000)
    stream = JpegStream()
    with pytest.raises(DeviceGone, match="a picture without an end"):
        list(stream.feed(PICTURE[:-2] + bytes(1000)))
