"""After a crash: nothing runs for ever, nothing runs twice, what is the lab's goes on waiting."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.clock import WatchedClock
from tests.kit.rig import TasksRig, as_user
from tests.kit.waiting import PATIENCE, eventually


def test_what_was_unfinished_is_interrupted_and_never_runs_again(
    tmp_path: Path, crash: Callable[[TasksRig], None]
) -> None:
    ran: list[str] = []
    before = TasksRig(tmp_path)
    before.start()
    gate, begun = before.gate(), threading.Semaphore(0)

    def hang(name: str) -> None:
        ran.append(name)
        begun.release()
        gate.wait(PATIENCE)

    chore, heat = before.task(hang), before.task(hang, unique="user")
    before.tasks.open_session("ada")
    with as_user("ada"):
        done = before.task(lambda: 1).delay().join()
        running = [chore.delay("a"), chore.delay("b"), heat.delay("c")]
        for _ in range(3):
            assert begun.acquire(timeout=PATIENCE)
        waiting = [chore.delay("d"), before.task(hang, unique="global").delay("e")]
    crash(before)
    after = TasksRig(tmp_path)
    after.start()
    try:
        for task in (*running, *waiting):
            found = after.tasks.get(task.task_id)
            assert (found.status, found.session_id) == ("failed", "ada")
            assert found.error is not None
            assert found.error["code"] == "interrupted"
            assert found.join(0) is found
        assert after.tasks.get(done.task_id).result == 1
        assert after.tasks.of_session("ada", unfinished=True) == []
        kinds = [row["kind"] for row in after.store.select("events", "kind LIKE 'task.inter%'")]
        assert len(kinds) == 5
        assert after.task(lambda: "new").delay().join().result == "new"
    finally:
        after.close()
    assert sorted(ran) == ["a", "b", "c"]


def test_an_orderly_stop_leaves_nothing_to_recover(tmp_path: Path) -> None:
    before = TasksRig(tmp_path)
    before.start()
    task = before.task(lambda: 1).delay().join()
    before.close()
    after = TasksRig(tmp_path)
    after.start()
    try:
        assert after.tasks.get(task.task_id).result == 1
        assert after.store.select("events", "kind = 'task.interrupted'") == []
    finally:
        after.close()


def test_a_task_fails_when_huey_cannot_execute_it(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a mistake of Huey's")

    work = rig.task(lambda: "ran", unique="global")
    monkeypatch.setattr(rig.tasks._queues._huey, "execute", fail)
    error = work.delay().join().error
    monkeypatch.undo()
    assert error is not None
    assert error["message"] == "a mistake of Huey's"
    assert work.delay().join().result == "ran"


def test_a_queue_that_cannot_be_read_for_a_while_only_delays_a_task(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate, work = rig.gate(), rig.task(lambda: "ran", unique="global")
    block = rig.task(lambda: gate.wait(PATIENCE), unique="global").delay()
    task = work.delay()

    def fail() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(rig.tasks._queues._storage, "dequeue", fail)
    gate.set()
    block.join()
    eventually(lambda: "does not work; it is tried again" in caplog.text)
    monkeypatch.undo()
    rig.rests()
    rig.manual.advance(1)
    assert task.join().result == "ran"
    assert rig.worker.fault() is None


def test_the_clock_of_the_wall_may_jump_without_harm(tmp_path: Path) -> None:
    clock = WatchedClock()
    rig = TasksRig(tmp_path, clock)
    rig.start()
    tasks = []
    for jump in (0, -1e6, 3e6, -3e6):
        clock.jump_wall(jump)
        tasks.append(rig.task(lambda: 1).delay().join())
    assert rig.tasks.of_session(None) == tasks
    rig.close()


def statements_of_a_start(directory: Path, number: int) -> int:
    """How many statements a start takes when so many tasks of the lab wait, of both kinds."""
    directory.mkdir()
    before = TasksRig(directory)
    before.start_tasks()  # nothing of the lab's begins
    try:
        water = before.task(lambda: None)
        for _ in range(number):
            assert water.delay().error is None
            assert water.schedule(delay=3600).error is None
    finally:
        before.close()
    after = TasksRig(directory)
    after.task(lambda: None)
    statements: list[str] = []
    after.store.run(lambda db: db.set_trace_callback(statements.append))
    after.start_tasks()
    try:
        after.stored()
        after.store.run(lambda db: db.set_trace_callback(None))
        assert len(after.waiting()) == 2 * number
        assert sum(after.tasks._lanes._waiting.values()) == number
    finally:
        after.close()
    return len(statements)


def test_a_start_takes_no_more_statements_when_more_tasks_wait(tmp_path: Path) -> None:
    few = statements_of_a_start(tmp_path / "few", 2)
    assert statements_of_a_start(tmp_path / "many", 60) == few
