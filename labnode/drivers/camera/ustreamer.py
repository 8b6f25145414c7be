"""ustreamer, which serves the pictures of a camera at a Unix socket."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labnode.drivers.framework.io_thread import IoLoop
from labnode.errors import DeviceGone

log = logging.getLogger(__name__)

PATH = "/stream?extra_headers=1"  # so that each picture says whether the camera is there
_STARTS_WITHIN = 5.0  # seconds
_ENDS_WITHIN = 0.5  # seconds until it is killed
_LOOK_EVERY = 0.05  # seconds


@dataclass
class Ustreamer:
    """Runs from the first `connect` to `stop`, at most as long as the io thread that started it."""

    device: Path
    resolution: str
    rate: float
    quality: int

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def connect(self, thread: IoLoop) -> socket.socket:
        """A connection to it (io thread); DeviceGone when it does not run."""
        deadline = thread.clock.now() + _STARTS_WITHIN
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._folder is not None
        while True:
            try:
                return connect_unix(Path(self._folder.name) / "camera")
            except OSError:
                if self._process.poll() is not None:
                    code = self._process.returncode
                    raise DeviceGone(f"ustreamer has ended with code {code}") from None
                if thread.stopping or thread.clock.now() > deadline:
                    raise
            thread.wait(_LOOK_EVERY)

    def stop(self) -> None:
        """End it, after the io thread (any thread)."""
        process, self._process = self._process, None
        if process is not None:
            end(process)
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def _start(self) -> None:
        if not self.device.exists():
            raise DeviceGone(f"there is no {self.device}")
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="labnode-")
        arguments = [
            f"--device={self.device}",
            f"--resolution={self.resolution}",
            f"--desired-fps={max(1, round(self.rate))}",
            f"--quality={self.quality}",
            f"--unix={self._folder.name}/camera",
            "--unix-rm",
            "--unix-mode=600",
            "--slowdown",
            "--exit-on-parent-death",
            "--log-level=0",
            "--no-log-colors",
        ]
        self._process = start("ustreamer", "ustreamer", arguments)
        log.info("ustreamer has been started for %s", self.device)


def start(
    name: str, package: str, arguments: list[str], *, piped: bool = False
) -> subprocess.Popen[bytes]:
    """Start a camera's program, with its output in pipes or thrown away; DeviceGone if it fails."""
    program = shutil.which(name)
    if program is None:
        raise DeviceGone(f"{name} is not installed (apt install {package})")
    output = subprocess.PIPE if piped else subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [program, *arguments],
            env={"PATH": os.environ.get("PATH", os.defpath)},  # no secrets
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C at labnode's terminal is labnode's alone
        )
    except OSError as error:
        raise DeviceGone(f"{name} cannot be started: {error.strerror}") from error


def end(process: subprocess.Popen[bytes]) -> None:
    """Have a program end, which takes half a second at most."""
    process.terminate()
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def connect_unix(path: Path) -> socket.socket:
    """A connection to a Unix socket; OSError when nobody is there."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(1.0)
        sock.connect(str(path))
    except OSError:
        with suppress(OSError):
            sock.close()
        raise
    return sock
