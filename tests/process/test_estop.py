"""The emergency stop of a real process: by command, while the hardware thread does not answer."""

from __future__ import annotations

import json

import pytest

from .machine import SAFE, Machine, Node


@pytest.fixture
def node(machine: Machine) -> Node:
    return machine.node()


def command(machine: Machine, node: Node, *words: str) -> str:
    done = machine.labnode(*words, "--state-dir", node.state)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_is_safe_at_once_and_stays_so_until_it_is_cleared(
    machine: Machine, node: Node
) -> None:
    student = node.student()
    assert "1 session ended." in command(machine, node, "estop", "--why", "smoke")
    assert student.get("/api/board").json["reason"] == "estop"
    assert node.server.delete(student.session_id).clean
    status = json.loads(command(machine, node, "status", "--json"))
    assert (status["state"], status["estop"]) == ("quarantine", "smoke")
    assert "Emergency stop: smoke" in command(machine, node, "clear")
    assert node.student().page.status == 200


def test_a_hardware_thread_that_does_not_hear_of_it_ends_the_process(
    machine: Machine, node: Node
) -> None:
    student = node.student()
    student.start_task("hold", how="hang")
    node.trace.wait_for("hold")
    command(machine, node, "estop", "--why", "smoke")
    assert node.wait() == 70
    assert node.levels() == SAFE
    assert "nobody has acknowledged an emergency stop" in node.errors
    assert node.rows("SELECT reason FROM sessions") == [("estop",)]
    again = machine.again(node, LABNODE_TEST_CALM="1")
    status = json.loads(command(machine, again, "status", "--json"))
    assert (status["state"], status["estop"]) == ("quarantine", "smoke")
    command(machine, again, "clear")
    assert again.student().page.status == 200
