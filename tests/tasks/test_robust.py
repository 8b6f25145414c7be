"""What a lab's author may get wrong or do oddly without harm to others."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest

from labnode import context
from labnode.errors import BadInput, Stopped
from labnode.tasks import Lane, TaskFunction
from tests.kit.rig import TasksRig, as_user
from tests.kit.waiting import PATIENCE, eventually


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_what_a_function_carries_with_it_does_not_change_its_task(rig: TasksRig) -> None:
    def work() -> str:
        return threading.current_thread().name

    work.unique, work.name, work.function, work._tasks = None, "other", print, None  # type: ignore[attr-defined]
    task = rig.task(work, unique="global")
    assert (task.name, task.unique, task.lane) == ("work", "global", Lane.HARDWARE)
    assert task.delay().join().result == "hardware"


def test_nobody_outside_can_change_a_tasks_error(rig: TasksRig) -> None:
    @rig.task
    def work() -> None:
        raise KeyError("heater")

    task = work.delay().join()
    assert task.error is not None
    task.error["message"] = "all is well"
    task.error.clear()
    told = {"code": "exception", "class": "KeyError", "message": "'heater'"}
    assert task.error == rig.tasks.get(task.task_id).error == task.to_json()["error"] == told


@pytest.mark.parametrize("depth", [50, 90, 600, 900])
def test_a_deep_result_or_progress_fails_its_task_or_can_be_read(rig: TasksRig, depth: int) -> None:
    @rig.task
    def work() -> Any:
        context.current_task.get().data["deep"] = nested(depth)
        return nested(depth)

    task = work.delay().join()
    for seen in (task, rig.tasks.get(task.task_id), rig.tasks.of_session(None)[0]):
        if seen.done:
            assert (seen.result, seen.data) == (nested(depth), {"deep": nested(depth)})
        else:
            assert seen.error is not None
            assert "must be JSON data" in seen.error["message"]
        seen.to_json()


def test_a_tasks_data_can_be_copied_inside_and_outside(rig: TasksRig) -> None:
    @rig.task
    def work() -> Any:
        data = context.current_task.get().data
        data["rows"] = [1]
        before = copy.deepcopy(data)
        before["rows"].append(2)
        return before

    task = work.delay().join()
    assert task.result == {"rows": [1, 2]}
    assert copy.deepcopy(task.data) == {"rows": [1]}


def test_progress_that_is_no_dictionary_is_a_clear_failure(rig: TasksRig) -> None:
    @rig.task
    def work() -> None:
        context.current_task.get().data = [1]

    error = work.delay().join().error
    assert error == {
        "code": "bad-input",
        "class": "BadInput",
        "message": "task.data must be a dictionary, not [1]",
    }


def test_arguments_that_the_function_does_not_take_are_told_with_its_name(rig: TasksRig) -> None:
    @rig.task
    def heat(seconds: int) -> None: ...

    for args, kwargs in (((), {}), ((1, 2), {}), ((1,), {"second": 2}), ((1,), {"seconds": 1})):
        with pytest.raises(BadInput, match=r"^Task 'heat': .*\.$"):
            heat.delay(*args, **kwargs)


def test_an_exit_that_says_something_odd_is_still_json(rig: TasksRig) -> None:
    @rig.task
    def work() -> None:
        raise SystemExit("\ud800\x00 \N{SNOWMAN}")

    task = work.delay().join()
    assert task.error is not None
    assert task.error["class"] == "SystemExit"
    assert rig.row(task)["error"] == task.error


def test_a_stored_task_of_long_ago_is_seen_as_it_was(rig: TasksRig) -> None:
    @rig.task
    def work() -> int:
        context.current_task.get().data["percent"] = 100
        return 7

    rig.tasks.open_session("ada")
    with as_user("ada"):
        task = work.delay().join()
    rig.tasks._registry._finished.clear()
    found = rig.tasks.get(task.task_id)
    assert found.to_json() == task.to_json()
    assert (found, found.session_id, found.name) == (task, "ada", "work")
    assert found.retrieve().join(0) is found
    found.stop()
    assert found.retrieve().done


def test_a_task_that_is_refused_can_be_asked_everything(rig: TasksRig) -> None:
    with as_user("nobody"):
        task = rig.task(lambda: 1).delay()
    assert (task.status, task.result, task.data, task.stopping) == ("failed", None, {}, False)
    task.stop()
    assert task.join(0) is task.retrieve() is task
    assert rig.tasks.get(task.task_id) == task
    rig.tasks._registry._finished.clear()  # it was never stored, and is forgotten some time
    assert task.retrieve().failed
    assert task.join(0).error is not None


def test_waiting_on_another_thread_of_the_task_ends_with_it_too(rig: TasksRig) -> None:
    """A task may have helpers of its own."""
    outcome: list[Any] = []
    begun = threading.Event()

    @rig.task
    def work() -> None:
        me = context.current_task.get()
        helper = threading.Thread(target=lambda: outcome.append(me.wait(1000)), name="helper")
        helper.start()
        begun.set()
        helper.join(PATIENCE)

    task = work.delay()
    assert begun.wait(PATIENCE)
    task.stop()
    assert task.join().done
    assert outcome == [False]


def test_a_wait_of_no_length_tells_whether_to_stop(rig: TasksRig) -> None:
    seen: list[bool] = []
    gate, begun = rig.gate(), threading.Event()

    @rig.task(unique="global")
    def work() -> None:
        me = context.current_task.get()
        seen.append(me.wait(0))
        begun.set()
        gate.wait(PATIENCE)
        seen.append(me.wait(-1))

    task = work.delay()
    assert begun.wait(PATIENCE)
    task.stop()
    gate.set()
    assert task.join().done
    assert seen == [True, False]


def test_an_exception_of_the_waits_may_be_raised_by_the_task_itself(rig: TasksRig) -> None:
    @rig.task
    def work() -> None:
        raise Stopped("enough")

    assert work.delay().join().error == {"code": "stopped", "class": "Stopped", "message": "enough"}


def test_a_unique_that_there_is_not_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ValueError, match="not 'both'"):
        TaskFunction(lambda: 1, unique="both")  # type: ignore[arg-type]


@pytest.mark.parametrize("unique", [None, "global"], ids=["background", "hardware"])
def test_an_exception_whose_text_ends_programs_does_no_harm(rig: TasksRig, unique: Any) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise SystemExit(1)

    @rig.task(unique=unique)
    def work() -> None:
        raise Odd

    assert work.delay().join().error == {"code": "exception", "class": "Odd", "message": ""}
    assert rig.worker.fault() is None


def test_a_task_may_stop_itself(rig: TasksRig) -> None:
    @rig.task(unique="global")
    def work() -> list[bool]:
        me = context.current_task.get()
        me.stop()
        return [me.stopping, me.wait(1000)]

    assert work.delay().join().result == [True, False]


@pytest.mark.parametrize("way", ["hook", "hardware task", "background task"])
def test_what_runs_as_a_part_while_the_node_stops_gives_its_result(rig: TasksRig, way: str) -> None:
    gate, begun = rig.gate(), threading.Event()
    part = rig.task(lambda: "part")
    seen: list[Any] = []

    def work() -> None:
        begun.set()
        gate.wait(PATIENCE)
        task = part.run_sync()
        seen.extend([task.status, task.result, part()])

    if way == "hook":
        rig.hook(work)
    else:
        rig.task(work, unique="global" if way == "hardware task" else None).delay()
    assert begun.wait(PATIENCE)
    rig.tasks.stop_all()
    stop = rig.go(lambda: rig.worker.stop(PATIENCE))
    eventually(lambda: rig.worker.stopping)
    with rig.slow_disk():
        gate.set()
        eventually(lambda: rig.tasks._registry._runs)
    assert stop.result()
    assert seen == ["done", "part", "part"]
