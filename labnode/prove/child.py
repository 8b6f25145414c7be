"""Looks after a node as systemd does with labnode@.service, where that is not installed."""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from labnode.clock import Clock
from labnode.errors import LabnodeError
from labnode.locale import Message
from labnode.prove.node import NodeFiles

_READY_WITHIN = 120.0  # seconds; TimeoutStartSec of the unit
_ABORTS_WITHIN = 2.0  # seconds after SIGABRT
_STOPS_WITHIN = 15.0  # seconds after SIGTERM; a node that hangs ends itself after 10
_SAFE_WITHIN = 60.0


class ChildNode:
    """Runs `command` (labnode) with a state directory below `directory`.

    A process that gives no sign of life for `watchdog` seconds is ended; after the death of one,
    `labnode safe` drives the outputs, and another one is started.
    """

    sentence = Message("cli.keeper:child")

    def __init__(
        self, command: Sequence[str], directory: Path, clock: Clock, watchdog: float
    ) -> None:
        self.watchdog = watchdog
        self._command = list(command)
        self._directory = directory
        self._clock = clock
        self._settings = directory / "settings.yaml"
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = f"@labnode-prove-{secrets.token_hex(8)}"
        self._notices.bind(b"\0" + self._address[1:].encode())

    def start(self, files: NodeFiles) -> None:
        self._stop()
        board = files.write_board(self._directory / "board")
        text = files.settings(board, state_dir=str(self._directory / "state"))
        self._settings.write_text(text, encoding="utf-8")
        self._settings.chmod(0o600)
        self._run()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def recover(self) -> None:
        assert self._process is not None
        while self._notice(self.watchdog) is not None:
            pass
        if self._process.poll() is None:
            self._end(signal.SIGABRT)
        subprocess.run(
            [*self._command, "safe", "--settings", self._settings],
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            timeout=_SAFE_WITHIN,
            check=True,
        )
        self._run()

    def close(self) -> None:
        self._stop()
        self._notices.close()

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._end(signal.SIGTERM, within=_STOPS_WITHIN)

    def _run(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "run", "--settings", self._settings],
                env=self._environment() | {"WATCHDOG_USEC": f"{self.watchdog * 1e6:.0f}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for `labnode prove`, which ends the node
            )
        deadline = self._clock.now() + _READY_WITHIN
        while (notice := self._notice(max(0.0, deadline - self._clock.now()))) is not None:
            if "READY=1" in notice.splitlines():
                return
        self._end(signal.SIGKILL)
        said = self._log.read_text(errors="replace").splitlines()[-5:]
        raise LabnodeError(Message("cli.prove-not-ready", log="\n".join(said)))

    def _notice(self, timeout: float) -> str | None:
        """The next message; None after `timeout` seconds, or when the process has ended."""
        assert self._process is not None
        ended = os.pidfd_open(self._process.pid)
        try:
            ready, _, _ = select.select([self._notices.fileno(), ended], [], [], timeout)
        finally:
            os.close(ended)
        return self._notices.recv(4096).decode() if self._notices.fileno() in ready else None

    def _end(self, number: int, within: float = _ABORTS_WITHIN) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)  # as systemd does: it may be stopped
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "NOTIFY_SOCKET": self._address, "LG_WD": str(self._directory)}
