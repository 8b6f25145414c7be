"""What systemd hears: a real datagram socket stands in for its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.clock import ManualClock
from labnode.system.systemd import Systemd, take_listener
from labnode.system.watchdog import Watchdog, ask_web


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1))
        self.environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"}

    def heard(self) -> list[str]:
        """All that has come since the last time."""
        messages = []
        self.socket.setblocking(False)
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@labnode-test-{os.getpid()}"
    manager = Manager(name)
    yield manager
    manager.socket.close()


def test_every_message_arrives_as_sd_notify_writes_it(manager: Manager) -> None:
    systemd = Systemd(manager.environ)
    systemd.status("Opening\nthe board")
    systemd.ready()
    systemd.alive()
    systemd.stopping()
    assert manager.heard() == ["STATUS=Opening the board", "READY=1", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.parametrize("name", [None, "", "@", "relative", "vsock:2:3"])
def test_without_a_socket_nothing_is_sent_and_nothing_fails(name: str | None) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "5"} if name is not None else {})
    systemd.ready()
    assert systemd.watchdog is None


def test_a_manager_that_is_gone_is_told_once_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    systemd.ready()
    systemd.alive()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "systemd cannot be told READY" in caplog.text


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        pytest.param("30000000", str(os.getpid()), 30.0, id="its own"),
        ("30000000", "1", None),
        ("0", None, None),
        ("", None, None),
        ("soon", None, None),
    ],
)
def test_the_watchdog_is_fed_only_where_systemd_waits_for_this_process(
    tmp_path: Path, usec: str, pid: str | None, seconds: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": usec}
    assert Systemd(environ | ({"WATCHDOG_PID": pid} if pid else {})).watchdog == seconds


# --- the watchdog ---


class Node:
    """A node whose trouble and status a test decides, with its watchdog."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.trouble: str | None = None
        self.status = "Ready."
        self.looked = 0
        self.clock = ManualClock()
        self.watchdog = Watchdog(Systemd(environ), self.clock, self._look, lambda: self.status)

    def _look(self) -> str | None:
        self.looked += 1
        return self.trouble

    def turns(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.watchdog.turn()


def test_the_node_is_ready_as_soon_as_nothing_is_wrong_and_once(manager: Manager) -> None:
    node = Node({"NOTIFY_SOCKET": manager.environ["NOTIFY_SOCKET"]})
    node.trouble = "its own web server has not answered for 2 s"
    node.turns(3)
    assert manager.heard() == ["STATUS=Not well: its own web server has not answered for 2 s."]
    node.trouble = None
    node.turns(60)
    assert manager.heard() == ["READY=1", "STATUS=Ready."]
    assert node.looked == 4  # no watchdog, nothing more to look for


def test_the_watchdog_is_fed_three_times_in_its_interval(manager: Manager) -> None:
    node = Node(manager.environ)
    node.turns(60)
    heard = manager.heard()
    assert heard.count("WATCHDOG=1") == node.looked == 6
    assert heard.count("STATUS=Ready.") == 1


def test_a_status_is_told_again_when_it_changes(manager: Manager) -> None:
    node = Node(manager.environ)
    node.turns(1)
    node.status = "Busy."
    node.turns(2)
    assert [m for m in manager.heard() if "STATUS" in m] == ["STATUS=Ready.", "STATUS=Busy."]


def test_a_node_that_is_not_well_is_not_fed_until_it_is(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(manager.environ)
    node.turns(1)
    manager.heard()
    node.trouble = "the reaper has died"
    node.turns(30)
    assert manager.heard() == ["STATUS=Not well: the reaper has died."]
    node.trouble = None
    node.turns(1)
    assert manager.heard() == ["WATCHDOG=1", "STATUS=Ready."]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_without_systemd_the_node_is_not_even_looked_at() -> None:
    node = Node({})
    node.turns(60)
    assert node.looked == 0


# --- its own web server ---


def test_a_web_server_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = other.getsockname()
    said = ask_web(address, "/weblab/health")
    assert said is not None
    assert said.startswith("its own web server does not answer (")


def test_a_web_server_that_takes_connections_and_says_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("labnode.system.watchdog._PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = ask_web(silent.getsockname(), "/weblab/health")
    assert said == "its own web server has not answered for 0.05 s"


# --- the socket that systemd keeps ---


def handed_over(monkeypatch: pytest.MonkeyPatch, found: socket.socket) -> dict[str, str]:
    """The environment with `found` as the descriptor that systemd says it is."""
    monkeypatch.setattr("labnode.system.systemd._FIRST_HANDED_OVER", os.dup(found.fileno()))
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "LANG": "C"}


def test_the_listening_socket_is_taken_and_no_child_hears_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as kept:
        environ = handed_over(monkeypatch, kept)
        with take_listener(environ) or pytest.fail("it was not taken") as listener:
            assert listener.getsockname() == kept.getsockname()
            assert not listener.get_inheritable()
    assert environ == {"LANG": "C"}


@pytest.mark.parametrize(
    "change", [{"LISTEN_PID": "1"}, {"LISTEN_FDS": "2"}, {"LISTEN_FDS": "x"}, {"LISTEN_PID": ""}]
)
def test_what_is_meant_for_another_process_or_is_more_than_one_is_left_alone(
    change: dict[str, str],
) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", **change}
    assert take_listener(environ) is None
    assert environ == {}


def test_what_is_no_listening_socket_for_http_is_told_and_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as silent, socket.socket(socket.AF_UNIX) as local:
        local.bind(b"\0labnode-test-%d" % os.getpid())
        local.listen()
        for found in (silent, local):
            assert take_listener(handed_over(monkeypatch, found)) is None
    read, write = os.pipe()
    monkeypatch.setattr("labnode.system.systemd._FIRST_HANDED_OVER", read)
    assert take_listener({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}) is None
    os.close(read)
    os.close(write)
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "systemd hands over a socket that is not for HTTP",
        "systemd hands over a socket that is not for HTTP",
        "systemd hands over no socket that can be used",
    ]
