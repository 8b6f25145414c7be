"""A node that is kept running as systemd keeps it, and the level of each of its pins."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.kit.latching import Levels
from tests.kit.waiting import PATIENCE, eventually
from tests.process.machine import Node, environment

HERE = Path(__file__).parent
BOARD = HERE / "faults.yaml"
MEMORY = 256 << 20
SAFE: dict[int, float | None] = {17: 0, 24: 1, 18: 0, 22: 0, 27: 0}
ON: dict[int, float | None] = {17: 1, 24: 0, 18: 0.5, 22: 1, 27: 0}


class LatchedNode(Node):
    """`labnode run` on pins that keep their levels when it dies."""

    entry = HERE / "latched.py"


class Service:
    """Restarts the node whenever it dies, after `labnode safe`; the tests are its systemd.

    Without a sign of life for `watchdog` seconds it gets SIGABRT, as from WatchdogSec=; with more
    memory than MEMORY it gets SIGKILL, as from MemoryMax=, at `killed_at`.
    """

    def __init__(self, home: Path, watchdog: float) -> None:
        self.watchdog = watchdog
        self.failures: list[str] = []
        self.killed_at: float | None = None
        self._home = home
        self._levels = Levels(home / "pins")
        self._env = {"LABNODE_TEST_PINS": str(home / "pins")}
        self._address = home / "notify"
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(self._address))
        self._notices.settimeout(0.02)
        self._node: LatchedNode | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="systemd", daemon=True)

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join(PATIENCE)
        self._notices.close()

    def node(self, after: LatchedNode | None = None) -> LatchedNode:
        """The node that runs; waits until one does that is not `after`, which dies."""

        def running() -> LatchedNode | None:
            assert self._thread.is_alive(), self.failures
            return None if self._node is after else self._node

        node: LatchedNode = eventually(running, "a node that runs")
        return node

    def levels(self) -> dict[int, float | None]:
        """What the pins are driven to, whether anybody lives or not."""
        return {number: self._levels[number] for number in SAFE}

    def until(self, levels: dict[int, float | None], patience: float = PATIENCE) -> float:
        """The time at which the pins are at these levels."""
        end = time.monotonic() + patience
        while self.levels() != levels:
            assert time.monotonic() < end, f"{self.levels()} is not {levels}; {self.failures}"
            time.sleep(0.003)
        return time.monotonic()

    def _run(self) -> None:
        while not self._stopping.is_set():
            node = LatchedNode(
                self._home,
                board=BOARD,
                **self._env,
                NOTIFY_SOCKET=str(self._address),
                WATCHDOG_USEC=str(round(self.watchdog * 1e6)),
            )
            try:
                self._node = node
                self._attend(node)
            finally:
                self._node = None
                node.end()
            self._make_safe()

    def _attend(self, node: LatchedNode) -> None:
        """Return when the node has died."""
        heard, self.killed_at = time.monotonic(), None
        while node.popen.poll() is None:
            if self._heard():
                heard = time.monotonic()
            elif _memory(node.popen.pid) > MEMORY:
                self.killed_at = time.monotonic()
                node.kill()
            elif time.monotonic() - heard > self.watchdog:
                node.send(signal.SIGABRT)
                node.send(signal.SIGCONT)  # as systemd: or a stopped one would not hear it
                node.wait()
            elif self._stopping.is_set():
                node.send(signal.SIGTERM)
                node.wait()

    def _heard(self) -> bool:
        try:
            return b"WATCHDOG=1" in self._notices.recv(4096)
        except TimeoutError:
            return False

    def _make_safe(self) -> None:
        """ExecStopPost."""
        command = [sys.executable, HERE / "latched.py", "safe", BOARD]
        ended = subprocess.run(
            [*map(str, command), "--state-dir", str(self._home / "state")],
            env=environment(self._home, **self._env),
            cwd=self._home,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if ended.returncode:
            self.failures.append(ended.stderr)


def _memory(pid: int) -> int:
    """The bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def limit_files(pid: int, most: int | None) -> None:
    """No file of a process may grow beyond `most` bytes: its disk is full; None: it is not."""
    limit = resource.RLIM_INFINITY if most is None else most
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
