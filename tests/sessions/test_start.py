"""Starts: who gets the board when, who is answered first, and what becomes of those that fail."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from labnode.clock import Event
from labnode.errors import Busy, DeviceError, StartFailed
from labnode.lab import Lab
from labnode.sessions import Deletion, Reason, State
from labnode.sessions.state_machine import HOOK_LIMIT
from tests.kit.clock import Asked, WatchedClock
from tests.kit.node import SAFE, SmallNode

Boot = Callable[..., SmallNode]


class Hooks:
    """on_start that takes `seconds` (and ends early if asked to), and a diary of both hooks."""

    def __init__(self, lab: Lab) -> None:
        self.diary: list[str] = []
        self.seconds = 0.0
        self.dispose_seconds = 0.0
        self.lab = lab
        lab.on_start(self.on_start)
        lab.on_dispose(self.on_dispose)

    def on_start(self, client: dict[str, Any], server: dict[str, Any]) -> None:
        self.diary.append(f"start {self.lab.user.username}")
        self.lab.devices.switch.on()
        if self.seconds:
            self.lab.wait(self.seconds)

    def on_dispose(self) -> None:
        self.diary.append(f"dispose {self.lab.user.username}")
        if self.dispose_seconds:
            self.lab.wait(self.dispose_seconds)


@pytest.fixture
def hooks(lab: Lab) -> Hooks:
    return Hooks(lab)


def in_order(*asked: Asked) -> bool:
    """Were they answered in this order?"""
    return all(a.number < b.number for a, b in itertools.pairwise(asked))


def wait_deaf(lab: Lab, seconds: float) -> None:
    """Wait on the hardware thread and take no notice of being stopped."""
    worker = lab._node.worker
    worker.wait_for(worker.signal(), seconds)


# ---------------------------------------------------------------------- one after the other


def test_a_start_is_answered_when_the_board_is_ready(boot: Boot, hooks: Hooks) -> None:
    hooks.seconds = 8
    node = boot()
    starting = node.ask_start()
    node.advance(7)
    assert not starting.answered
    node.advance(1)
    assert starting.session.active
    assert node.values() == {**SAFE, "switch": True, "lamp": True}


def test_an_id_can_be_the_argument_of_a_command(
    node: SmallNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: "-option" * size)
    assert not node.start().id.startswith("-")


def test_a_start_is_answered_when_that_is_stored(node: SmallNode) -> None:
    starting = node.ask_start()
    with node.store_busy():
        node.sessions.step()
        (session,) = node.sessions.live()
        assert session.active
        assert not starting.answered
    node.settle()
    assert starting.session is session
    assert node.row(session)["state"] == "active"


def test_an_id_is_no_option_of_a_command(node: SmallNode) -> None:
    assert re.fullmatch("[0-9a-f]+", node.start().id)


def test_the_next_start_waits_for_the_clean_up(boot: Boot, hooks: Hooks) -> None:
    hooks.dispose_seconds = 20
    node = boot()
    first = node.start()
    node.ask_delete(first)
    node.turn()
    second = node.ask_start(username="bob")
    node.advance(19)
    assert not second.answered
    assert hooks.diary == ["start ada", "dispose ada"]
    node.advance(1)
    assert second.session.active
    assert hooks.diary == ["start ada", "dispose ada", "start bob"]


def test_a_start_gives_up_after_start_wait(boot: Boot, hooks: Hooks) -> None:
    hooks.dispose_seconds = 100
    node = boot(start_wait=30)
    first = node.start()
    node.ask_delete(first)
    second = node.ask_start()
    node.advance(29.5)
    assert not second.answered
    node.advance(0.5)
    assert isinstance(second.error, Busy)
    assert second.error.retry_after > 0
    assert node.sessions.live() == [first]
    node.advance(70.5)
    assert first.state is State.DISPOSED
    assert node.start().active


def test_with_start_wait_0_nobody_waits(boot: Boot) -> None:
    node = boot(start_wait=0)
    first = node.start()
    refused = node.ask_start()
    assert isinstance(refused.error, Busy)
    node.turn()
    assert first.reason is Reason.SUPERSEDED  # the server asked for it; its next try succeeds
    assert node.start().active


def test_starts_wait_in_the_order_in_which_they_came(boot: Boot, hooks: Hooks) -> None:
    hooks.dispose_seconds = 10
    node = boot()
    node.ask_delete(node.start("a"))
    waiting = [node.ask_start(client, username=client) for client in "abc"]
    node.advance(10)  # the board is a's; b and c are other servers
    assert waiting[0].session.active
    assert [type(w.answer) for w in waiting[1:]] == [Busy, Busy]
    assert hooks.diary == ["start ada", "dispose ada", "start a"]


def test_one_that_has_given_up_does_not_hold_up_the_others(boot: Boot, hooks: Hooks) -> None:
    hooks.dispose_seconds = 50
    node = boot(start_wait=40)
    node.ask_delete(node.start())
    node.turn()
    first = node.ask_start()
    node.advance(20)
    second = node.ask_start()
    node.advance(20)
    assert isinstance(first.error, Busy)
    node.advance(10)
    assert second.session.active


def test_the_same_reservation_again_is_the_same_session(node: SmallNode) -> None:
    session = node.start(reservation="r1")
    assert node.start(reservation="r1") is session
    assert len(node.sessions.live()) == 1


def test_the_same_reservation_while_it_starts_waits_for_the_same_answer(
    boot: Boot, hooks: Hooks
) -> None:
    hooks.seconds = 5
    node = boot()
    asked = [node.ask_start(reservation="r1") for _ in range(3)]
    node.advance(5)
    assert asked[0].session is asked[1].session is asked[2].session
    assert hooks.diary == ["start ada"]


def test_the_same_reservation_while_it_waits_for_the_board_is_one_session(
    boot: Boot, hooks: Hooks
) -> None:
    hooks.dispose_seconds = 5
    node = boot()
    node.ask_delete(node.start())
    asked = [node.ask_start(reservation="r1") for _ in range(3)]
    node.advance(5)
    assert asked[0].session is asked[1].session is asked[2].session
    assert asked[0].session.active


def test_the_same_reservation_from_another_server_is_another_one(node: SmallNode) -> None:
    node.start("a", "r1")
    assert isinstance(node.ask_start("b", "r1").error, Busy)


def test_the_same_reservation_after_its_end_is_a_new_session(node: SmallNode) -> None:
    session = node.start(reservation="r1")
    node.delete(session)
    assert node.start(reservation="r1") is not session


def test_no_reservation_is_no_reservation_in_common(node: SmallNode) -> None:
    session = node.start(reservation=None)
    assert node.start(reservation=None) is not session


def test_a_running_session_is_found_again_while_the_node_is_drained(node: SmallNode) -> None:
    session = node.start(reservation="r1")
    node.sessions.draining = True
    assert node.start(reservation="r1") is session
    assert isinstance(node.ask_start(reservation="r2").error, Busy)
    assert session.active


# ---------------------------------------------------------------------- superseding


def test_a_new_start_of_the_same_server_replaces_its_session(node: SmallNode) -> None:
    first = node.connected("weblab", "r1")
    second = node.start("weblab", "r2")
    assert first.state is State.DISPOSED
    assert first.reason is Reason.SUPERSEDED
    assert second.active


def test_another_servers_session_is_not_touched(node: SmallNode) -> None:
    session = node.connected("a")
    refused = node.ask_start("b")
    assert isinstance(refused.error, Busy)
    assert refused.error.retry_after > 0
    node.turn()
    assert session.active


def test_another_servers_session_that_is_over_makes_room(boot: Boot) -> None:
    node = boot(timeout=15)
    first = node.connected("a")
    node.clock.advance(15)  # and the reaper has not looked yet
    second = node.ask_start("b")
    node.turn()
    assert first.reason is Reason.INACTIVITY
    assert second.session.active


def test_another_server_waits_for_a_session_that_is_ending(boot: Boot, hooks: Hooks) -> None:
    hooks.dispose_seconds = 10
    node = boot()
    node.ask_delete(node.start("a"))
    second = node.ask_start("b")
    node.advance(10)
    assert second.session.active


def test_a_start_that_is_superseded_is_answered_with_its_own_id_and_first(
    boot: Boot, hooks: Hooks
) -> None:
    hooks.seconds = 30
    node = boot()
    first = node.ask_start("weblab", "r1")
    node.advance(10)
    second = node.ask_start("weblab", "r2", username="bob")
    node.turn()
    assert first.session.reason is Reason.SUPERSEDED
    assert node.sessions.status(first.session.id) == -1
    assert not second.answered
    node.advance(30)
    assert second.session.active
    assert in_order(first, second)
    assert hooks.diary == ["start ada", "dispose ada", "start bob"]


def test_a_superseded_start_is_answered_before_even_a_refusal_of_its_successor(
    boot: Boot, lab: Lab
) -> None:
    @lab.on_start
    def hang(client: dict[str, Any], server: dict[str, Any]) -> None:
        wait_deaf(lab, 40)

    node = boot(start_wait=30)
    first = node.ask_start("weblab", "r1")
    second = node.ask_start("weblab", "r2")
    node.advance(30)
    assert isinstance(second.error, Busy)
    assert first.session.reason is Reason.SUPERSEDED
    assert in_order(first, second)
    node.advance(10)
    assert first.session.state is State.DISPOSED


def test_a_successor_waits_for_the_answer_of_a_thread_that_is_slow(
    boot: Boot, hooks: Hooks, clock: WatchedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler of the machine may wake the thread of the first request last."""
    hooks.seconds = 30
    node = boot()
    held = clock.event()
    wait_for = node.worker.wait_for

    def wait_and_be_held(signal: Event, timeout: float | None) -> bool:
        result = wait_for(signal, timeout)
        (session, *_) = node.known()
        if signal is session.started:
            held.wait()
        return result

    monkeypatch.setattr(node.worker, "wait_for", wait_and_be_held)
    first = node.ask_start("weblab", "r1")
    second = node.ask_start("weblab", "r2")
    node.turn()
    node.advance(30)
    (live,) = node.sessions.live()
    assert live.active
    assert not first.answered
    assert not second.answered
    held.set()
    node.settle()
    assert in_order(first, second)
    assert second.session is live


def test_many_starts_of_one_server_are_answered_in_order(boot: Boot, hooks: Hooks) -> None:
    hooks.seconds = 3
    node = boot(seats=20)
    asked = [node.ask_start("weblab", f"r{n}") for n in range(6)]
    for _ in range(6):
        node.advance(3)
    sessions = [a.session for a in asked]
    assert [s.reason for s in sessions] == [Reason.SUPERSEDED] * 5 + [None]
    assert sessions[-1].active
    assert in_order(*asked)


def test_a_start_that_ended_before_it_reached_the_board_runs_no_hook(
    boot: Boot, hooks: Hooks, lab: Lab
) -> None:
    """on_dispose would look for what on_start never made, and put the board into quarantine."""

    @lab.task(unique="global")
    def hold() -> None:
        lab.current_task.wait(50)

    node = boot(users=2, timeout=-1)
    one = node.connected(username="one")
    node.run_as(one, hold.delay)
    node.settle()
    two = node.ask_start(username="two", reservation="r2")
    (session,) = [s for s in node.sessions.live() if s is not one]
    node.sessions.end(session, Reason.EXITED)
    node.advance(50)
    assert two.session is session
    assert session.state is State.DISPOSED
    assert hooks.diary == ["start one"]
    assert node.history(session)[-1] == "session.disposed"


def test_a_start_that_ends_while_it_is_stored_is_answered_before_the_board_is_free(
    boot: Boot, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    @lab.task(unique="global")
    def hold() -> None:
        lab.current_task.wait(50)

    node = boot(users=2, timeout=-1)
    one = node.connected(username="one")
    node.run_as(one, hold.delay)
    node.settle()
    insert = node.store.insert

    def insert_slowly(*args: Any, **kwargs: Any) -> None:
        insert(*args, **kwargs)
        (session,) = [s for s in node.sessions.live() if s is not one]
        node.sessions.end(session, Reason.EXITED)

    monkeypatch.setattr(node.store, "insert", insert_slowly)
    two = node.ask_start(username="two")
    assert two.answered


def test_a_student_who_leaves_while_the_board_is_made_ready_leaves_nothing_behind(
    boot: Boot, hooks: Hooks
) -> None:
    hooks.seconds = 30
    node = boot()
    starting = node.ask_start()
    (session,) = node.sessions.live()
    node.sessions.end(session, Reason.EXITED)
    node.turn()
    assert starting.session is session
    assert session.state is State.DISPOSED
    assert hooks.diary == ["start ada", "dispose ada"]
    assert node.values() == SAFE


def test_a_slot_that_ends_while_the_board_is_made_ready_frees_it(boot: Boot, hooks: Hooks) -> None:
    hooks.seconds = 100
    node = boot()
    starting = node.ask_start("a", length=10)
    node.advance(10)
    assert starting.session.reason is Reason.TIME
    assert starting.session.state is State.DISPOSED
    assert hooks.diary == ["start ada", "dispose ada"]
    hooks.seconds = 0
    assert node.start("b").active


def test_a_slot_whose_time_does_not_count_yet_does_not_end(boot: Boot, hooks: Hooks) -> None:
    hooks.seconds = 100
    node = boot()
    starting = node.ask_start(length=10, counts_start=False)
    node.advance(99)
    assert not starting.answered
    node.advance(1)
    assert starting.session.active


def test_a_slot_that_is_over_before_the_start_never_reaches_the_board(
    boot: Boot, hooks: Hooks
) -> None:
    node = boot()
    starting = node.ask_start(length=10, elapsed=11)
    node.turn()
    assert starting.session.state is State.DISPOSED
    assert starting.session.reason is Reason.TIME
    assert node.values() == SAFE
    assert hooks.diary == []


def test_a_slot_that_runs_out_while_it_waits_for_the_board(boot: Boot, hooks: Hooks) -> None:
    hooks.dispose_seconds = 20
    node = boot()
    node.ask_delete(node.start())
    node.turn()
    late = node.ask_start(length=15, username="bob")
    node.advance(20)
    node.turn()
    assert late.session.reason is Reason.TIME
    node.advance(20)
    assert late.session.state is State.DISPOSED
    assert "start bob" not in hooks.diary


# ---------------------------------------------------------------------- several seats


def test_several_students_share_a_board(boot: Boot, hooks: Hooks) -> None:
    node = boot(users=2)
    one, two = node.connected(username="one"), node.connected(username="two")
    assert one.active
    assert two.active
    assert hooks.diary == ["start one", "start two"]


def test_only_the_first_start_and_the_last_clean_up_reset_the_devices(boot: Boot, lab: Lab) -> None:
    node = boot(users=2, timeout=-1)
    one = node.connected()
    lab.devices.switch.on()
    two = node.connected()
    assert node.values()["switch"] is True
    node.delete(one)
    assert node.values()["switch"] is True
    node.delete(two)
    assert node.values() == SAFE
    lab.devices.switch.on()
    node.start()
    assert node.values() == SAFE


def test_only_a_full_board_supersedes_and_then_what_was_asked_about_longest_ago(
    boot: Boot,
) -> None:
    node = boot(users=3, timeout=-1)
    sessions = [node.connected(username=str(n)) for n in range(3)]
    for session in (sessions[1], sessions[0], sessions[2]):
        node.advance(1)
        node.sessions.status(session.id)
    node.start()
    assert [s.reason for s in sessions] == [None, Reason.SUPERSEDED, None]


def test_of_several_servers_each_supersedes_its_own(boot: Boot) -> None:
    node = boot(users=2, timeout=-1)
    a, b = node.connected("a"), node.connected("b")
    node.advance(1)
    node.sessions.status(a.id)
    node.start("a")
    assert a.reason is Reason.SUPERSEDED
    assert b.active
    assert isinstance(node.ask_start("c").error, Busy)


def test_one_free_seat_serves_two_waiting_starts_one_after_the_other(
    boot: Boot, hooks: Hooks
) -> None:
    hooks.dispose_seconds = 5
    node = boot(users=2, timeout=-1)
    node.connected("a", username="1")
    node.ask_delete(node.connected("b", username="2"))
    asked = [node.ask_start("a", username=name) for name in "34"]
    for _ in range(4):
        node.advance(5)
    assert all(a.session.active for a in asked)
    assert [s.request.username for s in node.sessions.live()] == ["3", "4"]


# ---------------------------------------------------------------------- starts that fail


@pytest.mark.parametrize("error", [RuntimeError("no water"), DeviceError("no water")])
def test_a_start_that_raises_is_cleaned_up_and_then_answered(
    boot: Boot, lab: Lab, hooks: Hooks, error: Exception
) -> None:
    hooks.dispose_seconds = 5

    @lab.on_start
    def fail(client: dict[str, Any], server: dict[str, Any]) -> None:
        raise error

    node = boot()
    starting = node.ask_start()
    node.turn()
    assert not starting.answered
    (session,) = node.sessions.live()
    assert node.sessions.status(session.id) == 2
    node.advance(5)
    assert isinstance(starting.error, StartFailed)
    assert starting.error.message == "no water"
    assert starting.error.status == 503
    assert hooks.diary == ["start ada", "dispose ada"]
    assert node.values() == SAFE
    assert (session.state, session.reason) == (State.DISPOSED, Reason.START_FAILED)
    assert node.row(session)["reason"] == "start-failed"
    assert node.sessions.obstacles() == []


def test_an_error_without_words_is_told_by_its_name(boot: Boot, lab: Lab) -> None:
    @lab.on_start
    def fail(client: dict[str, Any], server: dict[str, Any]) -> None:
        raise KeyError

    node = boot()
    starting = node.ask_start()
    node.turn()
    assert starting.error.message == "KeyError"


def test_on_start_that_exits_does_not_take_the_node_with_it(boot: Boot, lab: Lab) -> None:
    @lab.on_start
    def leave(client: dict[str, Any], server: dict[str, Any]) -> None:
        raise SystemExit("enough")

    node = boot()
    starting = node.ask_start()
    node.turn()
    assert isinstance(starting.error, StartFailed)
    assert node.worker.fault() is None


def test_after_a_failed_start_the_same_reservation_may_try_again(boot: Boot, lab: Lab) -> None:
    troubles = iter([OSError("cold"), None])

    @lab.on_start
    def warm_up(client: dict[str, Any], server: dict[str, Any]) -> None:
        if (trouble := next(troubles)) is not None:
            raise trouble

    node = boot()
    first = node.ask_start(reservation="r1")
    node.turn()
    assert isinstance(first.error, StartFailed)
    assert node.start(reservation="r1").active


def test_all_who_wait_for_a_start_that_fails_are_told(boot: Boot, lab: Lab) -> None:
    @lab.on_start
    def fail(client: dict[str, Any], server: dict[str, Any]) -> None:
        lab.wait(5)
        raise OSError("cold")

    node = boot()
    asked = [node.ask_start(reservation="r1") for _ in range(3)]
    node.advance(5)
    assert [type(a.answer) for a in asked] == [StartFailed] * 3


def test_on_start_has_a_limit(boot: Boot, lab: Lab, hooks: Hooks) -> None:
    hooks.seconds = 1e4
    node = boot(timeout=-1)
    starting = node.ask_start(length=1e5)
    node.advance(HOOK_LIMIT)
    assert isinstance(starting.error, StartFailed)
    assert f"{HOOK_LIMIT:g} s" in starting.error.message
    assert hooks.diary == ["start ada", "dispose ada"]


def test_a_start_that_nothing_stops_is_given_up_and_still_cleaned(
    boot: Boot, lab: Lab, hooks: Hooks
) -> None:
    @lab.on_start
    def hang(client: dict[str, Any], server: dict[str, Any]) -> None:
        for _ in range(100):
            wait_deaf(lab, 5)

    node = boot(timeout=-1, max_time=10000)
    asked = [node.ask_start(reservation="r1", length=9000) for _ in range(2)]
    for _ in range(79):
        node.advance(5)
    assert [type(a.answer) for a in asked] == [StartFailed] * 2
    (session,) = node.sessions.live()
    assert session.reason is Reason.START_FAILED
    assert node.sessions.status(session.id) == 2
    for _ in range(22):
        node.advance(5)
    assert session.state is State.DISPOSED
    assert hooks.diary == ["start ada", "dispose ada"]


def test_a_failing_start_of_one_seat_leaves_the_other_alone(boot: Boot, lab: Lab) -> None:
    @lab.on_start
    def choosy(client: dict[str, Any], server: dict[str, Any]) -> None:
        if lab.user.username == "eve":
            raise OSError("not you")

    node = boot(users=2)
    one = node.connected()
    lab.devices.switch.on()
    refused = node.ask_start(username="eve")
    node.turn()
    assert isinstance(refused.error, StartFailed)
    assert one.active
    assert node.values()["switch"] is True


def test_a_board_that_cannot_be_reset_takes_no_student(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = boot()

    def broken() -> None:
        raise DeviceError("the relay is stuck")

    monkeypatch.setattr(node.board, "reset", broken)
    starting = node.ask_start()
    node.turn()
    assert starting.error.message == "the relay is stuck"
    assert "the relay is stuck" in node.sessions.obstacles()[0]


# ---------------------------------------------------------------------- seats of the HTTP pool


def test_when_half_the_pool_waits_a_start_is_refused_at_once(boot: Boot, hooks: Hooks) -> None:
    hooks.seconds = 50
    node = boot(seats=3)
    waiting = [node.ask_start(reservation="r1") for _ in range(3)]
    refused = node.ask_start(reservation="r1")
    assert isinstance(refused.error, Busy)
    node.advance(50)
    assert len({w.session.id for w in waiting}) == 1


def test_a_stopping_node_answers_those_who_wait(boot: Boot, hooks: Hooks) -> None:
    hooks.seconds = 50
    node = boot()
    starting = node.ask_start("a", "r1")
    again = node.ask_start("a", "r1")
    node.sessions.close()
    node.settle()
    assert isinstance(starting.error, Busy)
    assert isinstance(again.error, Busy)


def test_a_stopping_node_answers_those_in_the_queue(boot: Boot, hooks: Hooks) -> None:
    hooks.dispose_seconds = 50
    node = boot()
    session = node.start()
    deleting = node.ask_delete(session)
    starting = node.ask_start()
    node.sessions.close()
    node.settle()
    assert isinstance(starting.error, Busy)
    assert deleting.answer is Deletion.PENDING
