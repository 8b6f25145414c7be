"""Unique tasks: the second is refused, and the first lets go whatever becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode import context
from labnode.errors import AlreadyRunningError, StorageError
from labnode.tasks import Task, TaskFunction
from tests.kit.rig import TasksRig, as_user
from tests.kit.waiting import PATIENCE, eventually

REFUSED = {
    "code": "already-running",
    "class": "AlreadyRunningError",
    "message": "Task 'heat' is already running.",
}


class Heater:
    """A unique task that goes on until it may end."""

    def __init__(self, rig: TasksRig, unique: Any = "global") -> None:
        self.rig = rig
        self.begun = threading.Event()
        self.gate = rig.gate()

        @rig.task(unique=unique)
        def heat(fail: bool = False) -> str:
            self.begun.set()
            self.gate.wait(PATIENCE)
            if fail:
                raise RuntimeError("too hot")
            return "warm"

        self.heat: TaskFunction[..., Any] = heat

    def start(self, *args: Any) -> Task:
        self.gate.clear()
        self.begun.clear()
        task = self.heat.delay(*args)
        assert self.begun.wait(PATIENCE), task.error
        return task

    def assert_free(self) -> None:
        again = self.start()
        self.gate.set()
        assert again.join().result == "warm"


@pytest.fixture
def heater(rig: TasksRig) -> Heater:
    return Heater(rig)


def test_the_second_one_has_failed_already_while_the_first_runs(heater: Heater) -> None:
    first = heater.start()
    second = heater.heat.delay()
    assert (second.status, second.error) == ("failed", REFUSED)
    assert second.join() is second
    assert second == heater.rig.tasks.get(second.task_id)
    heater.gate.set()
    assert first.join().result == "warm"
    assert second.retrieve().failed


def test_the_second_one_is_refused_while_the_first_waits_for_its_turn(heater: Heater) -> None:
    gate = heater.rig.gate()
    block = heater.rig.task(lambda: gate.wait(PATIENCE), unique="global")
    block.delay()
    first = heater.heat.delay()
    assert heater.heat.delay().error == REFUSED
    gate.set()
    heater.gate.set()
    assert first.join().done


def test_a_direct_call_raises_while_one_runs(heater: Heater) -> None:
    heater.start()
    with pytest.raises(AlreadyRunningError, match="'heat' is already running"):
        heater.heat()
    assert heater.heat.run_sync().error == REFUSED


def test_a_task_is_refused_while_a_direct_call_runs(heater: Heater) -> None:
    rig = heater.rig
    call = rig.ask(heater.heat)
    assert heater.begun.wait(PATIENCE)
    assert heater.heat.delay().error == REFUSED
    heater.gate.set()
    assert call.result() == "warm"
    heater.assert_free()


def test_a_task_that_starts_itself_again_is_refused(rig: TasksRig) -> None:
    refusals: list[Any] = []

    @rig.task(unique="global")
    def heat() -> None:
        refusals.append(heat.delay().error)
        refusals.append(heat.run_sync().error)
        with pytest.raises(AlreadyRunningError):
            heat()

    assert heat.delay().join().done
    assert refusals == [REFUSED, REFUSED]


def test_it_is_free_again_after_success(heater: Heater) -> None:
    heater.assert_free()
    heater.assert_free()


def test_it_is_free_again_after_a_failure(heater: Heater) -> None:
    task = heater.start(True)
    heater.gate.set()
    assert task.join().failed
    heater.assert_free()


def test_it_is_free_again_after_a_direct_call_that_failed(rig: TasksRig) -> None:
    @rig.task(unique="global")
    def heat() -> None:
        raise SystemExit

    for _ in range(3):
        with pytest.raises(Exception, match="SystemExit"):
            heat()


def test_it_is_free_again_after_arguments_or_results_that_are_not_json(rig: TasksRig) -> None:
    give = rig.task(object, unique="global")
    for _ in range(3):
        error = give.run_sync().error
        assert error is not None
        assert error["code"] == "bad-input"


def test_it_is_free_again_when_it_was_stopped_before_it_began(heater: Heater) -> None:
    gate = heater.rig.gate()
    block = heater.rig.task(lambda: gate.wait(PATIENCE), unique="global")
    block.delay()
    task = heater.heat.delay()
    task.stop()
    assert task.join().failed
    gate.set()
    heater.assert_free()


def test_it_is_free_again_when_it_was_stopped_while_it_ran(rig: TasksRig) -> None:
    @rig.task(unique="global")
    def heat() -> str:
        while context.current_task.get().wait(1):
            pass
        return "cold"

    for _ in range(3):
        task = heat.delay()
        task.stop()
        task.join()
        assert task.result == "cold" or task.error is not None


def test_it_is_held_until_the_end_is_durable_and_no_longer(heater: Heater) -> None:
    rig = heater.rig
    task = heater.start()
    with rig.slow_disk():
        heater.gate.set()
        eventually(lambda: not rig.tasks._registry.working())
        second = rig.ask(heater.heat.delay)  # asked for while the first is over, but not durably
    assert second.result().join().done
    assert task.retrieve().done


def test_user_unique_is_for_each_session_alone(rig: TasksRig) -> None:
    heater = Heater(rig, "user")
    rig.tasks.open_session("ada")
    rig.tasks.open_session("bob")
    with as_user("ada"):
        first = heater.start()
        assert heater.heat.delay().error == REFUSED
    with as_user("bob"):
        second = heater.heat.delay()
        assert second.error is None
    third = heater.heat.delay()  # the lab's own
    assert third.error is None
    heater.gate.set()
    for task in (first, second, third):
        assert task.join().result == "warm"


def test_global_unique_is_for_all_sessions_together(rig: TasksRig) -> None:
    heater = Heater(rig)
    rig.tasks.open_session("ada")
    rig.tasks.open_session("bob")
    with as_user("ada"):
        heater.start()
    with as_user("bob"):
        assert heater.heat.delay().error == REFUSED
    assert heater.heat.delay().error == REFUSED


def test_two_functions_do_not_mind_each_other(rig: TasksRig) -> None:
    heater = Heater(rig)
    heater.start()
    cool = rig.task(lambda: "cold", unique="global")
    task = cool.delay()
    heater.gate.set()
    assert task.join().result == "cold"


def test_of_many_that_ask_at_once_one_gets_it(rig: TasksRig) -> None:
    heater = Heater(rig)
    together = threading.Barrier(8)

    def ask() -> Task:
        together.wait(PATIENCE)
        return heater.heat.delay()

    tasks = [asked.result() for asked in [rig.ask(ask) for _ in range(8)]]
    assert [task.error for task in tasks].count(REFUSED) == 7
    heater.gate.set()
    for task in tasks:
        task.join()
    assert sum(task.done for task in tasks) == 1


def test_it_is_free_again_after_a_crash(tmp_path: Path, crash: Callable[[TasksRig], None]) -> None:
    before = TasksRig(tmp_path)
    before.start()
    heater = Heater(before)
    running = heater.start()
    waiting = before.task(lambda: 1, unique="user").delay()
    crash(before)
    after = TasksRig(tmp_path)
    after.start()
    try:
        for task, code in ((running, "interrupted"), (waiting, "not-found")):  # as its function
            error = after.tasks.get(task.task_id).error
            assert error is not None
            assert error["code"] == code
        Heater(after).assert_free()
    finally:
        after.close()


def test_it_is_free_again_when_its_end_could_not_be_stored_but_the_disk_has_room_again(
    rig: TasksRig, caplog: pytest.LogCaptureFixture
) -> None:
    heater = Heater(rig)
    task = heater.start()
    with rig.full_disk():
        heater.gate.set()
        assert task.join().result == "warm"  # the truth is in memory
        assert rig.row(task)["status"] == "running"
        assert "could not be stored" in caplog.text
    heater.assert_free()
    assert rig.row(task)["status"] == "done"


def test_a_full_disk_refuses_tasks_and_they_leave_nothing_behind(rig: TasksRig) -> None:
    heater = Heater(rig)
    with rig.full_disk():
        task = heater.heat.delay()
        with pytest.raises(StorageError, match="disk is full"):
            heater.heat()
        assert (task.status, task.error and task.error["code"]) == ("failed", "storage")
        assert heater.heat.run_sync().failed
    heater.assert_free()
    assert rig.tasks._registry._runs == {}


def test_an_insert_that_nobody_waits_for_any_more_does_not_hold_it_for_ever(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    heater = Heater(rig)
    with rig.slow_disk():
        monkeypatch.setattr("labnode.store.store._PATIENCE", 0.05)
        task = heater.heat.delay()
        monkeypatch.undo()
    assert task.error is not None
    assert task.error["message"] == "The node's database does not answer."
    heater.assert_free()
    assert rig.pending() == 0


def test_a_queue_that_does_not_work_fails_the_task_and_holds_nothing(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heater = Heater(rig)

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(rig.tasks._queues, "put", fail)
    task = heater.heat.delay()
    assert (task.status, task.error and task.error["code"]) == ("failed", "storage")
    monkeypatch.undo()
    heater.assert_free()
    assert rig.store.select("tasks", "id = ?", task.task_id) == []
