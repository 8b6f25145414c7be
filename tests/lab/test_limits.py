"""Tasks whose author says how long they take, in sessions that have an end."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import SessionOver, TooLittleTime
from labnode.lab import Lab
from labnode.tasks import Task
from tests.kit.node import SmallNode
from tests.kit.waiting import eventually

Boot = Callable[..., SmallNode]
LANES = pytest.mark.parametrize("unique", [None, "global"], ids=["background", "hardware"])


def resting(node: SmallNode, task: Task) -> None:
    """Return when the task runs and waits for time to pass, and the reaper knows of it."""
    eventually(lambda: task.retrieve().running)
    node.settle()
    run = node.tasks._registry.find(task.task_id)
    assert run is not None

    def rests() -> bool:
        with node.clock.watch:
            return node.clock.rests(run.thread)

    eventually(rests)
    node.settle()


def ended(node: SmallNode, task: Task) -> Any:
    eventually(lambda: task.retrieve().finished)
    node.settle()
    return task


@pytest.fixture
def program(lab: Lab) -> Any:
    @lab.task(unique="global", estimated_time=20)
    def program() -> str:
        return "programmed"

    return program


# --- estimated_time ---


def test_a_task_that_takes_longer_than_is_left_has_failed_and_says_both_numbers(
    node: SmallNode, lab: Lab, program: Any
) -> None:
    session = node.connected(length=19.5)
    task = node.run_as(session, program.delay)
    assert task.failed
    assert task.error == {
        "code": "no-time",
        "class": "TooLittleTime",
        "message": "Task 'program' takes about 20 s, and only 19 s are left.",
    }
    assert node.run_as(session, program.run_sync).error == task.error
    assert node.store.select("tasks", "id = ?", task.task_id) == []


def test_called_directly_it_raises(node: SmallNode, program: Any) -> None:
    session = node.connected(length=5)
    with pytest.raises(TooLittleTime, match="only 5 s are left"):
        node.run_as(session, program)


def test_what_is_left_now_counts(node: SmallNode, program: Any) -> None:
    session = node.connected(length=30)
    assert node.run_as(session, program) == "programmed"
    node.clock.advance(11)
    assert node.run_as(session, program.delay).error["code"] == "no-time"


def test_the_lab_itself_has_all_time(node: SmallNode, program: Any) -> None:
    assert program() == "programmed"
    assert program.run_sync().result == "programmed"


def test_a_clean_up_is_not_on_the_students_time(node: SmallNode, lab: Lab, program: Any) -> None:
    cleaned: list[str] = []
    lab.on_dispose(lambda: cleaned.append(program()))
    node.delete(node.connected(length=5))
    assert cleaned == ["programmed"]


def test_after_the_session_that_is_the_reason(node: SmallNode, program: Any) -> None:
    session = node.connected(length=5)
    node.delete(session)
    with pytest.raises(SessionOver):
        node.run_as(session, program)


# --- max_runtime ---


@LANES
def test_a_task_that_has_run_long_enough_is_asked_to_stop(
    boot: Boot, lab: Lab, unique: Any
) -> None:
    @lab.task(unique=unique, max_runtime=10)
    def heat() -> list[bool]:
        return [lab.wait(9), lab.wait(100)]

    node = boot(reaper=True, timeout=-1)
    task = node.run_as(node.connected(), heat.delay)
    resting(node, task)
    node.clock.advance(9)
    resting(node, task)
    assert not task.retrieve().stopping
    node.clock.advance(1)
    assert ended(node, task).result == [True, False]


def test_its_time_begins_when_it_begins(boot: Boot, lab: Lab) -> None:
    @lab.task(unique="user")
    def before() -> None:
        lab.wait(60)

    @lab.task(unique="user", max_runtime=10)
    def heat() -> bool:
        return lab.wait(8)

    node = boot(reaper=True, timeout=-1)
    session = node.connected()
    node.run_as(session, before.delay)
    task = node.run_as(session, heat.delay)
    node.settle()
    for seconds in (20, 20, 20, 8):
        node.sessions.poll(session)
        node.clock.advance(seconds)
        node.settle()
    assert ended(node, task).result is True


def test_one_that_waits_on_is_stopped_in_its_wait(boot: Boot, lab: Lab) -> None:
    @lab.task(unique="global", max_runtime=10)
    def stubborn() -> None:
        lab.wait(100)
        busy.set()
        gate.wait(10)
        lab.wait(100)

    busy, gate = threading.Event(), threading.Event()
    node = boot(reaper=True, timeout=-1)
    task = node.run_as(node.connected(), stubborn.delay)
    resting(node, task)
    node.clock.advance(10)
    assert busy.wait(10)
    node.clock.advance(6)
    gate.set()
    assert ended(node, task).error["code"] == "stopped"


def test_one_that_ignores_everything_is_overdue(boot: Boot, lab: Lab) -> None:
    @lab.task(unique="global", max_runtime=30)
    def deaf() -> None:
        busy.set()
        gate.wait(10)

    busy, gate = threading.Event(), threading.Event()
    node = boot()
    task = deaf.delay()
    assert busy.wait(10)
    node.clock.advance(30)
    assert node.tasks.overdue.fault() is None
    assert node.tasks.overdue.stop() == 5  # then what it has started is killed
    node.clock.advance(11)
    assert node.tasks.overdue.fault() == "task 'deaf' was asked to stop 11 s ago and runs on"
    gate.set()
    assert ended(node, task).done


def test_a_part_with_a_limit_ends_alone(boot: Boot, lab: Lab) -> None:
    @lab.task(max_runtime=10)
    def part() -> bool:
        return lab.wait(100)

    @lab.task
    def whole() -> list[bool]:
        return [part(), lab.wait(5)]

    node = boot(reaper=True, timeout=-1)
    task = node.run_as(node.connected(), whole.delay)
    resting(node, task)
    node.clock.advance(10)
    resting(node, task)
    node.clock.advance(5)
    assert ended(node, task).result == [False, True]


def test_nothing_is_looked_for_when_no_task_has_a_limit(node: SmallNode, lab: Lab) -> None:
    @lab.task
    def endless() -> bool:
        return lab.wait(1000)

    node.run_as(node.connected(), endless.delay)
    assert node.tasks.overdue.stop() is None


# --- both ---


@pytest.mark.parametrize("option", ["estimated_time", "max_runtime"])
@pytest.mark.parametrize("value", [0, -1, "5", True, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(option: str, value: Any) -> None:
    options: Any = {option: value}
    with pytest.raises(ValueError, match=f"{option} is a number of seconds above 0"):
        Lab().task(**options)(print)


# --- what a task has started ---


@LANES
@pytest.mark.parametrize("leads", [False, True], ids=["alone", "with a group of its own"])
def test_the_processes_of_a_task_that_does_not_stop_are_killed_after_5_s(
    node: SmallNode, lab: Lab, unique: Any, leads: bool
) -> None:
    started = threading.Event()

    @lab.task(unique=unique)
    def program() -> int:
        with subprocess.Popen(["sleep", "60"], start_new_session=leads) as tool:
            started.set()
            return tool.wait()

    others = subprocess.Popen(["sleep", "60"])
    try:
        session = node.connected()
        task = node.run_as(session, program.delay)
        assert started.wait(10)
        task.stop()
        node.tasks.overdue.stop()
        assert not task.retrieve().finished
        node.clock.advance(5)
        node.tasks.overdue.stop()
        assert ended(node, task).result == -signal.SIGKILL
        assert others.poll() is None
    finally:
        others.kill()
        others.wait()


def test_a_task_that_stops_in_time_keeps_what_it_has_started(node: SmallNode, lab: Lab) -> None:
    @lab.task()
    def leave_behind() -> int:
        tool = subprocess.Popen(["sleep", "60"])
        started.append(tool)
        lab.wait(60)
        return tool.pid

    started: list[subprocess.Popen[bytes]] = []
    task = node.run_as(node.connected(), leave_behind.delay)
    resting(node, task)
    task.stop()
    ended(node, task)
    node.advance(6)
    assert started[0].poll() is None
    started[0].kill()
    started[0].wait()
