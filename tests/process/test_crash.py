"""SIGKILL at the worst moments, and what the next start of the node makes of it."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from labnode.errors import LabnodeError

from .machine import PROBE, SAFE, Machine, Node

CALM = {"LABNODE_TEST_CALM": "1"}


def first_levels(node: Node) -> dict[str, str]:
    """What the pins were driven to first of all, as far as the trace has been read."""
    levels = [line.split() for line in node.trace.seen if line.startswith("GPIO")]
    return dict(reversed(levels))


# --- in the middle of a session ---


def test_a_session_is_resumed_with_the_same_cookie(machine: Machine) -> None:
    node = machine.node()
    student = node.student(level=3)
    node = machine.crashed(node)
    assert student.get("/api/session").json["restarted"] is True
    node.trace.wait_for("on_start again")
    assert first_levels(node) == SAFE
    assert student.post("/api/devices/switch/off").json["devices"]["lamp"]["value"] is False
    assert student.post(f"{student.url}/poll").json["success"] is True
    assert node.server.status(student.session_id) == 5
    assert node.server.delete(student.session_id).clean
    node.trace.wait_for("cleaned")
    assert student.get("/api/session").json["code"] == "session-over"
    node.stop()


def test_a_reservation_that_is_asked_for_again_is_the_resumed_session(machine: Machine) -> None:
    node = machine.node()
    session = node.server.new(reservation_id="the same")
    node = machine.crashed(node)
    assert node.server.new(reservation_id="the same") == session
    node.stop()


def test_a_session_is_disposed_where_the_board_says_so(machine: Machine) -> None:
    board = machine.board("on_restart: resume", "on_restart: dispose")
    node = machine.node(board=board)
    student = node.student()
    node = machine.crashed(node, board=board)
    node.trace.wait_for("cleaned")
    assert "on_start again" not in node.trace.seen
    assert student.get("/api/session").json["reason"] == "restart"
    assert node.server.delete(student.session_id).clean
    assert node.server.status(student.session_id) == -1
    node.stop()
    assert node.levels() == SAFE


def test_a_third_crash_in_one_session_is_its_last(machine: Machine) -> None:
    node = machine.node()
    student = node.student()
    for _ in range(2):
        node = machine.crashed(node)
        student.start_task("chore")  # is in the store after the session's being active again
        node.trace.wait_for("on_start again")
    node = machine.crashed(node)
    node.trace.wait_for("cleaned")
    assert student.get("/api/session").json["reason"] == "restart"
    assert node.server.delete(student.session_id).clean
    node.stop()


# --- in the middle of a task ---


@pytest.mark.parametrize("name", ["hold", "chore"])
def test_a_task_fails_as_interrupted_and_can_be_started_again(machine: Machine, name: str) -> None:
    node = machine.node()
    student = node.student()
    task_id = student.start_task(name, how="wait")
    node.trace.wait_for(f"^{name}$")
    node = machine.crashed(node, **CALM)
    task = student.get(f"/api/tasks/{task_id}").json
    assert (task["status"], task["error"]["code"]) == ("failed", "interrupted")
    assert student.get("/api/state").json["tasks"] == []
    student.start_task(name)
    node.trace.wait_for(f"^{name}$")
    assert node.trace.seen.count(name) == 1  # and the interrupted one never
    assert node.server.delete(student.session_id).clean
    node.stop()
    rows = node.rows("SELECT status FROM tasks ORDER BY submitted_at")
    assert rows == [("failed",), ("done",)]


def test_tasks_that_waited_for_their_turn_are_interrupted_too(machine: Machine) -> None:
    node = machine.node()
    student = node.student()
    for _ in range(3):
        student.start_task("chore", how="wait")
    node.trace.wait_for("chore")
    node.trace.wait_for("chore")
    node = machine.crashed(node, **CALM)
    assert student.get("/api/session").status == 200
    node.stop()
    assert "chore" not in node.trace.all()
    assert node.rows("SELECT DISTINCT status FROM tasks") == [("failed",)]


# --- in the middle of a start or a clean-up ---


def test_a_start_is_disposed(machine: Machine) -> None:
    node = machine.node()
    asking = ask(node, on_start="wait")
    node.trace.wait_for("on_start")
    node.kill()
    asking.join(5)
    node = machine.again(node, **CALM)
    assert node.student().page.status == 200  # it waited for the clean-up
    assert [line for line in node.trace.seen if not line.startswith("GPIO")] == []
    node.trace.wait_for("on_dispose")
    node.trace.wait_for("cleaned")
    node.trace.wait_for("on_start first")
    node.stop()
    assert node.rows("SELECT state, reason FROM sessions ORDER BY created_at") == [
        ("disposed", "restart"),
        ("active", None),
    ]


def test_a_clean_up_is_done_again(machine: Machine) -> None:
    node = machine.node()
    student = node.student(on_dispose="wait")
    student.leave()
    node.trace.wait_for("on_dispose")
    assert node.server.status(student.session_id) == 2
    node = machine.crashed(node, **CALM)
    node.trace.wait_for("cleaned")
    assert student.get("/api/session").json["reason"] == "exited"
    assert node.server.delete(student.session_id).message in ("Deleted", "Not found")
    assert node.student().page.status == 200
    node.stop()
    assert node.levels() == SAFE
    assert node.rows("SELECT state, reason FROM sessions ORDER BY created_at") == [
        ("disposed", "exited"),
        ("active", None),
    ]


def test_a_clean_up_that_fails_after_the_crash_puts_the_board_in_quarantine(
    machine: Machine,
) -> None:
    node = machine.node()
    student = node.student(on_dispose="fail")
    node = machine.crashed(node)
    assert node.server.delete(student.session_id).clean
    node = machine.crashed(node)  # and the quarantine is still there
    with pytest.raises(LabnodeError, match="quarantine: the pump does not answer"):
        node.server.new()
    node.stop()
    assert node.levels() == SAFE


# --- what is left lying about ---


def test_a_node_starts_among_the_remains_of_one_that_was_killed(machine: Machine) -> None:
    node = machine.node()
    node.kill()
    remains = {path.name for path in Path(node.state).iterdir()}
    assert {"control.sock", "lock", "labnode.db", "labnode.db-wal"} <= remains
    node = machine.again(node)
    assert machine.labnode("status", "--state-dir", node.state).returncode == 0
    node.stop()
    assert node.errors == ""


def test_what_was_wrong_with_the_port_costs_no_session(machine: Machine, tmp_path: Path) -> None:
    node = machine.node()
    student = node.student()
    node.kill()
    other = Machine(tmp_path / "other")
    other.home.mkdir()
    with other.node("--port", node.url.rpartition(":")[2]) as in_the_way:
        for _ in range(3):
            failed = machine.labnode(
                "run", PROBE, "--simulate", "--port", node.url.rpartition(":")[2],
                "--state-dir", node.state, LABNODE_TEST_TRACE="1",
            )  # fmt: skip
            assert failed.returncode == 2
            assert "already in use" in failed.stderr
            assert failed.stdout == ""  # no hook has run, no pin was touched
        in_the_way.stop()
    node = machine.again(node)
    assert student.get("/api/session").status == 200
    node.stop()


def ask(node: Node, **client_data: str) -> threading.Thread:
    """A central server that is about to lose its node."""

    def ask() -> None:
        with suppress(LabnodeError):
            node.server.new(client_initial_data=client_data)

    thread = threading.Thread(target=ask, name="central-server")
    thread.start()
    return thread
