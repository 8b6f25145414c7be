"""The control socket: both of its ends, and what strangers do to it."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labnode.control import ControlSocket, NotRunning, ask, client, server
from labnode.control.protocol import address
from labnode.errors import ConfigError, Forbidden, LabnodeError, StorageError

Listen = Callable[..., ControlSocket]


def fail() -> dict[str, Any]:
    raise StorageError("The disk is full.")


def break_down() -> dict[str, Any]:
    raise ZeroDivisionError("a bug")


def count(last: int = 20, names: bool = False) -> dict[str, Any]:
    return {"last": last, "names": names}


COMMANDS = {
    "status": lambda: {"state": "ready"},
    "fail": fail,
    "break": break_down,
    "count": count,
}


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    with ExitStack() as started:

        def listen(
            directory: Path = tmp_path, commands: dict[str, Any] = COMMANDS
        ) -> ControlSocket:
            control = ControlSocket(directory, commands)
            control.start()
            started.callback(control.stop, 5.0)
            return control

        yield listen


@pytest.fixture
def node(listen: Listen, tmp_path: Path) -> Path:
    listen()
    return tmp_path


def connect(directory: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    with address(directory) as place:
        connection.connect(place)
    return connection


def say(directory: Path, words: bytes) -> dict[str, Any]:
    with connect(directory) as connection:
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as answer:
            told: dict[str, Any] = json.loads(answer.readline())
            return told


# --- asking ---


def test_a_command_is_answered(node: Path) -> None:
    assert ask(node, "status") == {"state": "ready"}
    assert ask(node, "status") == {"state": "ready"}


def test_an_error_comes_with_its_sentence(node: Path) -> None:
    with pytest.raises(LabnodeError, match=r"^The disk is full\.$"):
        ask(node, "fail")


def test_a_bug_is_told_without_its_details_and_ends_nothing(
    node: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LabnodeError, match=r"^It failed; the node's log says how\.$"):
        ask(node, "break")
    assert "ZeroDivisionError: a bug" in caplog.text
    assert ask(node, "status") == {"state": "ready"}


def test_an_unknown_command_is_refused_with_the_known_ones(node: Path) -> None:
    with pytest.raises(LabnodeError, match="knows no command 'stauts'; it knows status, fail, br"):
        ask(node, "stauts")


@pytest.mark.parametrize("words", [b"", b"status", b"\xff\n", b"x" * 1000 + b"\n", b"a\nb\n"])
def test_what_is_no_command_is_refused(node: Path, words: bytes) -> None:
    assert say(node, words)["error"]["code"] == "bad-input"


def test_options_reach_the_command(node: Path) -> None:
    assert ask(node, "count") == {"last": 20, "names": False}
    assert ask(node, "count", last=3, names=True) == {"last": 3, "names": True}


@pytest.mark.parametrize("options", ["{", "3", "[1]", '{"lats": 3}', "now"])
def test_options_that_a_command_does_not_take_are_refused(node: Path, options: str) -> None:
    error = say(node, f"count {options}\n".encode())["error"]
    assert error == {
        "code": "bad-input",
        "message": f"The command count does not take {options}.",
    }


def test_a_change_is_logged_with_the_process_that_asked(
    listen: Listen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    listen(commands={"status": dict, "drain": dict})
    ask(tmp_path, "status")
    ask(tmp_path, "drain")
    assert caplog.messages == [f"drain, asked for by process {os.getpid()}."]


# --- where it is ---


def test_a_long_path_is_no_problem(listen: Listen, tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120) / ("e" * 120)
    directory.mkdir(parents=True)
    listen(directory)
    assert ask(directory, "status") == {"state": "ready"}


def test_the_socket_is_for_this_user_alone_whatever_the_umask(
    listen: Listen, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        listen()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600


def test_what_a_killed_node_has_left_is_replaced(listen: Listen, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed, address(tmp_path) as place:
        killed.bind(place)
    with pytest.raises(NotRunning):
        ask(tmp_path, "status")
    listen()
    assert ask(tmp_path, "status") == {"state": "ready"}


def test_nothing_is_left_after_the_stop(listen: Listen, tmp_path: Path) -> None:
    control = listen()
    assert control.stop(5.0)
    assert control.stop(5.0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotRunning):
        ask(tmp_path, "status")


def test_one_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    assert ControlSocket(tmp_path, COMMANDS).stop(1.0)


def test_a_place_that_is_taken_is_told(tmp_path: Path) -> None:
    (tmp_path / "control.sock").mkdir()
    with pytest.raises(ConfigError, match=r"control.sock: the control socket cannot be made \("):
        ControlSocket(tmp_path, COMMANDS).start()


# --- no node ---


def test_no_directory_is_no_node(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match=r"No labnode is running with the state directory .*gone"):
        ask(tmp_path / "gone", "status")


@pytest.mark.parametrize("name", ["file", "file/below", "."])
def test_something_else_is_no_node(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "control.sock").touch()
    with pytest.raises(NotRunning):
        ask(tmp_path / name, "status")


def test_a_node_that_ends_before_it_answers_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as ending, address(tmp_path) as place:
        ending.bind(place)
        ending.listen()

        def end() -> None:
            connection, _ = ending.accept()
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=end, name="ending-node")
        thread.start()
        with pytest.raises(LabnodeError, match="ended before it answered"):
            ask(tmp_path, "status")
        thread.join(5)


def test_a_node_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX) as silent, address(tmp_path) as place:
        silent.bind(place)
        silent.listen()
        with pytest.raises(LabnodeError, match="does not answer"):
            ask(tmp_path, "status")


def test_another_users_node_is_told_with_the_user(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(Forbidden, match=r"runs as \S+: ask it as that user \(sudo -u"):
        ask(node, "status")


# --- strangers ---


def test_a_client_that_goes_away_ends_nothing(node: Path) -> None:
    for words in (b"", b"sta", b"status\n"):
        with connect(node) as connection:
            connection.sendall(words)
    assert ask(node, "status") == {"state": "ready"}


def test_a_client_that_says_nothing_is_left_after_a_moment(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PATIENCE", 0.1)
    with connect(node):
        assert ask(node, "status") == {"state": "ready"}


def test_a_client_that_drips_is_left_after_a_moment_too(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PATIENCE", 0.1)
    with connect(node) as dripping:
        dripping.settimeout(0.02)
        for _ in range(100):
            try:
                dripping.sendall(b"x")
                if dripping.recv(1) == b"":
                    break
            except TimeoutError:
                pass
            except (BrokenPipeError, ConnectionResetError):  # left just before this byte
                break
        else:
            pytest.fail("it was never left")
    assert ask(node, "status") == {"state": "ready"}


def test_a_node_without_descriptors_waits_for_some(
    node: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = socket.socket.accept
    failed = threading.Event()

    def once(self: socket.socket) -> Any:
        if not failed.is_set():
            failed.set()
            connection, _ = accept(self)
            connection.close()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", once)
    with pytest.raises(LabnodeError):
        ask(node, "status")
    assert ask(node, "status") == {"state": "ready"}
    assert caplog.messages == ["The control socket does not accept: Too many open files"]


# --- many at once ---


class Slow:
    """A command that lasts until the test lets it go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()

    def __call__(self) -> dict[str, Any]:
        self.begun.release()
        self.let_go.wait(20)
        return {"slow": True}


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.let_go.set()


def asks(connections: ExitStack, directory: Path, words: bytes) -> socket.socket:
    connection = connections.enter_context(connect(directory))
    connection.sendall(words)
    return connection


def answer(connection: socket.socket) -> Any:
    with connection.makefile() as lines:
        return json.loads(lines.readline())


def is_left(connection: socket.socket) -> bool:
    """Whether the node closes the connection without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_an_emergency_stop_does_not_wait_for_those_who_are_served(
    listen: Listen, tmp_path: Path, slow: Slow
) -> None:
    listen(commands={"slow": slow, "estop": lambda why="": {"why": why}})
    with ExitStack() as connections:
        busy = [asks(connections, tmp_path, b"slow\n") for _ in range(12)]
        for _ in range(8):
            assert slow.begun.acquire(timeout=5)
        assert ask(tmp_path, "estop", why="smoke") == {"why": "smoke"}
        assert not slow.begun.acquire(blocking=False)  # no more than eight are served at once
        slow.let_go.set()
        assert [answer(connection) for connection in busy] == [{"result": {"slow": True}}] * 12


def test_an_emergency_stop_does_not_wait_for_those_who_say_nothing(
    listen: Listen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PATIENCE", 600.0)
    listen(commands={"estop": dict})
    with ExitStack() as connections:
        silent = [asks(connections, tmp_path, b"est") for _ in range(100)]
        assert ask(tmp_path, "estop") == {}
        assert is_left(silent[0])  # the oldest have made room
        silent[-1].sendall(b"op\n")
        assert answer(silent[-1]) == {"result": {}}


def test_an_emergency_stop_does_not_wait_for_one_that_hangs(listen: Listen, tmp_path: Path) -> None:
    hung, let_go = threading.Event(), threading.Event()

    def estop(why: str = "") -> dict[str, Any]:
        if why == "hang":
            hung.set()
            let_go.wait(20)
        return {}

    listen(commands={"estop": estop})
    with ExitStack() as connections:
        first = asks(connections, tmp_path, b'estop {"why": "hang"}\n')
        assert hung.wait(5)
        assert ask(tmp_path, "estop") == {}
        let_go.set()
        assert answer(first) == {"result": {}}


def test_too_many_commands_are_refused_and_an_emergency_stop_is_not(
    listen: Listen, tmp_path: Path, slow: Slow
) -> None:
    listen(commands={"slow": slow, "estop": dict})
    with ExitStack() as connections:
        busy = [asks(connections, tmp_path, b"slow\n") for _ in range(8)]
        for _ in range(8):
            assert slow.begun.acquire(timeout=5)
        busy += [asks(connections, tmp_path, b"slow\n") for _ in range(32)]
        with pytest.raises(LabnodeError, match=r"^The node is busy with other commands\.$"):
            ask(tmp_path, "slow")
        assert ask(tmp_path, "estop") == {}
        slow.let_go.set()
        assert [answer(connection) for connection in busy] == [{"result": {"slow": True}}] * 40


def test_a_stop_leaves_those_who_wait_without_an_answer(
    listen: Listen, tmp_path: Path, slow: Slow
) -> None:
    control = listen(commands={"slow": slow})
    with ExitStack() as connections:
        busy = [asks(connections, tmp_path, b"slow\n") for _ in range(8)]
        for _ in range(8):
            assert slow.begun.acquire(timeout=5)
        waiting = [asks(connections, tmp_path, b"slow\n"), asks(connections, tmp_path, b"sl")]
        assert not control.stop(0.05)
        assert all(is_left(connection) for connection in waiting)
        slow.let_go.set()
        assert [answer(connection) for connection in busy] == [{"result": {"slow": True}}] * 8
        assert control.stop(5.0)
