"""Whose task it is: a session's dies with it, the lab's waits, gives way and outlives the node."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode import context
from labnode.clock.schedules import Every
from labnode.errors import StorageError
from labnode.tasks import Task
from labnode.tasks.queues import BEGUN
from labnode.tasks.timers import Recurrence
from tests.kit.clock import WatchedClock
from tests.kit.rig import TasksRig, as_user
from tests.kit.waiting import PATIENCE, eventually
from tests.tasks.test_scheduled import later, quiet

LANES = pytest.mark.parametrize("unique", [None, "global"], ids=["background", "hardware"])
Crash = Callable[[TasksRig], None]


class Chore:
    """A task of the lab that goes on until it is asked to stop, or may end."""

    def __init__(self, rig: TasksRig, **options: Any) -> None:
        self.began = threading.Semaphore(0)
        self.times = 0
        self.end = False
        options = {"during_sessions": False, **options}
        self.task = rig.task(self.chore, **options)

    def chore(self, name: str = "chore") -> str:
        self.times += 1
        self.began.release()
        task: Task = context.current_task.get()
        while not self.end:
            if not task.wait(1):
                raise RuntimeError("it was cut off")
        return name

    def begins(self) -> None:
        assert self.began.acquire(timeout=PATIENCE), "it never began"


# ---------------------------------------------------------------------- while a student is there


@LANES
def test_a_task_of_the_lab_waits_while_a_student_is_there(rig: TasksRig, unique: Any) -> None:
    chore = Chore(rig, unique=unique)
    chore.end = True
    rig.tasks.open_session("ada")
    task = chore.task.delay()
    with as_user("ada"):
        for _ in range(3):
            assert rig.task(lambda: 1, unique=unique).delay().join().done
    rig.tasks.close_session("ada")
    quiet(rig)
    assert task.retrieve().submitted, "the board is still being cleaned"
    rig.tasks.vacate("ada")
    assert task.join().done


@LANES
def test_it_gives_way_when_a_student_comes(rig: TasksRig, unique: Any) -> None:
    chore = Chore(rig, unique=unique)
    task = chore.task.delay()
    chore.begins()
    rig.tasks.open_session("ada")
    assert (task.join().error or {})["message"] == "it was cut off"
    assert rig.waiting() == []


@LANES
def test_the_start_of_a_session_waits_until_it_has_given_way(rig: TasksRig, unique: Any) -> None:
    gate, begun = rig.gate(), threading.Event()
    over: list[str] = []

    @rig.task(unique=unique, during_sessions=False)
    def stubborn() -> None:
        begun.set()
        gate.wait(PATIENCE)
        over.append("task")

    task = stubborn.delay()
    assert begun.wait(PATIENCE)
    rig.tasks.open_session("ada")

    def start() -> None:
        rig.tasks.wait_until_given_way()
        over.append("start")

    hook = rig.hook(start)
    assert task.retrieve().stopping
    gate.set()
    assert hook.ends() is None
    task.join()
    assert over == ["task", "start"]


@LANES
def test_one_that_says_so_runs_during_sessions(rig: TasksRig, unique: Any) -> None:
    chore = Chore(rig, unique=unique, during_sessions=True)
    rig.tasks.open_session("ada")
    task = chore.task.delay()
    chore.begins()
    rig.tasks.open_session("bob")
    chore.end = True
    later(rig, 1)
    assert task.join().done


@LANES
def test_one_that_may_be_cut_off_begins_again_after_the_student(rig: TasksRig, unique: Any) -> None:
    chore = Chore(rig, unique=unique, retries=1, retry_delay=60, idempotent=True)
    task = chore.task.delay()
    chore.begins()
    rig.tasks.open_session("ada")
    eventually(lambda: task.retrieve().submitted)
    assert not task.stopping
    rig.tasks.close_session("ada")
    chore.end = True
    rig.tasks.vacate("ada")
    chore.begins()
    assert task.join().done
    assert chore.times == 2
    assert rig.waiting() == []


def test_a_task_of_a_session_dies_with_it(rig: TasksRig) -> None:
    chore = Chore(rig, unique="global", retries=3, idempotent=True)
    rig.tasks.open_session("ada")
    with as_user("ada"):
        running, scheduled = chore.task.delay(), rig.task(lambda: 1).schedule(delay=60)
    chore.begins()
    rig.tasks.close_session("ada")
    assert running.join().failed
    assert scheduled.join().failed
    later(rig, 100)
    assert chore.times == 1
    assert rig.waiting() == []


# ---------------------------------------------------------------------- over a restart


def restarted(tmp_path: Path, declare: Callable[[TasksRig], Any], boot: str = "manual-boot") -> Any:
    """A rig on the same database, with what is declared before it starts."""
    clock = WatchedClock()
    clock.boot_id = boot
    rig = TasksRig(tmp_path, clock)
    declared = declare(rig)
    rig.start()
    return rig, declared


@LANES
@pytest.mark.parametrize("orderly", [True, False], ids=["stopped", "killed"])
def test_what_had_not_begun_is_begun_by_the_next_run(
    tmp_path: Path, crash: Crash, unique: Any, orderly: bool
) -> None:
    before, chore = restarted(tmp_path, lambda rig: Chore(rig, unique="user"))
    blocks = [chore.task.delay(), *(before.task(chore.chore).delay() for _ in range(2))]
    for _ in blocks:
        chore.begins()
    tasks = []
    for name in ("a", "b"):
        wait = before.task(lambda name: name, unique=unique and "user")
        wait.name = f"{name} waits"
        wait.bind(before.tasks)
        tasks.append(wait.delay(name))
    (before.close if orderly else lambda: crash(before))()

    def declare(rig: TasksRig) -> None:
        Chore(rig, unique="user")
        for name in ("a", "b"):
            wait = rig.task(lambda name: name, unique=unique and "user")
            wait.name = f"{name} waits"
            wait.bind(rig.tasks)

    after, _ = restarted(tmp_path, declare)
    try:
        assert [after.tasks.get(t.task_id).join().result for t in tasks] == ["a", "b"]
        for block in blocks:
            assert after.tasks.get(block.task_id).failed
        assert after.waiting() == []
    finally:
        after.close()


@pytest.mark.parametrize("boot", ["manual-boot", "another boot"])
def test_what_was_scheduled_is_due_when_it_was_to_be(
    tmp_path: Path, crash: Crash, boot: str
) -> None:
    before, chore = restarted(tmp_path, lambda rig: Chore(rig, unique="global"))
    task = chore.task.schedule(("late",), delay=60)
    crash(before)
    after, chore = restarted(tmp_path, lambda rig: Chore(rig, unique="global"), boot)
    try:
        chore.end = True
        found = after.tasks.get(task.task_id)
        refused = chore.task.delay().error
        assert refused is not None
        assert refused["code"] == "already-running"
        later(after, 59)
        assert found.retrieve().submitted
        later(after, 1)
        assert found.join().result == "late"
    finally:
        after.close()


def test_what_had_begun_is_interrupted(tmp_path: Path, crash: Crash) -> None:
    before, chore = restarted(tmp_path, lambda rig: Chore(rig, retries=5))
    task = chore.task.delay()
    chore.begins()
    crash(before)
    after, chore = restarted(tmp_path, lambda rig: Chore(rig, retries=5))
    try:
        found = after.tasks.get(task.task_id)
        assert (found.error or {})["code"] == "interrupted"
        quiet(after)
        assert chore.times == 0
        assert after.waiting() == []
    finally:
        after.close()


def test_what_had_begun_and_may_be_cut_off_begins_again_with_a_try_less(
    tmp_path: Path, crash: Crash
) -> None:
    options = {"unique": "global", "retries": 1, "idempotent": True}
    before, chore = restarted(tmp_path, lambda rig: Chore(rig, **options))
    task = chore.task.delay("again")
    chore.begins()
    assert [each.queue for each in before.waiting()] == [BEGUN]
    crash(before)
    second, chore = restarted(tmp_path, lambda rig: Chore(rig, **options))
    chore.begins()
    assert second.tasks.get(task.task_id).running
    crash(second)
    third, chore = restarted(tmp_path, lambda rig: Chore(rig, **options))
    try:
        assert (third.tasks.get(task.task_id).error or {})["code"] == "interrupted"
        assert chore.times == 0
        assert third.waiting() == []
    finally:
        third.close()


def test_a_task_that_the_board_no_longer_has_fails_once(
    tmp_path: Path, crash: Crash, caplog: pytest.LogCaptureFixture
) -> None:
    before, chore = restarted(tmp_path, Chore)
    task = chore.task.schedule(delay=60)
    crash(before)
    after, _ = restarted(tmp_path, lambda rig: None)
    try:
        assert (after.tasks.get(task.task_id).error or {})["message"] == (
            "The board has no task 'chore' any more."
        )
        assert "lab.chore not found" in caplog.text
        assert after.waiting() == []
    finally:
        after.close()


@pytest.mark.parametrize(
    "rest",
    [
        b"\x80\x04\x95",
        b"[]",
        b"{}",
        b'{"id":1,"name":"lab.chore","kwargs":{}}',
        b'{"id":"x","name":"lab.chore","kwargs":[]}',
        b'{"id":"x","name":"lab.chore","kwargs":{},"eta":[1]}',
        b'{"id":"x","name":"lab.chore","kwargs":{},"more":1}',
    ],
)
def test_a_message_that_cannot_be_read_is_dropped_and_its_task_fails_once(
    tmp_path: Path, crash: Crash, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    before, chore = restarted(tmp_path, Chore)
    task = chore.task.schedule(delay=60)
    crash(before)
    before.store._thread.join(PATIENCE)
    with sqlite3.connect(tmp_path / "labnode.db") as db:
        db.execute("UPDATE schedule SET data = ?", (rest,))
        db.execute("INSERT INTO task (queue, data) VALUES ('hardware, lab', ?)", (rest,))
    db.close()
    after, chore = restarted(tmp_path, Chore)
    try:
        assert (after.tasks.get(task.task_id).error or {})["code"] == "interrupted"
        assert "cannot be used, and is dropped" in caplog.text
        assert after.waiting() == []
        chore.end = True
        assert chore.task.delay().join().done
    finally:
        after.close()


@pytest.mark.parametrize("catch_up", [True, False])
def test_ticks_that_were_missed_come_once_or_not_at_all(
    tmp_path: Path, crash: Crash, catch_up: bool
) -> None:
    periodic = Recurrence(Every(600), catch_up)
    before, chore = restarted(tmp_path, lambda rig: Chore(rig, periodic=periodic, unique="global"))
    chore.end = True
    quiet(before)
    later(before, 600)
    assert chore.times == 1
    crash(before)
    clock = WatchedClock()
    clock.advance(600 + 6300)  # ten were missed
    after = TasksRig(tmp_path, clock)
    chore = Chore(after, periodic=periodic, unique="global")
    chore.end = True
    after.start()
    try:
        quiet(after)
        assert chore.times == int(catch_up)
        later(after, 600 if catch_up else 300)
        assert chore.times == int(catch_up) + 1
    finally:
        after.close()


def test_a_tick_that_was_stored_is_not_stored_again(tmp_path: Path, crash: Crash) -> None:
    def declare(rig: TasksRig) -> Chore:
        return Chore(rig, periodic=Recurrence(Every(60)), unique="global")

    before, chore = restarted(tmp_path, declare)
    later(before, 60)
    chore.begins()
    crash(before)
    clock = WatchedClock()
    clock.advance(60)
    after = TasksRig(tmp_path, clock)
    chore = declare(after)
    after.start()
    try:
        quiet(after)
        assert chore.times == 0
        assert len(after.store.select("tasks", "1")) == 1
    finally:
        after.close()


def test_two_nodes_on_one_database_never_take_the_same_message(tmp_path: Path) -> None:
    """Which the lock of the state directory forbids; but whoever opens the file has it whole."""
    rigs = [TasksRig(tmp_path) for _ in range(2)]
    ran: list[int] = []
    for rig in rigs:
        rig.task(ran.append)
    queues = [rig.tasks._queues for rig in rigs]

    def put(_: Any) -> None:
        for number in range(50):
            message = queues[0].message("append", f"task {number}", {"object": number})
            queues[0].put("background, lab", message)

    rigs[0].store.run(put)
    taken: list[list[str]] = [[], []]

    def take(which: int) -> None:
        while True:
            try:
                message = rigs[which].store.run(lambda _: queues[which].take("background, lab"))
            except StorageError:  # the other has just taken one: what is seen is old
                continue
            if message is None:
                return
            taken[which].append(message.id)

    for asked in [rigs[0].go(lambda which=which: take(which)) for which in range(2)]:  # type: ignore[misc]
        asked.result()
    for rig in rigs:
        rig.store.close()
    assert sorted(taken[0] + taken[1]) == sorted(f"task {number}" for number in range(50))


def test_huey_is_refused_outside_of_the_stores_work(rig: TasksRig) -> None:
    with pytest.raises(RuntimeError, match="inside a piece of work of the store only"):
        rig.tasks._queues.waiting()
