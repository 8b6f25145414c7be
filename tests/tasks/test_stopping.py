"""Stopping tasks: before they begin, while they run, with their session, with the node."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from labnode import context
from labnode.errors import SessionOver
from labnode.tasks import Task
from tests.kit.rig import TasksRig, as_user
from tests.kit.waiting import PATIENCE, eventually

LANES = pytest.mark.parametrize("unique", [None, "global"], ids=["background", "hardware"])


def here() -> Task:
    """The task that this code runs in."""
    task: Task = context.current_task.get()
    return task


def fill(rig: TasksRig) -> threading.Event:
    """Have all threads of both lanes busy until the event is set."""
    gate, begun = rig.gate(), threading.Semaphore(0)

    def busy() -> None:
        begun.release()
        gate.wait(PATIENCE)

    for function in (rig.task(busy), rig.task(busy), rig.task(busy, unique="user")):
        function.delay()
    for _ in range(3):
        assert begun.acquire(timeout=PATIENCE)
    return gate


# --- one task ---


@LANES
def test_a_task_that_is_stopped_before_it_begins_never_runs(rig: TasksRig, unique: Any) -> None:
    ran: list[str] = []
    gate = fill(rig)
    task = rig.task(lambda: ran.append("ran"), unique=unique).delay()
    task.stop()
    task.join()
    assert (task.status, task.stopping) == ("failed", True)
    assert task.error is not None
    assert task.error["code"] == "stopped"
    gate.set()
    rig.task(lambda: None).run_sync()
    rig.task(lambda: None, unique="global").run_sync()
    assert ran == []


@pytest.mark.parametrize("lane", [None, "user"], ids=["background", "hardware"])
def test_nor_does_it_run_when_others_join_it_before_that_is_stored(
    rig: TasksRig, lane: Any
) -> None:
    ran: list[str] = []
    gate, stopped, begun = rig.gate(), rig.gate(), threading.Semaphore(0)
    tasks: list[Task] = []

    @rig.task(unique=lane)
    def joiner() -> str:
        begun.release()
        stopped.wait(PATIENCE)
        return tasks[0].join().status

    @rig.task
    def busy() -> None:
        begun.release()
        gate.wait(PATIENCE)

    others = [joiner.delay(), *(busy.delay() for _ in range(1 if lane is None else 2))]
    for _ in others:
        assert begun.acquire(timeout=PATIENCE)
    tasks.append(rig.task(lambda: ran.append("ran")).delay())
    with rig.slow_disk():
        tasks[0].stop()
        stopped.set()
        eventually(lambda: rig.tasks._waits._waiting)
        gate.set()
    assert others[0].join().result == "failed"
    rig.task(lambda: None).run_sync()
    assert ran == []


@LANES
def test_a_task_sees_in_its_wait_that_it_shall_stop(rig: TasksRig, unique: Any) -> None:
    begun = threading.Event()

    @rig.task(unique=unique)
    def work() -> list[bool]:
        begun.set()
        return [here().stopping, here().wait(100), here().stopping, here().wait(100)]

    task = work.delay()
    assert begun.wait(PATIENCE)
    task.stop()
    task.stop()
    assert task.join().result == [False, False, True, False]
    assert task.done


@LANES
def test_wait_is_true_when_the_time_has_passed(rig: TasksRig, unique: Any) -> None:
    begun = threading.Event()

    @rig.task(unique=unique)
    def work() -> bool:
        begun.set()
        return here().wait(2)

    task = work.delay()
    assert begun.wait(PATIENCE)
    run = rig.tasks._registry.unfinished(task.task_id)
    assert run is not None
    thread = next(t for t in threading.enumerate() if t.ident == run.thread)
    rig.manual.until_waits(thread)
    rig.manual.advance(2)
    assert task.join().result is True


@LANES
def test_a_task_that_does_not_look_at_its_wait_is_ended_some_seconds_later(
    rig: TasksRig, unique: Any
) -> None:
    waits: list[bool] = []
    begun = threading.Event()

    @rig.task(unique=unique)
    def careless() -> None:
        begun.set()
        while True:
            waits.append(here().wait(1))

    task = careless.delay()
    assert begun.wait(PATIENCE)
    task.stop()
    rig.manual.advance(5)
    eventually(lambda: len(waits) > 2)
    assert task.retrieve().running
    rig.manual.advance(0.1)
    assert task.join().error == {
        "code": "stopped",
        "class": "Stopped",
        "message": "Task 'careless' was asked to stop and did not.",
    }
    assert not any(waits)


def test_stopping_a_task_stops_what_it_runs_in_itself(rig: TasksRig) -> None:
    begun = threading.Event()

    @rig.task
    def part() -> str:
        begun.set()
        while here().wait(1):
            pass
        return "part stopped"

    @rig.task(unique="global")
    def whole() -> str:
        return part() + ", whole " + ("stopped" if here().stopping else "goes on")

    task = whole.delay()
    assert begun.wait(PATIENCE)
    task.stop()
    assert task.join().result == "part stopped, whole stopped"


def test_what_a_stopping_task_runs_in_itself_is_told_from_the_beginning(rig: TasksRig) -> None:
    part = rig.task(lambda: here().wait(100))

    begun = threading.Event()

    @rig.task(unique="global")
    def whole() -> list[bool]:
        begun.set()
        while here().wait(1):
            pass
        return [part(), part.run_sync().result]

    task = whole.delay()
    assert begun.wait(PATIENCE)
    task.stop()
    assert task.join().result == [False, False]


def test_stopping_what_has_finished_or_is_unknown_does_nothing(rig: TasksRig) -> None:
    task = rig.task(lambda: 1).delay().join()
    task.stop()
    rig.tasks.stop("nobody")
    assert (task.retrieve().status, task.stopping) == ("done", False)


@pytest.mark.parametrize(("unique", "seconds"), [("global", 10), (None, 30)])
def test_a_task_that_ignores_everything_is_overdue_some_time_after_it_was_asked_to_stop(
    rig: TasksRig, unique: Any, seconds: float
) -> None:
    gate, begun = rig.gate(), threading.Event()
    task = rig.task(lambda: begun.set() or gate.wait(PATIENCE), unique=unique).delay()
    assert begun.wait(PATIENCE)
    rig.manual.advance(1000)
    assert rig.tasks.overdue.fault() is None
    task.stop()
    rig.manual.advance(seconds)
    assert rig.tasks.overdue.fault() is None
    task.stop()  # asking again gives no more time
    rig.manual.advance(1)
    overdue = rig.tasks.overdue.fault()
    assert overdue == f"task '<lambda>' was asked to stop {seconds + 1:.0f} s ago and runs on"
    gate.set()
    task.join()
    assert rig.tasks.overdue.fault() is None


# --- sessions ---


def test_a_session_that_closes_stops_its_tasks_and_no_others(rig: TasksRig) -> None:
    begun = threading.Semaphore(0)
    wait = rig.task(lambda: begun.release() or here().wait(1000))
    for name in ("ada", "bob"):
        rig.tasks.open_session(name)
    with as_user("ada"):
        mine = wait.delay()
    with as_user("bob"):
        other = wait.delay()
    for _ in range(2):
        assert begun.acquire(timeout=PATIENCE)
    rig.tasks.close_session("ada")
    assert mine.join().result is False
    assert not other.retrieve().stopping
    other.stop()
    other.join()


@LANES
def test_tasks_of_a_closed_session_that_wait_never_begin(rig: TasksRig, unique: Any) -> None:
    ran: list[str] = []
    gate = fill(rig)
    rig.tasks.open_session("ada")
    work = rig.task(lambda: ran.append("ran"), unique=unique)
    with as_user("ada"):
        task = work.delay()
    rig.tasks.close_session("ada")
    gate.set()
    assert task.join().failed
    assert ran == []


def test_a_closed_session_can_start_nothing(rig: TasksRig) -> None:
    ran: list[str] = []
    work = rig.task(lambda: ran.append("ran"))
    rig.tasks.open_session("ada")
    rig.tasks.close_session("ada")
    with as_user("ada"):
        for task in (work.delay(), work.run_sync()):
            assert (task.status, task.error and task.error["code"]) == ("failed", "session-over")
        with pytest.raises(SessionOver):
            work()
    assert ran == []
    assert rig.pending() == 0


@LANES
def test_a_session_that_closes_while_a_task_is_being_stored_lets_it_not_begin(
    rig: TasksRig, unique: Any
) -> None:
    ran: list[str] = []
    work = rig.task(lambda: ran.append("ran"), unique=unique)
    rig.tasks.open_session("ada")
    with rig.slow_disk():
        delayed = rig.ask(work.delay, "ada")
        eventually(lambda: rig.tasks._registry._runs)
        rig.tasks.close_session("ada")
    task = delayed.result()
    assert (task.status, task.error and task.error["code"]) == ("failed", "session-over")
    task.join()
    eventually(lambda: not rig.pending())
    assert rig.row(task)["error"]["code"] == "session-over"
    assert ran == []
    assert rig.tasks.of_session("ada", unfinished=True) == []


def test_a_session_that_closes_while_a_direct_call_is_being_stored_lets_it_not_begin(
    rig: TasksRig,
) -> None:
    ran: list[str] = []
    work = rig.task(lambda: ran.append("ran"), unique="global")
    rig.tasks.open_session("ada")
    with rig.slow_disk():
        call = rig.ask(work, "ada")
        eventually(lambda: rig.tasks._registry._runs)
        rig.tasks.close_session("ada")
    call.raises(SessionOver)
    assert ran == []
    eventually(lambda: not rig.pending())


def test_a_direct_call_in_a_view_is_stopped_with_its_session(rig: TasksRig) -> None:
    begun = threading.Event()
    work = rig.task(lambda: begun.set() or here().wait(1000), unique="global")
    rig.tasks.open_session("ada")
    view = rig.ask(work, "ada")
    assert begun.wait(PATIENCE)
    rig.tasks.close_session("ada")
    assert view.result() is False


def test_a_clean_up_runs_what_is_a_part_of_it_but_starts_nothing_that_outlives_it(
    rig: TasksRig,
) -> None:
    ran: list[str] = []
    direct = rig.task(lambda: ran.append("direct"), unique="global")
    synchronous = rig.task(lambda: ran.append("run_sync"))
    later = rig.task(lambda: ran.append("later"), unique="user")
    also_later = rig.task(lambda: ran.append("also later"))
    tasks: list[Task] = []

    def dispose() -> None:
        with as_user("ada"):
            direct()
            synchronous.run_sync()
            tasks.extend([later.delay(), also_later.delay()])

    rig.tasks.open_session("ada")
    rig.tasks.close_session("ada")
    assert rig.hook(dispose).ends() is None
    for task in tasks:
        assert (task.status, task.error and task.error["code"]) == ("failed", "session-over")
    later.run_sync()  # of the lab's own: the lanes are free
    assert ran == ["direct", "run_sync", "later"]


@LANES
def test_a_stopping_task_runs_what_is_a_part_of_it_but_starts_nothing_that_outlives_it(
    rig: TasksRig, unique: Any
) -> None:
    ran: list[str] = []
    begun = threading.Event()
    tidy = rig.task(lambda: ran.append("tidy"))
    later = rig.task(lambda: ran.append("later"), unique="user")

    @rig.task(unique=unique)
    def work() -> Any:
        begun.set()
        while here().wait(1):
            pass
        tidy()
        return later.delay().error

    rig.tasks.open_session("ada")
    with as_user("ada"):
        task = work.delay()
    assert begun.wait(PATIENCE)
    rig.tasks.close_session("ada")
    assert task.join().result["code"] == "session-over"
    assert ran == ["tidy"]


def test_a_session_can_be_opened_again(rig: TasksRig) -> None:
    work = rig.task(lambda: "ran")
    for _ in range(2):
        rig.tasks.open_session("ada")
        with as_user("ada"):
            assert work.run_sync().result == "ran"
        rig.tasks.close_session("ada")
        rig.tasks.close_session("ada")


# --- the node ---


def test_stop_in_the_middle_of_everything_ends_in_order_and_in_time(tmp_path: Path) -> None:
    rig = TasksRig(tmp_path)
    rig.start()
    rig.tasks.open_session("ada")
    begun = threading.Semaphore(0)

    @rig.task
    def chore() -> bool:
        begun.release()
        return here().wait(1000)

    @rig.task(unique="user")
    def heat() -> None:
        rig.board.heat()
        begun.release()
        chore.delay().join()

    @rig.task(unique="global")
    def next_one() -> None: ...

    with as_user("ada"):
        running, queued = heat.delay(), next_one.delay()
        waiting = [chore.delay() for _ in range(5)]
    for _ in range(3):
        assert begun.acquire(timeout=PATIENCE)
    rig.rests()
    rig.board.polling = lambda: 0.5
    hook = rig.hook(lambda: None)
    views = [
        rig.ask(running.join, "ada"),
        rig.ask(queued.join),
        rig.ask(lambda: rig.tasks.pause(9)),
    ]
    rig.tasks.stop_all()
    assert rig.worker.stop(PATIENCE)
    for view in views:
        view.ends()
    assert not rig.board.heater
    assert rig.board.closed == 1
    assert not hook.begun.is_set() or hook.ends() is None
    rig.stored()
    for task in (running, queued, *waiting):
        assert task.retrieve().finished
        assert rig.row(task)["status"] in ("done", "failed")
    assert rig.pending() == 0
    assert chore.delay().error is not None
    rig.close()


def test_a_task_on_the_hardware_thread_that_joins_a_deaf_one_does_not_hold_up_the_stop(
    rig: TasksRig,
) -> None:
    gate, begun = rig.gate(), threading.Event()
    deaf = rig.task(lambda: begun.set() or gate.wait(PATIENCE))
    heat = rig.task(lambda: deaf.delay().join(), unique="global").delay()
    assert begun.wait(PATIENCE)
    rig.rests()
    rig.tasks.stop_all()
    stop = rig.go(lambda: rig.worker.stop(PATIENCE))
    rig.hardware.join(PATIENCE)
    assert rig.board.closed == 1
    gate.set()
    assert stop.result()
    rig.stored()
    assert heat.retrieve().error is not None


def test_tasks_that_wait_when_the_node_stops_never_begin(rig: TasksRig) -> None:
    ran: list[str] = []
    gate = fill(rig)
    rig.tasks.open_session("ada")
    with as_user("ada"):
        tasks = [rig.task(lambda: ran.append("ran"), unique=u).delay() for u in (None, "global")]
    rig.tasks.stop_all()
    gate.set()
    assert rig.worker.stop(PATIENCE)
    assert ran == []
    rig.stored()
    assert [task.retrieve().status for task in tasks] == ["failed", "failed"]
