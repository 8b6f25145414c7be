"""What the central server is told when it asks whether a session is over."""

from __future__ import annotations

from collections.abc import Callable

from labnode.lab import Lab
from labnode.sessions import Reason
from tests.kit.node import SmallNode

Boot = Callable[..., SmallNode]


def test_an_active_session_is_asked_about_every_poll_interval(node: SmallNode) -> None:
    assert node.sessions.status(node.connected().id) == 5


def test_whole_numbers_are_told_without_a_point(boot: Boot) -> None:
    node = boot(poll_interval=2.5, timeout=-1)
    session = node.connected(length=7)
    assert str(node.sessions.status(session.id)) == "2.5"
    node.advance(5)
    assert str(node.sessions.status(session.id)) == "2"


def test_status_never_reaches_past_the_end_of_the_slot(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected(length=10)
    while (left := node.user(session).time_left) > 1:
        assert 1 <= node.sessions.status(session.id) <= left
        node.advance(0.617)


def test_status_is_at_least_1_while_the_session_goes_on(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected(length=10)
    node.advance(9.5)
    assert node.sessions.status(session.id) == 1


def test_a_poll_interval_below_1_is_1(boot: Boot) -> None:
    node = boot(poll_interval=0.25)
    assert node.sessions.status(node.connected().id) == 1


def test_status_is_0_where_the_board_file_says_so(boot: Boot) -> None:
    node = boot(poll_interval=0)
    session = node.connected()
    assert node.sessions.status(session.id) == 0
    node.delete(session)
    assert node.sessions.status(session.id) == -1


def test_status_is_2_while_starting_and_while_disposing(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(10))
    lab.on_dispose(lambda: lab.wait(10))
    node = boot(poll_interval=0)
    node.ask_start()
    (session,) = node.sessions.live()
    assert node.sessions.status(session.id) == 2
    node.advance(10)
    assert session.active
    node.sessions.end(session, Reason.EXITED)
    node.settle()
    assert node.sessions.status(session.id) == 2
    node.advance(10)
    assert node.sessions.status(session.id) == -1


def test_what_nobody_knows_is_over(node: SmallNode) -> None:
    assert node.sessions.status("nonsense") == -1


def test_status_finds_out_by_itself_that_a_slot_is_over(node: SmallNode) -> None:
    session = node.connected(length=10)
    node.clock.advance(10)  # the reaper has not looked
    assert node.sessions.status(session.id) == 2
    assert session.reason is Reason.TIME


def test_status_finds_out_by_itself_that_a_student_has_gone(node: SmallNode) -> None:
    session = node.connected()
    node.clock.advance(15)
    assert node.sessions.status(session.id) == 2
    assert session.reason is Reason.INACTIVITY


def test_asking_does_not_write(node: SmallNode) -> None:
    session = node.connected()
    node.turn()
    before = node.store.run(lambda db: db.total_changes)
    for _ in range(5):
        node.sessions.status(session.id)
        node.sessions.poll(session)
        node.advance(1)
    assert node.store.run(lambda db: db.total_changes) == before


def test_asking_does_not_keep_a_session_alive(node: SmallNode) -> None:
    session = node.connected()
    for _ in range(3):
        node.advance(5)
        node.sessions.status(session.id)
    assert session.reason is Reason.INACTIVITY
