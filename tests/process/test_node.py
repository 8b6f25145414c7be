"""A real node in daily use: a visit, the commands to it, bad input; one process for all of it."""

from __future__ import annotations

import json
import os
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.control import ask
from labnode.errors import LabnodeError
from tests.kit.basic_auth import basic
from tests.kit.waiting import PATIENCE

from .machine import PASSWORD, PROBE, SAFE, USERNAME, Machine, Node


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("node"))
    yield machine
    machine.end()


@pytest.fixture(scope="module")
def running(machine: Machine) -> Iterator[Node]:
    """At its end, whatever the tests did to it, it has logged no traceback and stops in order."""
    node = machine.node()
    yield node
    node.stop()
    assert node.levels() == SAFE
    assert node.errors.count("Traceback") == node.errors.count("RuntimeError: the pump")


@pytest.fixture
def node(running: Node) -> Iterator[Node]:
    """The node, without a session after the test."""
    yield running
    for session in control(running, "status")["sessions"]:
        assert session["state"] == "active", session
        session_id, _ = running.server.new()  # the next student of the same central server
        running.server.delete(session_id)


def control(node: Node, command: str) -> dict[str, Any]:
    return ask(node.state, command)


# --- a visit ---


def test_a_student_uses_the_board_and_leaves(node: Node) -> None:
    student = node.student()
    assert student.page.status == 200
    assert "<html" in student.page.text
    assert student.post("/api/devices/switch/on").json["devices"]["lamp"]["value"] is True
    assert node.server.status(student.session_id) == 5
    assert student.leave().json == {"success": True}
    assert node.server.delete(student.session_id).clean
    assert node.server.status(student.session_id) == -1
    assert student.get("/api/session").json["reason"] == "exited"


def test_a_task_runs_to_its_end(node: Node) -> None:
    student = node.student()
    task_id = student.start_task("hold")
    node.trace.wait_for("^hold$")
    assert node.server.delete(student.session_id).clean
    assert student.get(f"/api/tasks/{task_id}").status == 403


# --- labnode status, drain, undrain, clear ---


def test_status_tells_people_how_the_node_is(machine: Machine, node: Node) -> None:
    told = machine.labnode("status", "--state-dir", node.state)
    assert (told.returncode, told.stderr) == (0, "")
    lines = dict(line.split(None, 1) for line in told.stdout.splitlines())
    assert lines["board"] == f"probe@Tests, {PROBE} (simulated)"
    assert (lines["state"], lines["sessions"]) == ("ready", "0 of 1")
    assert (lines["quarantine"], lines["drain"]) == ("no", "no")
    assert lines["version"].endswith(f"process {node.popen.pid}")


def test_status_tells_programs_how_the_node_is(machine: Machine, node: Node) -> None:
    node.student()
    told = json.loads(machine.labnode("status", "--json", "--state-dir", node.state).stdout)
    assert (told["state"], told["url"], told["quarantine"]) == ("busy", node.url, None)
    (session,) = told["sessions"]
    assert session["state"] == "active"
    assert 290 < session["time_left"] <= 300


def test_a_drained_node_takes_no_new_students(machine: Machine, node: Node) -> None:
    session_id, _ = node.server.new()
    drained = machine.labnode("drain", "--state-dir", node.state)
    assert drained.stdout.splitlines()[1].startswith("1 session still to end")
    with pytest.raises(LabnodeError, match="it is being drained"):
        node.server.new()
    assert node.server.status(session_id) == 5
    assert control(node, "status")["state"] == "draining"
    assert node.server.delete(session_id).clean
    assert control(node, "status")["state"] == "drained"
    machine.labnode("undrain", "--state-dir", node.state)
    assert control(node, "status")["state"] == "ready"


def test_a_person_ends_the_quarantine(machine: Machine, node: Node) -> None:
    session_id, _ = node.server.new(client_initial_data={"on_dispose": "fail"})
    assert node.server.delete(session_id).clean
    assert control(node, "status")["state"] == "quarantine"
    with pytest.raises(LabnodeError, match="in quarantine: the pump does not answer"):
        node.server.check()
    cleared = machine.labnode("clear", "--state-dir", node.state)
    assert cleared.stdout.endswith("It was in quarantine because: the pump does not answer\n")
    node.server.check()
    again = machine.labnode("clear", "--state-dir", node.state)
    assert (again.returncode, again.stdout) == (0, "The board is not in quarantine.\n")


def test_the_settings_name_the_node_too_without_its_credentials(
    machine: Machine, node: Node
) -> None:
    settings = machine.home / "node.yaml"
    settings.write_text(f"state_dir: {node.state}\n")
    told = machine.labnode("status", "--settings", settings, LABNODE_WEBLAB_PASSWORD="")
    assert told.returncode == 0, told.stderr


def test_the_only_node_of_a_user_needs_no_name(machine: Machine, node: Node) -> None:
    states = machine.home / "states" / "labnode"
    (states / "gone").mkdir(parents=True)
    (states / "gone" / "control.sock").touch()
    (states / "probe").symlink_to(node.state)
    told = machine.labnode("status", XDG_STATE_HOME=str(states.parent))
    assert told.returncode == 0, told.stderr
    (states / "twin").symlink_to(node.state)
    told = machine.labnode("status", XDG_STATE_HOME=str(states.parent))
    assert told.returncode == 1
    assert "Several nodes are running" in told.stderr


def test_no_node_is_one_sentence(machine: Machine) -> None:
    nowhere = machine.home / "nowhere"
    told = machine.labnode("status", "--state-dir", nowhere)
    assert told.returncode == 1
    assert told.stderr == f"labnode: No labnode is running with the state directory {nowhere}.\n"
    told = machine.labnode("drain")
    assert told.returncode == 1
    assert told.stderr.startswith("labnode: No labnode of this user is running (none in ")


def test_the_socket_is_for_its_user_alone(node: Node) -> None:
    assert stat.S_IMODE((node.state / "control.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(node.state.stat().st_mode) == 0o700


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Node]:
    """A node with a board of this user's own: where that is root, it stays root."""
    machine = Machine(tmp_path)
    yield machine.node(board=machine.board("lab:", "lab:"))
    machine.end()


@pytest.mark.root
def test_another_user_is_refused_even_where_the_files_let_him_in(roots: Node) -> None:
    roots.state.chmod(0o755)
    (roots.state / "control.sock").chmod(0o666)
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.chdir(roots.state)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect("control.sock")
                connection.sendall(b"drain\n")
                os.write(write, connection.recv(1000))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert json.load(answer)["error"]["code"] == "forbidden"
    assert control(roots, "status")["state"] == "ready"


# --- labnode fake ---


def test_a_session_from_the_command_line(machine: Machine, node: Node, tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    to = ["--url", node.url]
    made = machine.labnode(
        "fake", "new", *to, "--name", "Ada", "--locale", "es", "--dont-open-browser",
        "--client-initial-data", '{"level": 3}', **env,
    )  # fmt: skip
    assert (made.returncode, made.stderr) == (0, "")
    (url,) = made.stdout.splitlines()
    assert url.startswith(f"{node.url}/callback/")
    memory = tmp_path / "labnode" / "fake-session.json"
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600

    asked = machine.labnode("fake", "status", **env)
    assert asked.stdout == (
        "The session is not over; the node wants to be asked again in 5 s (should_finish: 5).\n"
    )
    ended = machine.labnode("fake", "dispose", **env)
    assert ended.stdout == "The session is finished.\n"
    assert not memory.exists()

    asked = machine.labnode("fake", "status", **env)
    assert asked.returncode == 2
    assert asked.stderr.startswith("labnode: No session is remembered: start one with labnode fake")


def test_status_and_dispose_take_the_id_of_a_session(
    machine: Machine, node: Node, tmp_path: Path
) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    session_id, _ = node.server.new()
    ended = machine.labnode("fake", "dispose", session_id, "--url", node.url, **env)
    assert ended.stdout == "The session is finished.\n", ended.stderr
    asked = machine.labnode("fake", "status", session_id, "--url", node.url, **env)
    assert asked.stdout == "The session is over (should_finish: -1).\n"


# --- bad input ---


@pytest.mark.parametrize("body", [b"{", b'{"a": 1', b"\xff", b"[" * 100_000, b'{"value": NaN'])
def test_a_broken_body_from_the_page_is_400_and_changes_nothing(node: Node, body: bytes) -> None:
    student = node.student()
    for path in ("/api/devices/switch/set", "/api/tasks/hold"):
        answer = student.post(path, body)
        assert answer.status == 400, answer
        assert answer.json["error"] is True
    assert student.get("/api/session").json["active"] is True


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b"[" * 100_000, b'{"client_initial_data": 3}']
)
def test_a_broken_start_is_400_and_starts_nothing(node: Node, body: bytes) -> None:
    request = urllib.request.Request(f"{node.url}/weblab/sessions/", body)
    request.add_header("Authorization", basic(f"{USERNAME}:{PASSWORD}"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(request, timeout=PATIENCE)
    with refused.value as answer:
        assert answer.code == 400
        assert json.load(answer)["success"] is False
    assert control(node, "status")["sessions"] == []


def test_a_second_node_on_the_same_state_directory_is_refused(machine: Machine, node: Node) -> None:
    student = node.student()
    second = machine.labnode(
        "run", PROBE, "--simulate", "--port", "0", "--state-dir", node.state, LABNODE_TEST_TRACE="1"
    )
    assert second.returncode == 2
    assert second.stdout == ""
    assert second.stderr == (
        f"labnode: {node.state}: another labnode is running with this state directory\n"
    )
    assert student.get("/api/session").json["active"] is True
    assert control(node, "status")["state"] == "busy"
