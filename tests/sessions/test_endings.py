"""Every way in which an active session ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from labnode.lab import Lab
from labnode.sessions import Deletion, Reason, Session, State
from tests.kit.clock import WatchedClock
from tests.kit.node import SAFE, SmallNode
from tests.kit.waiting import PATIENCE

Boot = Callable[..., SmallNode]


def assert_over(node: SmallNode, session: Session, reason: Reason) -> None:
    """`session` was cleaned up, and everybody is told so."""
    assert session.state is State.DISPOSED
    assert session.reason is reason
    assert node.sessions.status(session.id) == -1
    assert node.values() == SAFE
    assert (node.row(session)["state"], node.row(session)["reason"]) == ("disposed", reason)
    assert node.history(session)[-2:] == ["session.disposing", "session.disposed"]


def test_a_session_goes_from_starting_to_active_to_disposing_to_disposed(
    node: SmallNode, lab: Lab
) -> None:
    states = []
    lab.on_start(lambda client, server: states.append(lab.user.session.state))
    lab.on_dispose(lambda: states.append(lab.user.session.state))
    session = node.start()
    states.append(session.state)
    node.delete(session)
    states.append(session.state)
    assert states == list(State)[:4] == ["starting", "active", "disposing", "disposed"]
    assert node.history(session) == [f"session.{state}" for state in states]


def test_a_session_ends_with_its_slot(node: SmallNode) -> None:
    session = node.connected(length=30)
    for _ in range(3):
        node.advance(9.5)
        node.sessions.poll(session)
    assert session.active
    node.advance(1.5)
    assert_over(node, session, Reason.TIME)


def test_nobody_has_the_board_for_longer_than_max_time(boot: Boot) -> None:
    node = boot(max_time=40, timeout=-1)
    session = node.connected(length=600)
    assert node.user(session).time_left == 40
    node.advance(39.5)
    assert session.active
    node.advance(0.5)
    assert_over(node, session, Reason.TIME)


@pytest.mark.parametrize("never", [-1, 0])
def test_a_board_may_keep_silent_students_until_the_end_of_the_slot(boot: Boot, never: int) -> None:
    node = boot(timeout=never)
    session = node.connected(length=600)
    node.advance(599)
    assert session.active
    node.advance(1)
    assert_over(node, session, Reason.TIME)


def test_what_is_over_of_the_slot_before_the_start_is_over(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected(length=30, elapsed=20.5)
    assert node.user(session).time_left == 9.5
    node.advance(9.5)
    assert_over(node, session, Reason.TIME)


def test_the_time_of_on_start_counts(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(12))
    node = boot(timeout=-1)
    starting = node.ask_start(length=30)
    node.advance(12)
    assert node.user(starting.session).time_left == 18


def test_the_time_of_on_start_does_not_count_where_the_server_says_so(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(12))
    node = boot(timeout=-1)
    starting = node.ask_start(length=30, counts_start=False)
    node.advance(12)
    assert node.user(starting.session).time_left == 30
    node.advance(29)
    assert starting.session.active
    node.advance(1)
    assert_over(node, starting.session, Reason.TIME)


def test_max_time_holds_where_on_start_does_not_count(boot: Boot) -> None:
    node = boot(max_time=40)
    session = node.start(length=600, counts_start=False)
    assert node.user(session).time_left == 40


def test_a_student_who_is_not_heard_of_for_15_s_has_gone(node: SmallNode) -> None:
    session = node.connected()
    node.advance(14.5)
    node.sessions.poll(session)
    node.advance(14.5)
    assert session.active
    node.advance(0.5)
    assert_over(node, session, Reason.INACTIVITY)


def test_with_timeout_minus_one_silence_ends_nothing(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected(length=3000)
    node.advance(2999)
    assert session.active


def test_a_student_who_never_comes_has_60_s(node: SmallNode) -> None:
    session = node.start()
    node.advance(59.5)
    assert session.active
    node.advance(0.5)
    assert_over(node, session, Reason.NEVER_CONNECTED)


def test_never_connected_counts_from_the_end_of_on_start(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(50))
    node = boot()
    starting = node.ask_start()
    node.advance(50)
    node.advance(59)
    assert starting.session.active


def test_even_with_timeout_minus_one_somebody_has_to_come(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.start()
    node.advance(60)
    assert_over(node, session, Reason.NEVER_CONNECTED)


def test_the_page_that_closes_is_given_10_s(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected()
    node.sessions.leaving(session)
    node.advance(9.5)
    assert session.active
    node.advance(0.5)
    assert_over(node, session, Reason.EXITED)
    assert node.user(session).exited


def test_a_page_that_is_loaded_again_has_not_left(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected()
    node.sessions.leaving(session)
    node.advance(2)
    node.sessions.poll(session)
    node.advance(100)
    assert session.active


def test_a_page_that_is_loaded_again_can_still_be_left(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected()
    for _ in range(3):
        node.sessions.leaving(session)
        node.advance(5)
        node.sessions.poll(session)
    node.sessions.leaving(session)
    node.advance(10)
    assert_over(node, session, Reason.EXITED)


def test_leaving_does_not_prolong_a_session(node: SmallNode) -> None:
    session = node.connected()
    node.advance(13)
    node.sessions.leaving(session)
    node.advance(2)
    assert_over(node, session, Reason.INACTIVITY)


def test_logging_out_ends_a_session(node: SmallNode) -> None:
    session = node.connected()
    node.sessions.end(session, Reason.EXITED)
    assert not node.user(session).active
    node.turn()
    assert_over(node, session, Reason.EXITED)


def test_the_central_server_ends_a_session(node: SmallNode) -> None:
    session = node.connected()
    assert node.delete(session) is Deletion.DONE
    assert_over(node, session, Reason.DELETED)
    assert not node.user(session).exited


def test_of_two_reasons_the_first_counts(node: SmallNode) -> None:
    session = node.connected()
    node.sessions.end(session, Reason.EXITED)
    node.sessions.end(session, Reason.DELETED)
    node.turn()
    assert_over(node, session, Reason.EXITED)


def test_of_two_ends_that_came_unseen_the_earlier_counts(boot: Boot) -> None:
    node = boot(timeout=15)
    session = node.connected(length=20)
    node.clock.advance(1000)
    node.turn()
    assert_over(node, session, Reason.INACTIVITY)


@pytest.mark.parametrize("jump", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_a_wall_clock_that_jumps_ten_years_changes_nothing(node: SmallNode, jump: float) -> None:
    session = node.connected(length=30)
    node.advance(10)
    node.clock.jump_wall(jump)
    node.turn()
    assert session.active
    assert node.user(session).time_left == 20
    assert node.user(session).time_without_polling == 10
    assert node.sessions.status(session.id) == 5
    node.advance(4)
    assert session.active
    node.sessions.poll(session)
    node.advance(15)
    assert_over(node, session, Reason.INACTIVITY)


def test_the_wall_clock_may_jump_while_the_board_is_made_ready(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(5))
    node = boot(timeout=-1)
    starting = node.ask_start(length=30)
    node.clock.jump_wall(-1e9)
    node.advance(5)
    assert node.user(starting.session).time_left == 25
    node.clock.jump_wall(2e9)
    node.delete(starting.session)
    assert_over(node, starting.session, Reason.DELETED)


def test_a_session_is_forgotten_an_hour_after_its_end(boot: Boot) -> None:
    node = boot(keep_expired=100)
    session = node.connected()
    node.delete(session)
    node.advance(99)
    assert node.sessions.by_token(session.token) is session
    assert node.sessions.by_handle(session.handle) is session
    node.advance(1)
    assert node.sessions.by_token(session.token) is None
    assert node.sessions.by_handle(session.handle) is None
    assert node.row(session)["state"] == "disposed"


def test_the_reaper_sleeps_until_something_is_due(node: SmallNode) -> None:
    assert node.sessions.step() is None
    session = node.start()
    assert node.sessions.step() == 60  # never connected
    node.sessions.poll(session)
    assert node.sessions.step() == 15
    node.sessions.leaving(session)
    assert node.sessions.step() == 10
    node.delete(session)
    assert node.sessions.step() == 3600


def test_the_reaper_wakes_for_a_task_whose_time_is_over(node: SmallNode, lab: Lab) -> None:
    begun, gate = threading.Event(), threading.Event()

    @lab.task(max_runtime=7)
    def background() -> None:
        begun.set()
        gate.wait(PATIENCE)

    session = node.connected()
    node.run_as(session, background.delay)
    assert begun.wait(PATIENCE)
    try:
        assert node.sessions.step() == 7  # before anything is due of its session
    finally:
        gate.set()


def test_a_task_that_runs_is_told_to_stop_and_waited_for(node: SmallNode, lab: Lab) -> None:
    @lab.task
    def background() -> str:
        return "went on" if lab.wait(100) else "stopped"

    session = node.connected()
    task = node.run_as(session, background.delay)
    node.until(lambda: task.retrieve().running)
    node.sessions.end(session, Reason.EXITED)
    node.until(lambda: session.state is State.DISPOSED)
    assert task.retrieve().result == "stopped"


def test_the_board_is_not_free_before_the_last_task_has_ended(
    boot: Boot, lab: Lab, clock: WatchedClock
) -> None:
    go_on = clock.event()

    @lab.task
    def stubborn() -> None:
        go_on.wait(10)

    node = boot()
    first = node.connected()
    task = node.run_as(first, stubborn.delay)
    node.until(lambda: task.retrieve().running)
    second = node.ask_start()
    node.turn()
    assert first.state is State.DISPOSING
    assert node.sessions.status(first.id) == 2
    assert not second.answered
    go_on.set()
    node.until(lambda: second.answered)
    assert first.state is State.DISPOSED
    assert second.session.active
