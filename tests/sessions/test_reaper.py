"""The reaper's thread: it wakes when something happens or is due, and no failure ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from labnode import context
from labnode.clock import ManualClock
from labnode.sessions import Reaper, Reason
from tests.kit.clock import WatchedClock
from tests.kit.node import SmallNode

Boot = Callable[..., SmallNode]


def test_it_steps_at_once_and_then_when_woken_or_due() -> None:
    clock = ManualClock()
    steps: list[float] = []
    stepped = threading.Semaphore(0)

    def step() -> float | None:
        steps.append(clock.now())
        stepped.release()
        return 10.0 if len(steps) == 1 else None

    reaper = Reaper(step, clock)
    reaper.start()
    assert stepped.acquire(timeout=5)
    clock.advance(10)
    assert stepped.acquire(timeout=5)
    reaper.wake()
    assert stepped.acquire(timeout=5)
    assert reaper.stop(5)
    assert steps == [1000, 1010, 1010]


def test_a_step_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    stepped = threading.Semaphore(0)

    def step() -> float | None:
        stepped.release()
        raise ZeroDivisionError

    reaper = Reaper(step, clock)
    reaper.start()
    for _ in range(3):
        assert stepped.acquire(timeout=5)
        reaper.wake()
    assert reaper.alive
    assert reaper.stop(5)
    assert not reaper.alive
    assert "ZeroDivisionError" in caplog.text


def test_stopping_one_that_never_started_is_fine() -> None:
    assert Reaper(lambda: None, ManualClock()).stop(1)


def test_with_its_thread_sessions_come_to_their_end_by_themselves(
    boot: Boot, clock: WatchedClock
) -> None:
    node = boot(reaper=True)
    session = node.connected(length=60)
    clock.advance(14)
    node.settle()
    assert session.active
    clock.advance(1)
    node.settle()
    assert session.reason is Reason.INACTIVITY
    assert session.disposed.is_set()


def test_leaving_wakes_it(boot: Boot, clock: WatchedClock) -> None:
    node = boot(reaper=True, timeout=-1)
    session = node.connected(length=600)
    node.sessions.leaving(session)
    node.settle()
    clock.advance(10)
    node.settle()
    assert session.reason is Reason.EXITED


def test_a_slot_that_runs_out_while_it_waits_for_the_board_wakes_it(
    boot: Boot, clock: WatchedClock
) -> None:
    node = boot(reaper=True, users=2, timeout=-1)

    @node.lab.task(unique="global")
    def hold() -> None:
        node.lab.current_task.wait(100)

    node.run_as(node.connected(username="one"), hold.delay)
    node.settle()
    two = node.ask_start(username="two", length=30)
    clock.advance(30)
    node.settle()
    assert two.answered


def test_what_is_due_in_half_a_second_is_not_done_later(boot: Boot, clock: WatchedClock) -> None:
    node = boot(reaper=True, timeout=-1)
    session = node.connected(length=10)
    clock.advance(9.5)
    node.user(session).data["it"] = "is woken now"
    node.settle()
    clock.advance(0.5)
    node.settle()
    assert session.disposed.is_set()


def test_data_that_was_written_wakes_it(boot: Boot, clock: WatchedClock) -> None:
    node = boot(reaper=True)
    session = node.connected()
    data = node.user(session).data
    for number in range(2):
        data["number"] = number
        node.settle()
    clock.advance(1)
    node.settle()
    (row,) = node.store.select("sessions", "id = ?", session.id)
    assert row["data"] == {"number": 1}


def test_a_session_that_was_over_for_long_enough_wakes_it(boot: Boot, clock: WatchedClock) -> None:
    node = boot(reaper=True, keep_expired=3600)
    node.delete(node.connected())
    clock.advance(3600)
    node.settle()
    assert node.known() == []


def test_the_progress_of_a_task_does_not_wake_it_and_its_end_does(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = boot()
    woken: list[str] = []
    monkeypatch.setattr(node.sessions.reaper._wake, "set", lambda: woken.append("woken"))

    @node.lab.task(unique="global")
    def work() -> None:
        before = len(woken)
        for percent in range(100):
            context.current_task.get().data["percent"] = percent
        assert len(woken) == before

    assert work.run_sync().error is None
    assert woken


def test_an_idle_node_does_not_step(boot: Boot, clock: WatchedClock) -> None:
    node = boot(reaper=True)
    node.settle()
    moves = clock.moves
    clock.advance(3600)
    node.settle()
    assert clock.moves == moves
