"""A real node with the demo board, to be attacked."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from labnode.weblab.fake import CentralServer
from tests.kit.basic_auth import basic
from tests.kit.waiting import PATIENCE
from tests.process.machine import PASSWORD, ROOT, USERNAME, Lines, Student, environment

RIGHT = basic(f"{USERNAME}:{PASSWORD}")
_SESSION = ("timeout: 30s ", "timeout: -1\n  users: 16\n  connect_timeout: 1h ")


class Target:
    """The process, ready; its sessions last until it ends."""

    def __init__(self, home: Path) -> None:
        demo = (ROOT / "boards" / "demo.yaml").read_text(encoding="utf-8")
        board = home / "demo.yaml"
        for old, new in (_SESSION, ("max_time: 10m", "max_time: 48h")):
            assert old in demo
            demo = demo.replace(old, new)
        board.write_text(demo, encoding="utf-8")
        shutil.copy(ROOT / "boards" / "demo.py", home)
        shutil.copytree(ROOT / "boards" / "pictures", home / "pictures")
        self._errors = home / "stderr"
        state = ["--simulate", "--port", "0", "--state-dir", str(home / "state")]
        with self._errors.open("wb") as errors:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "labnode", "run", str(board), *state],
                cwd=home,
                env=environment(home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self.popen.stdout is not None
        self._output = Lines(os.dup(self.popen.stdout.fileno()))
        self.popen.stdout.close()
        try:
            self.url = self._output.wait_for(r" at (http://\S+)/$")[1]
        except AssertionError:
            self.end()
            raise AssertionError(f"it did not start: {self.log}") from None
        url = urlsplit(self.url)
        assert url.hostname is not None
        assert url.port is not None
        self.address = (url.hostname, url.port)
        self.server = CentralServer(self.url, USERNAME, PASSWORD, timeout=PATIENCE)

    def __enter__(self) -> Target:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.end()

    def student(self) -> Student:
        """One who is on the page."""
        student = Student(*self.server.new(assigned_time=48 * 3600))
        assert student.page.status == 200
        return student

    @property
    def log(self) -> str:
        """What it has written to its standard error."""
        return self._errors.read_text(encoding="utf-8")

    def memory(self) -> int:
        """The bytes of memory that it has."""
        statm = Path(f"/proc/{self.popen.pid}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * resource.getpagesize()

    def stop(self) -> None:
        """End it in order."""
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(PATIENCE) == 0

    def end(self) -> None:
        """Leave nothing of it behind."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE)
        self._output.close()
