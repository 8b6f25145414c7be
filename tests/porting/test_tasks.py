"""Tasks, as weblablib's manual describes them, on the real threads of a node."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import AlreadyRunningError, LabnodeError
from labnode.lab import Lab
from labnode.tasks import Task, TaskFunction
from labnode.testing import Student

from .bench import Bench, Gate

Guarded = Callable[..., TaskFunction[..., Any]]


@pytest.fixture
def student(bench: Bench) -> Student:
    return bench.student()


@pytest.fixture
def double(lab: Lab) -> TaskFunction[[int], int]:
    @lab.task()
    def double(number: int) -> int:
        return 2 * number

    return double


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def guarded(lab: Lab, gate: Gate) -> Guarded:
    """Makes tasks that wait at the gate and return what they are given, or raise it."""

    def make(**options: Any) -> TaskFunction[..., Any]:
        @lab.task(**options)
        def guarded(result: str = "through") -> str:
            lab.current_task.data["at"] = "gate"
            gate.wait_here()
            if result == "error":
                raise ValueError("It does not fit.")
            return result

        return guarded

    return make


# --- starting ---


def test_a_direct_call_returns_what_the_function_returns(
    bench: Bench, student: Student, double: TaskFunction[[int], int]
) -> None:
    assert bench.view(student, lambda: double(4)) == 8


def test_a_direct_call_raises_what_the_function_raises(
    bench: Bench, lab: Lab, student: Student
) -> None:
    @lab.task()
    def fail() -> None:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        bench.view(student, fail)


@pytest.mark.parametrize("unique", [None, "global", "user"])
def test_a_delayed_task_runs_in_another_thread(
    bench: Bench, lab: Lab, student: Student, unique: Any
) -> None:
    @lab.task(unique=unique)
    def where() -> str:
        return threading.current_thread().name

    task = bench.view(student, lambda: where.delay().join(5))
    assert task.result != threading.current_thread().name
    assert task.result.startswith("background" if unique is None else "hardware")


def test_a_task_goes_from_submitted_to_running_to_done(
    bench: Bench, student: Student, guarded: Guarded, gate: Gate
) -> None:
    before, states = Gate(), []

    @bench.lab.task(unique="global")
    def go_first() -> None:
        before.wait_here()

    def look(task: Task) -> None:
        flags = (task.submitted, task.running, task.done, task.failed, task.finished)
        states.append((task.status, *flags, task.result, task.error))

    bench.view(student, go_first.delay)
    task = bench.view(student, guarded(unique="global").delay)
    look(task)
    before.open()
    gate.reached()
    look(task.retrieve())
    gate.open()
    look(task.join(5))
    assert states == [
        ("submitted", True, False, False, False, False, None, None),
        ("running", False, True, False, False, False, None, None),
        ("done", False, False, True, False, True, "through", None),
    ]


def test_what_a_task_raises_is_its_error(
    bench: Bench, student: Student, guarded: Guarded, gate: Gate
) -> None:
    gate.open()
    function = guarded()
    task = bench.view(student, lambda: function.delay("error").join(5))
    assert (task.status, task.failed, task.result) == ("failed", True, None)
    assert task.error == {
        "code": "exception",
        "class": "ValueError",
        "message": "It does not fit.",
    }


def test_run_sync_returns_the_finished_task(
    bench: Bench, student: Student, double: TaskFunction[[int], int]
) -> None:
    task = bench.view(student, lambda: double.run_sync(4, timeout=5))
    assert (task.done, task.result) == (True, 8)


def test_run_sync_waits_no_longer_than_it_may(
    bench: Bench, student: Student, guarded: Guarded, gate: Gate
) -> None:
    function = guarded()
    task = bench.view(student, lambda: function.run_sync(timeout=0.05))
    assert not task.finished
    gate.open()
    assert task.join(5).result == "through"


def test_hooks_run_tasks_too(bench: Bench, lab: Lab, double: TaskFunction[[int], int]) -> None:
    results: list[Any] = []
    lab.on_start(lambda client_data, server_data: results.append(double.run_sync(1).result))
    lab.on_dispose(lambda: results.append([task.result for task in lab.tasks]))
    bench.finish(bench.student())
    assert results == [2, [2]]


# --- data ---


def test_what_a_task_tells_can_be_seen_outside_while_it_runs(
    bench: Bench, student: Student, guarded: Guarded, gate: Gate, lab: Lab
) -> None:
    task_id = bench.view(student, guarded().delay).task_id
    gate.reached()
    assert bench.view(student, lambda: lab.get_task(task_id)).data == {"at": "gate"}
    gate.open()


def test_a_task_object_changes_only_when_it_is_retrieved(
    bench: Bench, student: Student, guarded: Guarded, gate: Gate
) -> None:
    task_id = bench.view(student, guarded().delay).task_id
    gate.reached()
    task, another = bench.view(student, lambda: [bench.lab.get_task(task_id) for _ in range(2)])
    gate.open()
    another.join(5)
    assert (task.status, task.result) == ("running", None)
    assert task.retrieve() is task
    assert (task.status, task.result) == ("done", "through")


def test_data_is_written_inside_the_task_only(
    bench: Bench, student: Student, double: TaskFunction[[int], int]
) -> None:
    task = bench.view(student, lambda: double.run_sync(4))
    for write in (lambda: task.data.update(a=1), task.store, lambda: setattr(task, "data", {})):
        with pytest.raises(TypeError, match="inside the task only"):
            write()


def test_data_that_was_changed_deep_inside_is_stored_with_store(
    bench: Bench, lab: Lab, student: Student
) -> None:
    @lab.task()
    def measure() -> bool:
        task = lab.current_task
        task.data["values"] = []
        task.data["values"].append(1)
        return task.store() is task

    task = bench.view(student, lambda: measure.delay().join(5))
    assert (task.result, task.data) == (True, {"values": [1]})


# --- stopping and joining ---


@pytest.mark.parametrize("unique", [None, "global"])
def test_a_task_sees_that_it_was_asked_to_stop(
    bench: Bench, lab: Lab, student: Student, unique: Any
) -> None:
    begun = threading.Event()

    @lab.task(unique=unique)
    def work() -> list[bool]:
        before = lab.current_task_stopping
        begun.set()
        lab.current_task.wait(60)
        return [before, lab.current_task_stopping, lab.current_task.stopping]

    task = bench.view(student, work.delay)
    assert begun.wait(5)
    assert not task.stopping
    task.stop()
    assert task.join(5).result == [False, True, True]


def test_join_raises_or_returns_when_it_takes_too_long(
    bench: Bench, student: Student, guarded: Guarded, gate: Gate
) -> None:
    task = bench.view(student, guarded().delay)
    with pytest.raises(TimeoutError):
        bench.view(student, lambda: task.join(0.01))
    assert not bench.view(student, lambda: task.join(0.01, error_on_timeout=False)).finished
    gate.open()
    assert bench.view(student, task.join).done


@pytest.mark.parametrize("unique", [None, "global"])
def test_a_task_cannot_join_itself(bench: Bench, lab: Lab, student: Student, unique: Any) -> None:
    @lab.task(unique=unique)
    def knot() -> None:
        lab.get_task(knot).join()

    task = bench.view(student, lambda: knot.delay().join(5))
    assert (task.error["code"], task.error["class"]) == ("deadlock", "Deadlock")


def test_all_tasks_of_a_function_can_be_stopped_and_joined(
    bench: Bench, lab: Lab, student: Student
) -> None:
    @lab.task()
    def work() -> None:
        lab.current_task.wait(60)

    tasks = bench.view(student, lambda: [work.delay(), work.delay()])
    bench.view(student, lambda: lab.join_tasks(work, timeout=5, stop=True))
    assert all(task.retrieve().finished for task in tasks)


# --- uniqueness ---


@pytest.mark.parametrize("result", ["through", "error"])
def test_a_unique_task_is_rejected_while_another_runs_and_free_afterwards(
    bench: Bench, student: Student, guarded: Guarded, gate: Gate, result: str
) -> None:
    function = guarded(unique="global")
    first = bench.view(student, lambda: function.delay(result))
    second = bench.view(student, function.delay)
    assert (second.failed, second.error["class"]) == (True, "AlreadyRunningError")
    with pytest.raises(AlreadyRunningError):
        bench.view(student, function)
    gate.open()
    first.join(5)
    assert bench.view(student, lambda: function.delay().join(5)).done


@pytest.mark.parametrize(("unique", "rejected"), [("global", True), ("user", False)])
def test_uniqueness_is_for_all_students_or_for_each(
    make_bench: Callable[..., Bench], unique: Any, rejected: bool
) -> None:
    bench = make_bench("users: 2")
    gate = Gate()

    @bench.lab.task(unique=unique)
    def work() -> None:
        gate.wait_here()

    ada, bob = bench.student(username="ada"), bench.student(username="bob")
    bench.view(ada, work.delay)
    task = bench.view(bob, work.delay)
    gate.open()
    assert task.failed is rejected
    assert task.join(5).done is not rejected


# --- looking for tasks ---


def test_a_task_is_found_by_its_id_name_and_function(
    bench: Bench, lab: Lab, student: Student, double: TaskFunction[[int], int]
) -> None:
    def view() -> list[Task | None]:
        task = double.run_sync(4)
        found = [lab.get_task(which) for which in (task.task_id, "double", double)]
        return [task, *found, *lab.get_tasks("double"), *lab.get_tasks(double)]

    assert len(set(bench.view(student, view))) == 1
    assert bench.view(student, lambda: lab.get_task("nobody")) is None


def test_running_tasks_are_those_that_are_not_finished(
    bench: Bench, student: Student, double: Any, guarded: Any, gate: Gate
) -> None:
    lab, function = bench.lab, guarded()
    done = bench.view(student, lambda: double.run_sync(4))
    task = bench.view(student, function.delay)
    assert bench.view(student, lambda: lab.tasks) == [done, task]
    assert bench.view(student, lambda: lab.running_tasks) == [task]
    assert bench.view(student, lambda: lab.get_running_task(function)) == task
    gate.open()
    task.join(5)
    assert bench.view(student, lambda: lab.running_tasks) == []
    assert bench.view(student, lambda: lab.get_running_task(function)) is None


def test_the_next_student_does_not_see_the_tasks_of_the_last(
    bench: Bench, lab: Lab, student: Student, double: TaskFunction[[int], int]
) -> None:
    task = bench.view(student, lambda: double.run_sync(4))
    bench.finish(student)
    next_student = bench.student()
    assert bench.view(next_student, lambda: lab.tasks) == []
    assert bench.view(next_student, lambda: lab.get_task(task.task_id)) is None


# --- the end of the session ---


def test_tasks_that_still_run_are_seen_in_on_dispose(
    bench: Bench, lab: Lab, student: Student, guarded: Guarded, gate: Gate
) -> None:
    seen: list[Any] = []

    def dispose() -> None:
        seen.extend((task.name, task.status, task.stopping) for task in lab.running_tasks)
        gate.open()

    lab.on_dispose(dispose)
    bench.view(student, guarded().delay)
    gate.reached()
    assert bench.finish(student)["finished"] is True
    assert seen == [("guarded", "running", True)]


def test_tasks_of_the_hardware_thread_have_ended_before_on_dispose(
    bench: Bench, lab: Lab, student: Student
) -> None:
    order: list[str] = []
    begun = threading.Event()

    @lab.task(unique="global")
    def work() -> None:
        begun.set()
        lab.current_task.wait(60)
        order.append("task")

    lab.on_dispose(lambda: order.append("dispose"))
    bench.view(student, work.delay)
    assert begun.wait(5)
    bench.finish(student)
    assert order == ["task", "dispose"]


def test_the_board_is_not_free_before_the_tasks_have_ended(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench("dispose_wait: 0.05, start_wait: 0.05")
    gate = Gate()

    @bench.lab.task()
    def work() -> None:
        gate.wait_here()

    student = bench.student()
    task = bench.view(student, work.delay)
    gate.reached()
    assert bench.finish(student)["finished"] is False
    assert bench.start().status == 503
    gate.open()
    task.join(5)
    (session,) = bench.agent.sessions.live()
    assert session.disposed.wait(5)
    assert bench.finish(student)["finished"] is True


def test_after_the_session_no_task_can_be_started(
    bench: Bench, student: Student, double: TaskFunction[[int], int]
) -> None:
    bench.finish(student)
    task = bench.view(student, lambda: double.delay(4), "login")
    assert (task.failed, task.error["code"]) == (True, "session-over")
    with pytest.raises(LabnodeError):
        bench.view(student, lambda: double(4), "login")
