"""Another board for a node that is running, as a person and a service manager ask for it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from labnode.control import ask

from .machine import SAFE, Machine, Node


@pytest.fixture
def board(machine: Machine) -> Path:
    return machine.board("timeout: 60", "timeout: 60")


@pytest.fixture
def node(machine: Machine, board: Path) -> Node:
    return machine.node(board=board)


def test_a_board_is_applied_when_the_student_has_gone(
    machine: Machine, node: Node, board: Path
) -> None:
    student = node.student()
    board.write_text(board.read_text().replace("name: probe", "name: second"))
    state = ("--state-dir", node.state)
    refused = machine.labnode("apply", "--now", *state)
    assert (refused.returncode, refused.stderr) == (1, "labnode: A student is on the board.\n")
    applying = machine.process("apply", board, *state)
    applying.output.wait_for("Waiting for 1 session to end")
    assert student.leave().status == 200
    assert applying.wait() == 0
    status = json.loads(machine.labnode("status", "--json", *state).stdout)
    assert (status["board"]["name"], status["draining"]) == ("second", False)
    assert node.student().page.status == 200
    node.stop()
    assert node.levels() == SAFE


def test_a_board_with_mistakes_is_refused_with_their_lines(
    machine: Machine, node: Node, board: Path
) -> None:
    board.write_text(board.read_text().replace("driver: relay", "driver: realy"))
    refused = machine.labnode("apply", board, "--state-dir", node.state)
    assert refused.returncode == 2
    assert "own.yaml:8: " in refused.stderr
    assert "own.yaml:9: " in refused.stderr
    assert node.student().page.status == 200


def test_the_hangup_signal_reads_the_board_again(node: Node, board: Path) -> None:
    node.trace.wait_for("GPIO24 1.0")
    board.write_text(board.read_text().replace("pin: GPIO24", "pin: GPIO23"))
    node.send(signal.SIGHUP)
    node.trace.wait_for("GPIO23 1.0")
    while ask(node.state, "applied")["state"] != "finished":
        pass
    assert ask(node.state, "applied")["error"] is None
    assert node.student().page.status == 200


def test_a_board_that_hangs_when_it_opens_ends_the_node(machine: Machine, board: Path) -> None:
    node = machine.node(board=board, LABNODE_TEST_HUNG_AFTER="1")
    other = machine.home / "other.yaml"
    other.write_text("schema: 1\ndevices: {console: {driver: stuck}}\n")
    failed = machine.labnode("apply", other, "--state-dir", node.state)
    assert failed.returncode == 1
    assert "The node has ended while it changed its board" in failed.stderr
    assert node.wait() == 70
    assert node.levels() == SAFE
    assert machine.again(node, board=board).student().page.status == 200
