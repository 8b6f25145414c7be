"""Programming tools that are attacked, and systemd as far as it starts their supervisors."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labnode.drivers.framework.subprocess import Ended, run
from labnode.supervisor import client
from labnode.supervisor.client import Supervisor
from tests.kit.waiting import eventually
from tests.tools.conftest import Stage

NOBODY = pwd.getpwnam("nobody")
# One that every user may run; a virtual environment may be in a home.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
ROOT = Path(__file__).parent.parent.parent
DAEMON = """
import os, signal, sys
ready, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:  # an environment of its own, another session, no parent
        os.write(tell, b"%d" % os.getpid())
        os.execve(sys.executable, [sys.executable, "-S", "-c", "import signal; signal.pause()"], {})
    os._exit(0)
print(os.read(ready, 10).decode(), flush=True)
"""


TRIES = """
import sys
for path in sys.argv[1:]:
    try:
        open(path, "rb").read(1)
        print("read")
    except OSError as error:
        print(error.strerror)
"""


class Victim:
    """A tool that runs a Python program of the attacker's; `lines` is what that has said."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self.lines: list[str] = []

    def attack(self, program: str, *arguments: object, **where: Any) -> Ended:
        with Supervisor(**where) as supervisor:
            return self.run(supervisor, program, *arguments)

    def run(
        self, supervisor: Supervisor, program: str, *arguments: object, **options: Any
    ) -> Ended:
        self.lines = []
        return run(
            [PYTHON, "-S", "-c", program, *map(str, arguments)],
            self.stage,  # type: ignore[arg-type]
            supervisor,
            name="mcu",
            on_output=lambda lines, _rest: self.lines.extend(lines),
            **{"timeout": 20, **options},
        )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Systemd:
    """Starts a supervisor for each connection to `path`, as systemd does, as the user `uid`."""

    def __init__(self, path: Path, *, uid: int, users: tuple[str, ...] = ()) -> None:
        self.path = path
        self.started: list[subprocess.Popen[bytes]] = []
        ids = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        self._become = () if uid == os.getuid() else ("setpriv", *ids)
        self._users = users
        self._code = path.parent if (path.parent / "labnode").exists() else ROOT
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self._socket.listen()
        self._thread = threading.Thread(target=self._accept, name="systemd", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.started.append(
                    subprocess.Popen(
                        [*self._become, PYTHON, "-m", "labnode.supervisor", *self._users],
                        env={"PYTHONPATH": str(self._code), "PYTHONDONTWRITEBYTECODE": "1"},
                        cwd="/",
                        stdin=connection.fileno(),
                        stderr=subprocess.PIPE,
                    )
                )

    def supervisor(self) -> subprocess.Popen[bytes]:
        """The only one, when it has started."""
        eventually(lambda: self.started)
        (process,) = self.started
        return process

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for process in self.started:
            process.communicate(timeout=20)


@contextmanager
def systemd(monkeypatch: pytest.MonkeyPatch, folder: Path, **options: Any) -> Iterator[Systemd]:
    fake = Systemd(folder / "tool.sock", **options)
    monkeypatch.setattr(client, "SOCKET", fake.path)
    try:
        yield fake
    finally:
        fake.close()
