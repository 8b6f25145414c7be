"""Waiting for tasks across the lanes: nothing waits for itself, and every wait has an end."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from labnode import context
from labnode.errors import Busy, Deadlock, SessionOver, Stopped, TooLate
from labnode.tasks import Task
from tests.kit.rig import TasksRig
from tests.kit.waiting import PATIENCE, eventually


def here() -> Task:
    """The task that this code runs in."""
    task: Task = context.current_task.get()
    return task


def where() -> str:
    return threading.current_thread().name.partition("-")[0]


# --- hardware ---


def test_a_hardware_task_that_joins_one_queued_behind_it_gets_a_deadlock(rig: TasksRig) -> None:
    behind = rig.task(where, unique="user")
    caught: list[Deadlock] = []

    @rig.task(unique="global")
    def first() -> str:
        task = behind.delay()
        try:
            task.join()
        except Deadlock as error:
            caught.append(error)
        return task.task_id

    task = first.delay().join()
    assert task.done
    assert "would have to wait for this very wait" in str(caught[0])
    assert rig.tasks.get(task.result).join().result == "hardware"  # it has its turn all the same


def test_a_hardware_task_that_joins_itself_gets_a_deadlock(rig: TasksRig) -> None:
    work = rig.task(lambda: here().join(), unique="global")
    error = work.delay().join().error
    assert error is not None
    assert error["class"] == "Deadlock"


def test_a_background_task_that_joins_itself_gets_a_deadlock(rig: TasksRig) -> None:
    work = rig.task(lambda: here().join())
    error = work.delay().join().error
    assert error is not None
    assert error["class"] == "Deadlock"


def test_run_sync_on_the_hardware_thread_runs_there_whatever_the_lane(rig: TasksRig) -> None:
    plain, unique = rig.task(where), rig.task(where, unique="user")
    both = rig.task(lambda: [plain.run_sync().result, unique.run_sync().result], unique="global")
    assert both.delay().join().result == ["hardware", "hardware"]


def test_run_sync_on_a_background_thread_runs_there_whatever_the_lane(rig: TasksRig) -> None:
    plain, unique = rig.task(where), rig.task(where, unique="user")
    both = rig.task(lambda: [plain.run_sync().result, unique.run_sync().result])
    assert both.delay().join().result == ["background", "background"]


def test_a_direct_call_runs_in_its_callers_thread_whatever_the_lane(rig: TasksRig) -> None:
    plain, unique = rig.task(where), rig.task(where, unique="user")
    for lane in (None, "global"):
        both = rig.task(lambda: [plain(), unique()], unique=lane)
        assert len(set(both.delay().join().result)) == 1


def test_a_hardware_task_can_join_a_background_task_and_serves_calls_meanwhile(
    rig: TasksRig,
) -> None:
    gate = rig.gate()

    @rig.task
    def chore() -> list[Any]:
        heated = rig.worker.call(rig.board.heat)
        gate.wait(PATIENCE)
        return [heated, where()]

    work = rig.task(lambda: chore.delay().join().result, unique="global")
    task = work.delay()
    eventually(lambda: rig.board.heater)
    assert rig.worker.call(lambda: "served") == "served"
    gate.set()
    assert task.join().result == [True, "background"]


def test_a_background_task_never_runs_on_the_hardware_thread_because_that_waits_for_it(
    rig: TasksRig,
) -> None:
    chore = rig.task(where)
    work = rig.task(lambda: [chore.delay().join().result for _ in range(50)], unique="global")
    assert set(work.delay().join().result) == {"background"}


def test_a_background_task_can_join_a_hardware_task(rig: TasksRig) -> None:
    heat = rig.task(where, unique="global")
    assert rig.task(lambda: heat.delay().join().result).delay().join().result == "hardware"


def test_a_cycle_from_hardware_to_background_to_hardware_is_a_deadlock(rig: TasksRig) -> None:
    heat = rig.task(where, unique="user")

    @rig.task
    def chore() -> str:
        try:
            heat.delay().join()
        except Deadlock:
            return "deadlock"
        return "no deadlock"

    @rig.task(unique="global")
    def work() -> Any:
        try:
            return chore.delay().join().result
        except Deadlock:  # who begins to wait last is told
            return "deadlock"

    assert work.delay().join().result == "deadlock"


def test_a_cycle_from_background_to_hardware_to_background_is_a_deadlock(rig: TasksRig) -> None:
    outcomes: list[str] = []

    @rig.task(unique="global")
    def heat(chore_id: str) -> None:
        try:
            rig.tasks.get(chore_id).join()
        except Deadlock:
            outcomes.append("deadlock")

    @rig.task
    def chore() -> None:
        heating = heat.delay(here().task_id)
        try:
            heating.join()
        except Deadlock:  # it has come second
            outcomes.append("deadlock")

    assert chore.delay().join().done
    assert outcomes == ["deadlock"]


def test_two_background_tasks_that_join_each_other_are_a_deadlock_for_one(rig: TasksRig) -> None:
    ids: list[str] = []
    both = threading.Barrier(2)

    @rig.task
    def chore(me: int) -> str:
        ids.append(here().task_id)
        both.wait(PATIENCE)
        try:
            rig.tasks.get(next(i for i in ids if i != here().task_id)).join()
        except Deadlock:
            return "deadlock"
        return "waited"

    tasks = [chore.delay(0), chore.delay(1)]
    assert sorted(task.join().result for task in tasks) == ["deadlock", "waited"]


def test_a_ring_over_many_threads_is_a_deadlock_for_one(tmp_path: Any) -> None:
    rig = TasksRig(tmp_path, background=5)
    rig.start()
    ids: dict[int, str] = {}
    all_there = threading.Barrier(5)

    @rig.task
    def chore(me: int) -> str:
        ids[me] = here().task_id
        all_there.wait(PATIENCE)
        try:
            rig.tasks.get(ids[(me + 1) % 5]).join()
        except Deadlock:
            return "deadlock"
        return "waited"

    try:
        tasks = [chore.delay(n) for n in range(5)]
        assert sorted(task.join().result for task in tasks) == ["deadlock", *["waited"] * 4]
    finally:
        rig.close()


def test_a_wait_inside_a_call_does_not_hide_the_wait_around_it(rig: TasksRig) -> None:
    """The hardware thread waits for A; a call served meanwhile waits for B; B joins the first."""
    gate_a, gate_b = rig.gate(), rig.gate()
    outcomes: list[str] = []

    @rig.task
    def chore_a(heat_id: str) -> None:
        gate_a.wait(PATIENCE)
        try:
            rig.tasks.get(heat_id).join()
        except Deadlock:
            outcomes.append("deadlock")

    chore_b = rig.task(lambda: gate_b.wait(PATIENCE))
    tasks: list[Task] = []

    @rig.task(unique="global")
    def heat() -> None:
        tasks.append(chore_a.delay(here().task_id))
        tasks[0].join()

    heating = heat.delay()
    eventually(lambda: tasks and tasks[0].retrieve().running)
    rig.rests()
    inner = chore_b.delay()
    call = rig.ask(lambda: rig.worker.call(inner.join)).waits()
    rig.rests()
    gate_a.set()
    eventually(lambda: outcomes)
    gate_b.set()
    assert heating.join().done
    assert outcomes == ["deadlock"]
    call.ends()


# --- all threads taken ---


def test_background_tasks_can_wait_for_background_tasks_with_all_threads_taken(
    rig: TasksRig,
) -> None:
    @rig.task
    def tree(depth: int) -> int:
        if depth == 0:
            return 1
        children = [tree.delay(depth - 1) for _ in range(2)]
        return sum(child.join().result for child in children)

    assert tree.delay(4).join().result == 16
    assert rig.worker._background._places == 0


def test_the_same_with_a_single_thread(tmp_path: Any) -> None:
    rig = TasksRig(tmp_path, background=1)
    rig.start()

    @rig.task
    def chain(depth: int) -> int:
        return 0 if depth == 0 else 1 + chain.delay(depth - 1).join(60).result

    try:
        assert chain.delay(20).join().result == 20
    finally:
        rig.close()


def test_a_timeout_holds_although_all_threads_are_taken(rig: TasksRig) -> None:
    gate = rig.gate()
    long = rig.task(lambda: gate.wait(PATIENCE))

    @rig.task
    def impatient() -> str:
        try:
            long.delay().join(2)
        except TooLate:
            return "too late"
        return "in time"

    tasks = [impatient.delay() for _ in range(2)]
    eventually(
        lambda: sum(t.name == "<lambda>" and t.running for t in rig.tasks.of_session(None)) == 2
    )
    for task in tasks:
        (thread,) = [t for t in threading.enumerate() if t.ident == _thread_of(rig, task)]
        rig.manual.until_waits(thread)
    rig.manual.advance(2)
    assert [task.join().result for task in tasks] == ["too late"] * 2
    gate.set()


@pytest.mark.parametrize("lane", [None, "global"])
@pytest.mark.parametrize("timeout", [1e30, float("inf")])
def test_a_timeout_of_centuries_is_none(rig: TasksRig, lane: Any, timeout: float) -> None:
    gate = rig.gate()
    child = rig.task(lambda: gate.wait(PATIENCE))
    waiting = rig.task(lambda: child.delay().join(timeout=timeout).result, unique=lane).delay()
    eventually(lambda: rig.tasks._waits._waiting)
    gate.set()
    assert waiting.join().result is True


def test_a_recursion_without_an_end_fails_and_hangs_nothing(rig: TasksRig) -> None:
    over = rig.gate()  # the last one of each chain, which nobody waits for, begins another

    @rig.task
    def for_ever() -> Any:
        if over.is_set():
            return
        task = for_ever.delay().join()
        if task.error is not None:
            raise RuntimeError(task.error["message"])

    error = for_ever.delay().join().error
    assert error is not None
    assert "64 background tasks wait for others" in error["message"]
    assert rig.task(where).delay().join().result == "background"


# --- views ---


def test_a_view_can_join_tasks_of_both_lanes(rig: TasksRig) -> None:
    for unique in (None, "global"):
        task = rig.task(where, unique=unique).delay()
        assert rig.ask(lambda task=task: task.join().done).result()  # type: ignore[misc]


def test_a_view_that_joins_ends_with_its_session(rig: TasksRig) -> None:
    gate = rig.gate()
    rig.tasks.open_session("ada")
    task = rig.task(lambda: gate.wait(PATIENCE)).delay()  # one of the lab's own, which goes on
    view = rig.ask(task.join, "ada").waits()
    other = rig.ask(task.join).waits()
    rig.tasks.close_session("ada")
    assert "session ended" in str(view.raises(SessionOver))
    assert not other.answered
    gate.set()
    assert other.result() == task


def test_a_view_that_joins_when_its_session_is_over_already_does_not_wait(rig: TasksRig) -> None:
    gate = rig.gate()
    task = rig.task(lambda: gate.wait(PATIENCE)).delay()
    rig.ask(task.join, "bob").raises(SessionOver)
    gate.set()


def test_a_view_in_lab_wait_ends_with_its_session(rig: TasksRig) -> None:
    rig.tasks.open_session("ada")
    view = rig.ask(lambda: rig.tasks.pause(100), "ada").waits()
    rig.tasks.close_session("ada")
    assert view.result() is False


def test_a_view_that_goes_on_waiting_after_its_session_is_ended(rig: TasksRig) -> None:
    rig.tasks.open_session("ada")

    def careless() -> None:
        while True:
            rig.tasks.pause(1)

    view = rig.ask(careless, "ada").waits()
    rig.tasks.close_session("ada")
    view.raises(SessionOver)


def test_a_view_in_lab_wait_gets_its_time_and_others_the_board(rig: TasksRig) -> None:
    rig.tasks.open_session("ada")
    view = rig.ask(lambda: rig.tasks.pause(3), "ada").waits()
    assert rig.worker.call(rig.board.heat) is True
    rig.manual.advance(3)
    assert view.result() is True


def test_views_that_wait_end_when_the_node_stops(rig: TasksRig) -> None:
    gate = rig.gate()
    rig.tasks.open_session("ada")
    task = rig.task(lambda: gate.wait(PATIENCE)).delay()
    joins = [rig.ask(task.join, session).waits() for session in ("ada", None)]
    pauses = [rig.ask(lambda: rig.tasks.pause(9), session).waits() for session in ("ada", None)]
    rig.tasks.stop_all()
    for join in joins:
        join.raises(SessionOver)
    for pause in pauses:
        assert pause.result() is False
    gate.set()


@pytest.mark.parametrize("rig", [{"slots": 1}], indirect=True)
def test_a_view_that_finds_no_seat_is_busy_at_once_and_its_task_runs(rig: TasksRig) -> None:
    gate = rig.gate()
    blocker = rig.task(lambda: gate.wait(PATIENCE)).delay()
    quick = rig.task(where)
    seated = rig.ask(blocker.join).waits()
    rig.ask(blocker.join).raises(Busy)
    rig.ask(quick).raises(Busy)
    rig.ask(quick.run_sync).raises(Busy)
    rig.ask(lambda: rig.tasks.pause(1)).raises(Busy)
    assert rig.ask(lambda: quick.delay().retrieve().name).result() == "where"  # does not wait
    gate.set()
    seated.result()
    assert rig.ask(quick.run_sync).result().done


# --- hooks ---


def test_join_in_a_hook_serves_calls_and_returns_when_the_task_is_finished(rig: TasksRig) -> None:
    gate = rig.gate()
    task = rig.task(lambda: gate.wait(PATIENCE)).delay()
    hook = rig.hook(task.join).begins()
    rig.rests()
    assert rig.worker.call(rig.board.heat) is True
    gate.set()
    assert hook.ends() is None


def test_join_in_a_hook_of_a_task_queued_behind_it_is_a_deadlock(rig: TasksRig) -> None:
    heat = rig.task(where, unique="global")
    hook = rig.hook(lambda: heat.delay().join())
    assert isinstance(hook.ends(), Deadlock)


def test_join_in_a_hook_of_a_task_that_was_stopped_before_it_began_is_no_deadlock(
    rig: TasksRig,
) -> None:
    """As when on_dispose waits for the tasks of its session, which were all told to stop."""
    gate, begun = rig.gate(), threading.Event()
    heat = rig.task(where, unique="global")
    tasks: list[Task] = []

    def dispose() -> None:
        begun.set()
        gate.wait(PATIENCE)
        tasks[0].join()

    hook = rig.hook(dispose)
    assert begun.wait(PATIENCE)
    tasks.append(heat.delay())
    with rig.slow_disk():
        tasks[0].stop()
        gate.set()
        rig.rests()
    assert hook.ends() is None
    assert tasks[0].retrieve().failed


def test_join_in_a_hook_may_not_wait_beyond_the_limit_of_the_hook(rig: TasksRig) -> None:
    gate = rig.gate()
    task = rig.task(lambda: gate.wait(PATIENCE)).delay()
    hook = rig.hook(task.join, limit=20).begins()
    rig.rests()
    rig.manual.advance(20)
    assert isinstance(hook.ends(), TooLate)
    gate.set()


def test_join_in_a_hook_ends_when_the_hook_is_asked_to_stop(rig: TasksRig) -> None:
    gate = rig.gate()
    task = rig.task(lambda: gate.wait(PATIENCE)).delay()
    hook = rig.hook(task.join).begins()
    rig.rests()
    hook.hook.stopping = True
    rig.worker.wake()
    assert isinstance(hook.ends(), Stopped)
    gate.set()


def test_lab_wait_in_a_hook_lets_time_pass(rig: TasksRig) -> None:
    waited: list[bool] = []
    hook = rig.hook(lambda: waited.append(rig.tasks.pause(3))).begins()
    rig.rests()
    rig.manual.advance(3)
    assert hook.ends() is None
    assert waited == [True]


def test_run_sync_and_direct_calls_in_a_hook_run_at_once(rig: TasksRig) -> None:
    names: list[str] = []
    plain, unique = rig.task(where), rig.task(where, unique="global")
    hook = rig.hook(
        lambda: names.extend([plain(), unique(), plain.run_sync().result, unique.run_sync().result])
    )
    assert hook.ends() is None
    assert names == ["hardware"] * 4


# --- waiters that have to end ---


@pytest.mark.parametrize("unique", [None, "global"], ids=["background", "hardware"])
def test_a_task_that_is_asked_to_stop_while_it_joins_has_some_seconds_and_then_ends(
    rig: TasksRig, unique: Any
) -> None:
    gate, begun = rig.gate(), threading.Event()
    child = rig.task(lambda: begun.set() or gate.wait(PATIENCE))

    @rig.task(unique=unique)
    def parent() -> None:
        child.delay().join()

    task = parent.delay()
    assert begun.wait(PATIENCE)
    thread = next(t for t in threading.enumerate() if t.ident == _thread_of(rig, task))
    rig.manual.until_waits(thread)
    task.stop()
    eventually(lambda: task.retrieve().stopping)
    rig.manual.until_waits(thread)
    assert not task.retrieve().finished  # children that end in time are still waited for
    rig.manual.advance(5.1)
    ended = task.join()
    assert ended.error is not None
    assert (ended.error["code"], "waiter" in ended.error["message"]) == ("stopped", True)
    gate.set()


def test_a_task_that_is_asked_to_stop_can_still_join_the_children_that_it_stops(
    rig: TasksRig,
) -> None:
    begun = threading.Event()

    @rig.task
    def child() -> str:
        begun.set()
        while here().wait(1):
            pass
        return "child stopped"

    @rig.task
    def parent() -> str:
        task = child.delay()
        while here().wait(1):
            pass
        task.stop()
        return f"parent stopped, {task.join().result}"

    task = parent.delay()
    assert begun.wait(PATIENCE)
    task.stop()
    assert task.join().result == "parent stopped, child stopped"


def _thread_of(rig: TasksRig, task: Task) -> int | None:
    run = rig.tasks._registry.unfinished(task.task_id)
    assert run is not None
    return run.thread
