"""A node under a service manager: a real process and a real NOTIFY_SOCKET."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import SAFE, Machine


class Manager:
    """systemd's end of NOTIFY_SOCKET, which waits for what comes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(20)
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1500000"}
        self.heard: list[str] = []

    def until(self, message: str) -> None:
        while not self.heard or self.heard[-1] != message:
            self.heard.append(self.socket.recv(4096).decode())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


def test_a_node_is_ready_when_it_answers_feeds_the_watchdog_and_says_that_it_stops(
    machine: Machine, manager: Manager
) -> None:
    node = machine.node(**manager.environ)
    manager.until("READY=1")
    assert manager.heard[0].startswith("STATUS=Opening ")
    assert manager.heard[1:] == ["READY=1"]
    manager.until("WATCHDOG=1")
    manager.until("STATUS=Ready: 0 of 1 seats taken.")
    node.student()
    manager.until("STATUS=Busy: 1 of 1 seats taken.")
    node.send(signal.SIGTERM)
    manager.until("STOPPING=1")
    assert node.wait() == 0
    assert node.levels() == SAFE


def test_a_node_that_does_not_get_its_port_is_never_ready(
    machine: Machine, manager: Manager
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        node = machine.process(
            "run", Path(__file__).parent / "probe.yaml", "--simulate", "--port", port,
            "--state-dir", machine.home / "state", **manager.environ,
        )  # fmt: skip
        assert node.wait() == 2
    manager.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.until("READY=1")
    assert "READY=1" not in manager.heard


def test_a_log_that_is_the_journal_is_not_lost_where_the_journal_is_away(machine: Machine) -> None:
    stderr = machine.home / "stderr"
    stderr.touch()
    info = stderr.stat()
    node = machine.node(JOURNAL_STREAM=f"{info.st_dev}:{info.st_ino}")
    node.student()
    node.stop()
    lines = node.errors.splitlines()
    assert any(line.startswith("INFO labnode.sessions.state_machine: Session ") for line in lines)
    assert any('"event": "started"' in line for line in lines)


def test_a_node_whose_hardware_thread_hangs_ends_itself_with_its_outputs_safe(
    machine: Machine, manager: Manager
) -> None:
    node = machine.node(**manager.environ, LABNODE_TEST_HUNG_AFTER="1")
    student = node.student()
    student.start_task("hold", how="hang")
    assert node.wait() == 70
    assert "the hardware thread had no turn for 1 s" in node.errors
    assert node.levels() == SAFE
