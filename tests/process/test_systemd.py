"""A node under a service manager: a real process and a real NOTIFY_SOCKET."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.kit.basic_auth import basic
from tests.kit.waiting import PATIENCE

from .machine import PASSWORD, SAFE, USERNAME, Machine, Node


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


@pytest.fixture
def kept() -> Iterator[socket.socket]:
    """A listening socket that outlives the node, as systemd keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def asked(node: Node, method: str, path: str, fields: Any = None) -> HTTPConnection:
    """A connection of the central server, whose request is sent."""
    host, _, port = node.url.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=PATIENCE)
    headers = {"Authorization": basic(f"{USERNAME}:{PASSWORD}"), "Content-Type": "application/json"}
    connection.request(method, path, None if fields is None else json.dumps(fields), headers)
    return connection


def answered(connection: HTTPConnection) -> tuple[int, Any]:
    with closing(connection), connection.getresponse() as answer:
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_no_request_is_lost_while_the_node_is_started_again(
    machine: Machine, kept: socket.socket, number: int
) -> None:
    port = str(kept.getsockname()[1])
    node = machine.node("--port", port, listener=kept)
    assert node.url == f"http://127.0.0.1:{port}"
    session_id = node.student().session_id
    node.send(number)
    node.wait()
    health = asked(node, "GET", "/weblab/health")
    status = asked(node, "GET", f"/ldl/sessions/{session_id}/status")
    node = machine.node("--port", port, listener=kept)
    assert answered(health)[1]["success"] is True  # never "just starting"
    assert answered(status) in [(200, {"should_finish": n}) for n in (2, 5)]
    node.stop()
    slot = {"schedule": {"length": 60}, "request": {"ldeReservationId": "the next one"}}
    start = asked(node, "POST", "/ldl/sessions/", slot)
    node = machine.node("--port", port, listener=kept)
    code, said = answered(start)
    assert (code, set(said)) == (200, {"url", "session_id"})
    node.stop()
    assert "Traceback" not in node.errors


def test_the_settings_count_where_systemd_listens_elsewhere(
    machine: Machine, kept: socket.socket
) -> None:
    node = machine.node("--port", "0", listener=kept)
    assert not node.url.endswith(f":{kept.getsockname()[1]}")
    assert answered(asked(node, "GET", "/weblab/sessions/api")) == (200, {"api_version": "1"})
    node.stop()
    assert "`install.sh upgrade` tells systemd." in node.errors


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
