"""rpicam-vid, which writes the pictures of a camera at the Pi's own connector (CSI) to a pipe."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from labnode.drivers.camera.ustreamer import end, start
from labnode.drivers.framework.io_thread import IoLoop
from labnode.errors import DeviceGone

log = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds that it may send nothing; a camera takes two to begin
_PIECE = 1 << 16
_LARGEST = 8 << 20  # bytes of a picture
_TAIL = 1000  # bytes of its last words
_SOI = b"\xff\xd8"
_EOI = 0xD9
# Neither a stuffed byte nor a restart marker, which are inside of the picture's data.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


@dataclass(frozen=True)
class Rpicam:
    """A Source; the program runs as long as pictures are taken, and ends when its pipe does."""

    camera: int
    resolution: str
    rate: float
    quality: int

    def pictures(self, thread: IoLoop) -> Iterator[bytes]:
        process = self._start()
        try:
            yield from self._read(process, thread)
        finally:
            end(process)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        """Its options are those of rpicam-apps 1.5 (Raspberry Pi's camera software)."""
        width, height = self.resolution.split("x")
        arguments = [
            "--codec=mjpeg",
            f"--camera={self.camera}",
            f"--width={width}",
            f"--height={height}",
            f"--framerate={self.rate:g}",
            f"--quality={self.quality}",
            "--timeout=0",
            "--nopreview",
            "--flush",
            "--verbose=0",
            "--output=-",
        ]
        return start("rpicam-vid", "rpicam-apps-lite", arguments, piped=True)

    def _read(self, process: subprocess.Popen[bytes], thread: IoLoop) -> Iterator[bytes]:
        assert process.stdout is not None
        assert process.stderr is not None
        out, errors = process.stdout.fileno(), process.stderr.fileno()
        for pipe in (out, errors):
            os.set_blocking(pipe, False)
        jpegs, said = JpegStream(), b""
        heard_at = thread.clock.now()
        while not thread.stopping:
            said = (said + (_read_from(errors) or b""))[-_TAIL:]
            data = _read_from(out)
            if data is None:
                left = heard_at + _PATIENCE - thread.clock.now()
                if left <= 0:
                    raise DeviceGone(f"rpicam-vid sends no picture for {_PATIENCE:g} s")
                thread.wait(left, [out])
                continue
            if not data:
                raise DeviceGone(_why(process, said + (_read_from(errors) or b"")))
            heard_at = thread.clock.now()
            yield from jpegs.feed(data)


class JpegStream:
    """JPEGs one after the other with nothing between them (ITU-T T.81, annex B)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # the next marker is searched from here

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pictures that are complete now; DeviceGone when it is something else."""
        self._data += data
        while (picture := self._next()) is not None:
            yield picture
        if len(self._data) > _LARGEST:
            raise DeviceGone("rpicam-vid sends a picture without an end")

    def _next(self) -> bytes | None:
        data = self._data
        if not data.startswith(_SOI[: len(data)]):
            raise DeviceGone("rpicam-vid sends something that is no JPEG")
        self._at = max(self._at, len(_SOI))
        while (found := _MARKER.search(data, self._at)) is not None:
            begin, after = found.span()
            if data[after - 1] == _EOI:
                picture = bytes(data[:after])
                del data[:after]
                self._at = 0
                return picture
            self._at = begin
            segment = after + int.from_bytes(data[after : after + 2], "big")
            if len(data) < max(segment, after + 2):
                return None
            self._at = segment
        self._at = max(self._at, len(data) - 1)  # a marker may have come in part
        return None


def _read_from(pipe: int) -> bytes | None:
    """What has come, b"" at the end, None while there is nothing."""
    with suppress(BlockingIOError):
        return os.read(pipe, _PIECE)
    return None


def _why(process: subprocess.Popen[bytes], said: bytes) -> str:
    end(process)
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    more = f": {lines[-1]}" if lines else ""
    return f"rpicam-vid has ended with code {process.returncode}{more}"
