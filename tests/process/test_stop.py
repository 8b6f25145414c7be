"""Stopping a real node: what the pins, the student and the central server see of it."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from labnode.clock import Clock
from labnode.errors import LabnodeError
from tests.kit.waiting import eventually

from .machine import SAFE, Machine, Node, Process


def stop(node: Node, number: int = signal.SIGTERM) -> int:
    """Its exit code; it has to end within 10 s."""
    now = Clock().now
    began = now()
    node.send(number)
    code = node.wait()
    assert now() - began < 10
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(machine: Machine, number: int) -> None:
    node = machine.node()
    assert stop(node, number) == 0
    assert node.levels() == SAFE
    assert node.errors == ""
    assert not (node.state / "control.sock").exists()


def test_it_survives_the_end_of_its_terminal_under_nohup(machine: Machine) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited, as under nohup
    try:
        node = machine.node()
    finally:
        signal.signal(signal.SIGHUP, before)
    node.send(signal.SIGHUP)
    assert node.student().page.status == 200
    assert stop(node) == 0


def test_sigterm_in_a_session_makes_the_pins_safe_and_keeps_the_session(machine: Machine) -> None:
    node = machine.node()
    node.student()
    assert stop(node) == 0
    assert node.levels() == SAFE
    assert "on_dispose" not in node.trace.seen
    assert node.rows("SELECT state FROM sessions") == [("active",)]


def test_sigterm_ends_tasks_that_wait(machine: Machine) -> None:
    node = machine.node()
    student = node.student()
    student.start_task("hold", how="wait")
    student.start_task("chore", how="wait")
    node.trace.wait_for("chore|hold")
    node.trace.wait_for("chore|hold")
    assert stop(node) == 0
    assert node.levels() == SAFE
    assert node.rows("SELECT status, result FROM tasks") == [("done", '"stopped"')] * 2


def test_sigterm_while_a_start_waits_tells_the_central_server(machine: Machine) -> None:
    node = machine.node()
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(node.server.new(client_initial_data={"on_start": "wait"}))
        except LabnodeError as error:
            answers.append(error)

    asking = threading.Thread(target=ask, name="central-server")
    asking.start()
    node.trace.wait_for("on_start")
    assert stop(node) == 0
    asking.join(5)
    assert isinstance(answers[0], LabnodeError)
    assert node.levels() == SAFE
    assert node.rows("SELECT state FROM sessions") == [("starting",)]
    after = machine.again(node, LABNODE_TEST_CALM="1")
    after.trace.wait_for("cleaned")
    assert after.student().page.status == 200


def test_threads_that_a_lab_has_forgotten_do_not_keep_it(machine: Machine) -> None:
    node = machine.node(LABNODE_TEST_THREAD="1")
    assert stop(node) == 0
    assert node.errors == "labnode: The process ends without: forgotten.\n"


def test_a_hung_hardware_thread_ends_the_process_with_the_pins_safe(machine: Machine) -> None:
    node = machine.node(LABNODE_TEST_HUNG_AFTER="1")
    node.student().start_task("hold", how="hang")
    assert node.wait() == 70
    assert node.levels() == SAFE
    assert "The agent ends itself: the hardware thread had no turn for 1 s." in node.errors
    assert re.search(r'hardware is at\n.*probe.py", line \d+, in behave\n', node.errors, re.DOTALL)


# --- what does not stop ---


@dataclass
class Hard:
    """How a node ended that something in it wanted to keep; all of them were stopped together."""

    machine: Machine
    node: Node
    code: int


def hang_in_on_start(node: Node) -> None:
    with suppress(LabnodeError):
        node.server.new(client_initial_data={"on_start": "hang"})


def hang_in_on_dispose(node: Node) -> None:
    node.student(on_dispose="hang").leave()


def hang_in_a_unique_task(node: Node) -> None:
    node.student().start_task("hold", how="hang")


def hang_in_the_background(node: Node) -> None:
    node.student().start_task("chore", how="hang")


HARD = {
    hang_in_on_start: "on_start",
    hang_in_on_dispose: "on_dispose",
    hang_in_a_unique_task: "hold",
    hang_in_the_background: "chore",
}


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A node whose last device does not open, stopped at the same time as the others."""
    machine = Machine(tmp_path_factory.mktemp("stuck"))
    board = machine.board("devices:", "devices:\n  first: {driver: led, pin: GPIO5, safe: true}")
    board.write_text(board.read_text().replace("simulate:", "  last: {driver: stuck}\nsimulate:"))
    process = machine.process("run", board, "--simulate", "--port", "0")
    process.trace.wait_for("stuck")
    process.send(signal.SIGTERM)
    yield process
    machine.end()


@pytest.fixture(scope="module")
def hard_ends(
    tmp_path_factory: pytest.TempPathFactory, stuck: Process
) -> Iterator[dict[object, Hard]]:
    now = Clock().now
    ends = {}
    threads = []
    for hang, sign in HARD.items():
        machine = Machine(tmp_path_factory.mktemp(sign))
        node = machine.node()
        ends[hang] = Hard(machine, node, -1)
        threads.append(threading.Thread(target=hang, args=[node], name="central-server"))
        threads[-1].start()
        node.trace.wait_for(sign)
    began = now()
    for end in ends.values():
        end.node.send(signal.SIGTERM)
    for end in ends.values():
        end.code = end.node.wait()
    assert now() - began < 10
    for thread in threads:
        thread.join(5)
    yield ends
    for end in ends.values():
        end.machine.end()


@pytest.mark.parametrize("hang", HARD)
def test_what_does_not_stop_ends_with_the_process(
    hard_ends: dict[object, Hard], hang: object
) -> None:
    node = hard_ends[hang].node
    assert hard_ends[hang].code == 70
    assert node.levels() == SAFE
    what = "A task in the background" if hang is hang_in_the_background else "The hardware thread"
    assert f"CRITICAL labnode.node.failsafe: {what} did not stop; " in node.errors
    assert re.search(r'is at\n.*probe.py", line \d+, in behave\n', node.errors, re.DOTALL)
    assert "Traceback" not in node.errors


@pytest.mark.parametrize("hang", [hang_in_on_start, hang_in_on_dispose])
def test_the_hook_that_hung_is_followed_by_a_clean_up(
    hard_ends: dict[object, Hard], hang: object
) -> None:
    end = hard_ends[hang]
    with end.machine.again(end.node, LABNODE_TEST_CALM="1") as node:
        node.trace.wait_for("cleaned")
        over = [("disposed",)]
        eventually(lambda: node.rows("SELECT state FROM sessions") == over)  # stored
        assert stop(node) == 0
    assert node.rows("SELECT state FROM sessions") == over


@pytest.mark.parametrize("hang", [hang_in_a_unique_task, hang_in_the_background])
def test_the_task_that_hung_is_interrupted(hard_ends: dict[object, Hard], hang: object) -> None:
    end = hard_ends[hang]
    with end.machine.again(end.node) as node:
        assert stop(node) == 0
    assert node.rows("SELECT status, json_extract(error, '$.code') FROM tasks") == [
        ("failed", "interrupted")
    ]


def test_a_device_that_does_not_open_cannot_keep_it(stuck: Process) -> None:
    assert stuck.wait() == 70
    assert stuck.levels() == {**SAFE, "GPIO5": "1.0"}
    assert "The agent ends itself: it did not stop within 10 s." in stuck.errors
