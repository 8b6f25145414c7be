"""After a crash: nothing runs for ever, nothing runs twice, the queue begins empty."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import ConfigError
from labnode.tasks import Lane
from labnode.tasks.queues import Queues
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


def test_the_queue_file_is_emptied_at_boot(tmp_path: Path) -> None:
    before = Queues(tmp_path / "queue.db")
    before.serve(lambda task_id: None)
    for lane in Lane:
        before.put(lane, "left over")
    connection = sqlite3.connect(tmp_path / "queue.db")
    assert connection.execute("SELECT count(*) FROM task").fetchone() == (2,)
    connection.close()
    after = Queues(tmp_path / "queue.db")  # the first one was killed, and closed nothing
    after.serve(lambda task_id: pytest.fail(f"{task_id} ran"))
    assert [after.take(lane) for lane in Lane] == [None, None]
    before.close()
    after.close()


@pytest.mark.parametrize("rest", [b"", b"this is no database" * 500], ids=["empty", "garbage"])
def test_whatever_is_left_of_the_queue_file_is_replaced(tmp_path: Path, rest: bytes) -> None:
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"queue.db{suffix}").write_bytes(rest)
    queues = Queues(tmp_path / "queue.db")
    taken: list[str] = []
    queues.serve(taken.append)
    for number in range(3):
        queues.put(Lane.HARDWARE, f"task {number}")
    assert queues.take(Lane.BACKGROUND) is None
    while (job := queues.take(Lane.HARDWARE)) is not None:
        job()
    assert taken == ["task 0", "task 1", "task 2"]
    assert (tmp_path / "queue.db").stat().st_mode & 0o777 == 0o600
    queues.close()


def test_a_queue_file_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "queue.db").mkdir()
    for path in (tmp_path / "queue.db", tmp_path / "nowhere" / "queue.db", Path("/proc/queue.db")):
        with pytest.raises(ConfigError, match=r"queue\.db: the queue of tasks cannot be made \("):
            Queues(path)


def test_a_task_runs_although_huey_fails_around_it(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    for huey in rig.queues._hueys.values():
        monkeypatch.setattr(huey, "is_revoked", fail)
    for unique in (None, "global"):
        assert rig.task(lambda: ran.append("ran"), unique=unique).delay().join().done
    for huey in rig.queues._hueys.values():
        monkeypatch.undo()
        monkeypatch.setattr(huey, "delete", fail)  # what Huey does after a task
    assert rig.task(lambda: ran.append("ran")).delay().join().done
    rig.task(lambda: None).delay().join()
    assert ran == ["ran"] * 3
    assert "Huey could not execute a task" in caplog.text


def test_a_queue_that_cannot_be_read_for_a_while_only_delays_a_task(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    work = rig.task(lambda: "ran", unique="global")
    huey = rig.queues._hueys[Lane.HARDWARE]

    def fail() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(huey, "dequeue", fail)
    task = work.delay()
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
