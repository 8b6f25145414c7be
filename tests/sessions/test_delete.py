"""Deletes: idempotent, in time, and one clean-up whatever happens at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from labnode.lab import Lab
from labnode.sessions import Deletion, Reason, State
from tests.kit.node import SAFE, SmallNode
from tests.kit.waiting import PATIENCE

Boot = Callable[..., SmallNode]


@pytest.fixture
def cleaned(lab: Lab) -> list[str]:
    """Who was cleaned up after; each clean-up takes 10 s."""
    diary: list[str] = []

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        lab.devices.switch.on()

    @lab.on_dispose
    def dispose() -> None:
        diary.append(lab.user.session_id)
        lab.wait(10)

    return diary


def test_a_delete_waits_for_the_clean_up(node: SmallNode, cleaned: list[str]) -> None:
    session = node.connected()
    deleting = node.ask_delete(session)
    node.advance(9)
    assert not deleting.answered
    node.advance(1)
    assert deleting.answer is Deletion.DONE
    assert node.values() == SAFE
    assert cleaned == [session.id]


def test_done_is_said_when_the_end_is_stored(node: SmallNode, cleaned: list[str]) -> None:
    session = node.connected()
    deleting = node.ask_delete(session)
    node.clock.advance(10)
    node.settle()
    with node.store_busy():
        node.sessions.step()
        assert session.cleaned
        assert not deleting.answered
        assert node.sessions.status(session.id) == 2
    node.settle()
    assert deleting.answer is Deletion.DONE
    assert node.row(session)["state"] == "disposed"


def test_a_clean_up_that_takes_longer_than_dispose_wait_is_pending_and_then_done(
    boot: Boot, cleaned: list[str]
) -> None:
    node = boot(dispose_wait=4)
    session = node.connected()
    deleting = node.ask_delete(session)
    node.advance(4)
    assert deleting.answer is Deletion.PENDING
    assert node.sessions.status(session.id) == 2
    again = node.ask_delete(session)
    node.advance(4)
    assert again.answer is Deletion.PENDING
    last = node.ask_delete(session)
    node.advance(2)
    assert last.answer is Deletion.DONE
    assert node.delete(session) is Deletion.DONE
    assert cleaned == [session.id]


def test_with_dispose_wait_0_a_delete_only_asks(boot: Boot, cleaned: list[str]) -> None:
    node = boot(dispose_wait=0)
    session = node.connected()
    assert node.ask_delete(session).answer is Deletion.PENDING
    node.advance(10)
    assert node.ask_delete(session).answer is Deletion.DONE


def test_deleting_twice_is_deleting_once(node: SmallNode, cleaned: list[str]) -> None:
    session = node.connected()
    first = node.ask_delete(session)
    node.advance(10)
    assert first.answer is node.delete(session) is Deletion.DONE
    assert cleaned == [session.id]


def test_parallel_deletes_all_wait_for_the_one_clean_up(
    node: SmallNode, cleaned: list[str]
) -> None:
    session = node.connected()
    deleting = [node.ask_delete(session) for _ in range(4)]
    node.advance(9)
    assert not any(d.answered for d in deleting)
    node.advance(1)
    assert [d.answer for d in deleting] == [Deletion.DONE] * 4
    assert cleaned == [session.id]


def test_what_nobody_knows_cannot_be_deleted(node: SmallNode) -> None:
    assert node.delete("nonsense") is Deletion.UNKNOWN
    assert node.delete("") is Deletion.UNKNOWN


def test_a_delete_while_the_board_is_made_ready(
    node: SmallNode, lab: Lab, cleaned: list[str]
) -> None:
    lab.on_start(lambda client, server: lab.wait(100))
    starting = node.ask_start()
    (session,) = node.sessions.live()
    deleting = node.ask_delete(session)
    assert starting.session is session
    node.turn()
    assert session.state is State.DISPOSING
    node.advance(10)
    assert deleting.answer is Deletion.DONE
    assert node.values() == SAFE
    assert cleaned == [session.id]


def test_a_delete_at_the_very_end_of_the_slot(node: SmallNode, cleaned: list[str]) -> None:
    session = node.connected(length=10)
    node.clock.advance(10)
    deleting = node.ask_delete(session)  # before the reaper has looked
    node.advance(10)
    assert deleting.answer is Deletion.DONE
    assert session.reason is Reason.DELETED
    assert cleaned == [session.id]


def test_a_session_that_was_cleaned_long_ago_is_still_clean(boot: Boot, cleaned: list[str]) -> None:
    node = boot(keep_expired=60)
    session = node.connected()
    node.ask_delete(session)
    node.advance(10)
    node.advance(60)
    assert node.sessions.by_token(session.token) is None
    assert node.delete(session) is Deletion.DONE
    assert cleaned == [session.id]


def test_a_delete_that_finds_no_seat_is_pending_and_not_an_error(
    boot: Boot, cleaned: list[str]
) -> None:
    node = boot(seats=2)
    session = node.connected()
    waiting = [node.ask_delete(session) for _ in range(2)]
    assert node.ask_delete(session).answer is Deletion.PENDING
    node.advance(10)
    assert [w.answer for w in waiting] == [Deletion.DONE] * 2
    assert node.ask_delete(session).answer is Deletion.DONE


def test_a_delete_that_finds_no_seat_ends_the_session_all_the_same(
    boot: Boot, lab: Lab, cleaned: list[str]
) -> None:
    node = boot(seats=1, users=2)
    session = node.connected(username="one")
    lab.on_start(lambda client, server: lab.wait(50))
    node.ask_start(username="two")
    assert node.ask_delete(session).answer is Deletion.PENDING
    assert session.reason is Reason.DELETED


def test_a_status_between_two_deletes_says_that_it_goes_on(boot: Boot, cleaned: list[str]) -> None:
    node = boot(dispose_wait=0)
    session = node.connected()
    states: list[Any] = []
    for _ in range(3):
        states += [node.ask_delete(session).answer, node.sessions.status(session.id)]
        node.advance(5)
    assert states == [Deletion.PENDING, 2, Deletion.PENDING, 2, Deletion.DONE, -1]


def test_the_last_to_leave_leaves_a_safe_board_though_another_ones_task_goes_on(
    boot: Boot, lab: Lab
) -> None:
    node = boot(users=2, timeout=-1)
    begun, over = threading.Event(), node.clock.event()

    @lab.task
    def linger() -> None:
        begun.set()
        over.wait(60)

    one, two = node.connected(username="1"), node.connected(username="2")
    node.run_as(one, linger.delay)
    assert begun.wait(PATIENCE)
    node.sessions.end(one, Reason.EXITED)
    node.turn()
    assert one.state is State.DISPOSING
    node.run_as(two, lab.devices.switch.on)
    assert node.delete(two) is Deletion.DONE
    assert node.values() == SAFE
    over.set()
    node.settle()
