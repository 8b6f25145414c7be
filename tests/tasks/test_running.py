"""What becomes of a task: status, result, error, data, on both lanes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from labnode import context
from labnode.errors import BadInput, NotFound, TooLate
from labnode.events import TaskChanged

from ..worker.rig import PATIENCE, Ends, TasksRig, as_user, eventually

LANES = pytest.mark.parametrize("unique", [None, "global"], ids=["background", "hardware"])


@LANES
def test_a_task_goes_from_submitted_to_running_to_done(rig: TasksRig, unique: Any) -> None:
    gate, begun = rig.gate(), threading.Event()

    @rig.task(unique=unique)
    def work(number: int) -> dict[str, int]:
        begun.set()
        gate.wait(PATIENCE)
        return {"twice": 2 * number}

    task = work.delay(21)
    assert task.name == "work"
    assert task.status in ("submitted", "running")
    assert not task.finished
    assert begun.wait(PATIENCE)
    assert task.retrieve() is task
    assert (task.status, task.running, task.result, task.error) == ("running", True, None, None)
    gate.set()
    assert task.join() is task
    assert (task.status, task.done, task.finished) == ("done", True, True)
    assert (task.result, task.error) == ({"twice": 42}, None)
    row = rig.row(task)
    assert (row["status"], row["result"], row["args"]) == ("done", {"twice": 42}, {"number": 21})
    assert row["submitted_at"] <= row["started_at"] <= row["finished_at"]


@LANES
def test_each_lane_has_its_own_threads(rig: TasksRig, unique: Any) -> None:
    work = rig.task(lambda: threading.current_thread().name, unique=unique)
    name = work.delay().join().result
    assert name == "hardware" if unique else name.startswith("background-")


@LANES
def test_what_a_task_raises_is_its_error(rig: TasksRig, unique: Any) -> None:
    @rig.task(unique=unique)
    def work() -> None:
        raise KeyError("heater")

    task = work.delay().join()
    error = {"code": "exception", "class": "KeyError", "message": "'heater'"}
    assert (task.status, task.failed, task.finished) == ("failed", True, True)
    assert (task.error, task.result) == (error, None)
    assert rig.row(task)["error"] == error


def test_an_error_of_labnodes_own_keeps_its_code(rig: TasksRig) -> None:
    @rig.task
    def work() -> None:
        raise TooLate("never")

    assert work.delay().join().error == {"code": "timeout", "class": "TooLate", "message": "never"}


def test_a_code_of_somebody_elses_is_not_taken_for_one_of_labnodes(rig: TasksRig) -> None:
    class OtherError(Exception):
        code = "already-running"

    @rig.task
    def work() -> None:
        raise OtherError("no")

    error = work.delay().join().error
    assert error == {"code": "exception", "class": "OtherError", "message": "no"}


@LANES
@pytest.mark.parametrize(
    "error",
    [SystemExit(2), KeyboardInterrupt("c"), GeneratorExit(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
def test_what_ends_programs_ends_the_task_alone(
    rig: TasksRig, unique: Any, error: BaseException
) -> None:
    @rig.task(unique=unique)
    def leave() -> None:
        raise error

    for _ in range(3):  # more than there are threads
        task = leave.delay().join()
        assert task.failed
        assert task.error is not None
        assert task.error["class"] == type(error).__name__
    assert rig.worker.fault() is None
    assert rig.task(lambda: "alive", unique=unique).delay().join().result == "alive"


def test_an_exception_that_cannot_be_printed_does_no_harm(rig: TasksRig) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even that")

    @rig.task(unique="global")
    def work() -> None:
        raise Odd

    assert work.delay().join().error == {"code": "exception", "class": "Odd", "message": ""}
    assert rig.worker.fault() is None


@LANES
@pytest.mark.parametrize(
    "result",
    [object(), {1, 2}, float("nan"), b"bytes", [lambda: 0]],
    ids=lambda r: type(r).__name__,
)
def test_a_result_that_is_not_json_is_a_clear_failure(
    rig: TasksRig, unique: Any, result: Any
) -> None:
    work = rig.task(lambda: result, unique=unique)
    task = work.delay().join()
    assert task.failed
    assert task.error is not None
    assert task.error["code"] == "bad-input"
    assert "must be JSON data" in task.error["message"]
    assert rig.pending() == 0


def test_a_result_that_contains_itself_is_a_clear_failure(rig: TasksRig) -> None:
    loop: list[Any] = []
    loop.append(loop)
    error = rig.task(lambda: loop).delay().join().error
    assert error is not None
    assert "must be JSON data" in error["message"]


def test_a_result_is_what_json_makes_of_it(rig: TasksRig) -> None:
    assert rig.task(lambda: (1, {2: (3,)})).delay().join().result == [1, {"2": [3]}]


@pytest.mark.parametrize("way", ["delay", "run_sync", "__call__"])
def test_arguments_that_are_not_json_are_refused(rig: TasksRig, way: str) -> None:
    ran: list[Any] = []
    work = rig.task(ran.append)
    with pytest.raises(BadInput, match=r"arguments of task .* must be JSON data"):
        getattr(work, way)(object())
    with pytest.raises(BadInput, match="missing a required argument"):
        getattr(rig.task(lambda one, two: 0), way)(1)
    assert ran == []
    assert rig.pending() == 0


def test_a_task_gets_its_arguments_as_they_were_when_it_was_asked_for(rig: TasksRig) -> None:
    gate = rig.gate()
    block = rig.task(lambda: gate.wait(PATIENCE), unique="global")
    show = rig.task(lambda *args, **kwargs: [args, kwargs], unique="user")
    block.delay()
    steps = [1, 2]
    task = show.delay(steps, speed={"low": steps})
    steps.append(3)
    gate.set()
    assert task.join().result == [[[1, 2]], {"speed": {"low": [1, 2]}}]


def test_a_direct_call_returns_what_the_function_returns_and_raises_what_it_raises(
    rig: TasksRig,
) -> None:
    @rig.task(unique="global")
    def work(fail: bool) -> str:
        if fail:
            raise KeyError("x")
        return threading.current_thread().name

    assert work(False) == threading.current_thread().name
    with pytest.raises(KeyError):
        work(True)
    statuses = [row["status"] for row in rig.store.select("tasks", "1", order="submitted_at")]
    assert sorted(statuses) == ["done", "failed"]


def test_sys_exit_in_a_direct_call_is_an_error_and_does_not_end_the_thread_of_a_view(
    rig: TasksRig,
) -> None:
    @rig.task
    def leave() -> None:
        raise SystemExit(1)

    with pytest.raises(Exception, match="SystemExit"):
        leave()


def test_run_sync_waits_for_the_end_and_returns_the_task(rig: TasksRig) -> None:
    names = rig.task(lambda: threading.current_thread().name, unique="global")
    task = names.run_sync()
    assert (task.status, task.result) == ("done", "hardware")


def test_run_sync_returns_after_its_timeout_with_a_task_that_goes_on(rig: TasksRig) -> None:
    gate = rig.gate()
    slow = rig.task(lambda: gate.wait(PATIENCE), unique="global")
    asked = rig.ask(lambda: slow.run_sync(timeout=3)).waits()
    rig.manual.advance(3)
    task = asked.result()
    assert not task.finished
    gate.set()
    assert task.join().done


def test_join_says_when_it_took_too_long(rig: TasksRig) -> None:
    gate = rig.gate()
    task = rig.task(lambda: gate.wait(PATIENCE)).delay()
    asked = rig.ask(lambda: task.join(2)).waits()
    rig.manual.advance(2)
    assert "within 2 s" in str(asked.error(TooLate))
    assert issubclass(TooLate, TimeoutError)
    lenient = rig.ask(lambda: task.join(2, error_on_timeout=False)).waits()
    rig.manual.advance(2)
    assert lenient.result() is task
    gate.set()
    assert task.join().done


def test_joining_what_has_finished_returns_at_once_also_when_it_was_long_ago(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.tasks.runs._REMEMBERED", 3)
    task = rig.task(lambda: 1).delay().join()
    assert task.join(0).result == 1
    for _ in range(5):
        rig.task(lambda: 2).run_sync()
    assert rig.tasks._registry.find(task.task_id) is None
    assert rig.tasks.get(task.task_id).join(0).result == 1


# --- data ---


def test_data_is_seen_outside_as_soon_as_it_is_written(rig: TasksRig) -> None:
    gate, written = rig.gate(), threading.Event()

    @rig.task
    def work() -> None:
        task = context.current_task.get()
        task.data["percent"] = 50
        task.data.update(rows=[1, 2])
        written.set()
        gate.wait(PATIENCE)
        task.data = {"percent": 100}

    task = work.delay()
    assert written.wait(PATIENCE)
    assert task.retrieve().data == {"percent": 50, "rows": [1, 2]}
    gate.set()
    assert task.join().data == {"percent": 100}
    assert rig.row(task)["data"] == {"percent": 100}


def test_a_task_object_does_not_change_under_your_feet(rig: TasksRig) -> None:
    gate, turn = rig.gate(), threading.Event()

    @rig.task
    def work() -> None:
        task = context.current_task.get()
        task.data["rows"] = [1]
        turn.set()
        gate.wait(PATIENCE)
        task.data["rows"].append(2)
        task.store()

    task = work.delay()
    assert turn.wait(PATIENCE)
    task.retrieve()
    other = rig.tasks.get(task.task_id)
    gate.set()
    other.join()
    assert (task.status, task.data) == ("running", {"rows": [1]})
    assert other.data == task.retrieve().data == {"rows": [1, 2]}


def test_nobody_outside_can_change_a_tasks_data_or_result(rig: TasksRig) -> None:
    @rig.task
    def work() -> list[int]:
        context.current_task.get().data["rows"] = [1]
        return [1, 2]

    task = work.delay().join()
    with pytest.raises(TypeError, match="inside the task only"):
        task.data["rows"] = []
    with pytest.raises(TypeError, match="inside the task only"):
        task.data = {}
    with pytest.raises(TypeError, match="inside the task only"):
        task.store()
    with pytest.raises(TypeError, match="join"):
        task.wait(1)
    task.data["rows"].append(2)  # what is deeper inside is a copy
    task.result.clear()
    assert rig.tasks.get(task.task_id).data == {"rows": [1]}
    assert task.result == [1, 2]


def test_data_that_is_not_json_is_refused_where_it_is_written(rig: TasksRig) -> None:
    @rig.task
    def work() -> None:
        context.current_task.get().data["rows"] = {1, 2}

    task = work.delay().join()
    assert task.error is not None
    assert task.error["message"].startswith("task.data['rows'] must be JSON data")
    assert task.data == {}


def test_inside_the_task_data_stays_the_same_object_and_status_is_fresh(rig: TasksRig) -> None:
    @rig.task
    def work() -> list[Any]:
        task = context.current_task.get()
        data = task.data
        data["a"] = 1
        task.retrieve()
        data["b"] = 2
        task.data["c"] = 3
        return [task.status, task.data is data, task.stopping]

    task = work.delay().join()
    assert task.result == ["running", True, False]
    assert task.data == {"a": 1, "b": 2, "c": 3}


def test_data_cannot_be_written_after_the_end(rig: TasksRig) -> None:
    kept: list[Any] = []
    work = rig.task(lambda: kept.append(context.current_task.get()))
    task = work.delay().join()
    with pytest.raises(TypeError, match="has ended"):
        kept[0].data["late"] = True
    assert task.retrieve().data == {}


# --- asking ---


def test_tasks_are_found_by_id_and_compared_by_it(rig: TasksRig) -> None:
    task = rig.task(lambda: 1).delay().join()
    same = rig.tasks.get(task.task_id)
    assert same == task
    assert same is not task
    assert len({same, task}) == 1
    assert task != rig.task(lambda: 1).delay()
    with pytest.raises(NotFound, match="no task 'x'"):
        rig.tasks.get("x")


def test_the_tasks_of_a_session_are_its_own_in_the_order_of_asking(rig: TasksRig) -> None:
    gate = rig.gate()
    block = rig.task(lambda: gate.wait(PATIENCE), unique="user")
    quick = rig.task(lambda: None)
    rig.tasks.open_session("ada")
    rig.tasks.open_session("bob")
    with as_user("ada"):
        first = block.delay()
        rig.manual.jump_wall(-3600)  # the network's time has arrived
        second = quick.delay().join()
    with as_user("bob"):
        third = quick.delay().join()
    assert rig.tasks.of_session("ada") == [first, second]
    assert rig.tasks.of_session("ada", unfinished=True) == [first]
    assert rig.tasks.of_session("bob") == [third]
    assert rig.tasks.of_session(None) == []
    gate.set()
    first.join()


def test_a_task_is_not_visible_before_it_is_durable(rig: TasksRig) -> None:
    work = rig.task(lambda: None)
    with rig.slow_disk():
        asked = rig.ask(work.delay)
        eventually(lambda: rig.tasks._registry._runs)
        assert rig.tasks.of_session(None) == []
        assert not asked.over
    task = asked.result()
    assert rig.tasks.of_session(None) == [task]
    task.join()


def test_a_result_is_not_visible_before_it_is_durable(rig: TasksRig) -> None:
    gate, begun = rig.gate(), threading.Event()

    @rig.task
    def work() -> int:
        begun.set()
        gate.wait(PATIENCE)
        return 7

    task = work.delay()
    assert begun.wait(PATIENCE)
    with rig.slow_disk():
        gate.set()
        eventually(lambda: not rig.tasks._registry.working())
        assert (task.retrieve().status, task.result) == ("running", None)
    assert task.join().result == 7


def test_changes_are_told_on_the_bus_in_order(rig: TasksRig) -> None:
    news = rig.bus.subscribe(TaskChanged)

    @rig.task
    def work() -> None:
        context.current_task.get().data["percent"] = 1

    task = work.delay().join()
    told = news.drain()
    assert {event.task_id for event in told} == {task.task_id}
    assert [event.status for event in told] == ["submitted", "running", "running", "done"]


def test_the_end_of_each_task_is_published(rig: TasksRig) -> None:
    ends = Ends(rig)
    rig.task(lambda: 1).delay()
    rig.task(lambda: 1)()
    ends.wait_for(2)


def test_a_function_of_no_node_says_so() -> None:
    from labnode.tasks import TaskFunction

    with pytest.raises(Exception, match="runs on a node only"):
        TaskFunction(lambda: 1).delay()
    with pytest.raises(ValueError, match="not 'both'"):
        TaskFunction(lambda: 1, unique="both")  # type: ignore[arg-type]
