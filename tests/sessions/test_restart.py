"""What becomes of sessions when the node goes down in the middle, in order or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from labnode.errors import Busy
from labnode.events import SessionChanged
from labnode.lab import Lab
from labnode.sessions import Deletion, Reason, Session, StartRequest, State
from labnode.sessions.expiry import fates
from tests.kit.clock import Asked
from tests.kit.node import SAFE, SmallNode
from tests.kit.waiting import PATIENCE

Boot = Callable[..., SmallNode]
_EVERY_COLUMN = {field.name for field in fields(StartRequest)} - {"elapsed"} | {
    "id", "state", "reason", "boot_id", "deadline", "resumed", "cookie", "data", "created_at",
}  # fmt: skip


@pytest.fixture
def diary(lab: Lab) -> list[Any]:
    """What the hooks of the lab have seen."""
    diary: list[Any] = []

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        diary.append(("start", lab.user.username, lab.restarted))
        lab.devices.switch.on()

    @lab.on_dispose
    def dispose() -> None:
        diary.append(("dispose", lab.user.username, lab.restarted))

    return diary


def again(node: SmallNode, session: Session) -> Session:
    """The session as the next run knows it."""
    found = node.sessions.by_token(session.token)
    assert found is not None
    return found


def assert_cleaned(node: SmallNode, session: Session, reason: Reason) -> None:
    found = again(node, session)
    assert (found.state, found.reason) == (State.DISPOSED, reason)
    assert (node.row(session)["state"], node.row(session)["reason"]) == ("disposed", reason)
    assert node.values() == SAFE
    assert node.sessions.status(session.id) == -1


@pytest.mark.parametrize("end", [SmallNode.stop, SmallNode.kill])
def test_an_active_session_goes_on(
    boot: Boot, diary: list[Any], end: Callable[[SmallNode], None]
) -> None:
    node = boot(timeout=-1)
    session = node.connected(length=100, username_unique="ada@x", full_name="Ada", back="http://b")
    node.clock.advance(20)
    end(node)
    node = boot(timeout=-1)
    found = again(node, session)
    assert found.state is State.STARTING
    assert node.sessions.status(session.id) == 2
    node.turn()
    assert found.active
    assert found.request == session.request
    assert found.handle == session.handle
    assert diary == [("start", "ada", False), ("start", "ada", True)]
    assert node.values()["switch"] is True
    assert node.sessions.status(session.id) == 5
    assert node.delete(session) is Deletion.DONE
    assert_cleaned(node, session, Reason.DELETED)
    assert diary[2:] == [("dispose", "ada", True)]


def test_its_time_goes_on_while_the_node_is_down(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected(length=100)
    node.kill()
    node.clock.advance(30)
    node = boot(timeout=-1)
    node.turn()
    assert node.user(again(node, session)).time_left == 70
    node.sessions.poll(again(node, session))
    node.advance(70)
    assert_cleaned(node, session, Reason.TIME)


def test_the_wall_clock_may_jump_while_the_node_is_down(boot: Boot) -> None:
    node = boot(timeout=-1)
    session = node.connected(length=100)
    node.kill()
    node.clock.jump_wall(-3e8)
    node = boot(timeout=-1)
    node.turn()
    assert node.user(again(node, session)).time_left == 100


def test_the_clocks_of_polling_start_anew(boot: Boot) -> None:
    node = boot()
    session = node.connected()
    node.clock.advance(14)
    node.kill()
    node.clock.advance(40)
    node = boot()
    node.turn()
    found = again(node, session)
    node.advance(59)
    assert found.active  # its page may take a while to find the node again
    node.sessions.poll(found)
    node.advance(15)
    assert found.reason is Reason.INACTIVITY


def test_the_time_that_did_not_count_yet_counts_from_the_first_start(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(20))
    node = boot(timeout=-1)
    starting = node.ask_start(length=100, counts_start=False)
    node.advance(20)
    node.kill()
    node = boot(timeout=-1)
    node.advance(20)
    assert node.user(again(node, starting.session)).time_left == 80


def test_the_data_of_the_lab_are_there_again(boot: Boot, lab: Lab) -> None:
    seen = []

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        seen.append(dict(lab.user.data))
        lab.user.data["starts"] = lab.user.data.get("starts", 0) + 1

    node = boot()
    session = node.start(client_data={"a": [1, 2]}, server_data={"b": {"c": None}})
    node.user(session).data["folder"] = "xyz"
    node.advance(1)
    node.kill()
    node = boot()
    node.turn()
    found = again(node, session)
    assert seen == [{}, {"starts": 1, "folder": "xyz"}]
    assert node.user(found).data == {"starts": 2, "folder": "xyz"}
    assert node.user(found).request_client_data == {"a": [1, 2]}
    assert node.user(found).request_server_data == {"b": {"c": None}}


def test_its_browser_is_still_its_only_one(boot: Boot) -> None:
    node = boot()
    session = node.connected()
    assert node.sessions.bind(session, "the first")
    node.kill()
    node = boot()
    found = again(node, session)
    assert not node.sessions.bind(found, "another")
    assert node.sessions.bind(found, "the first")


def test_the_same_reservation_finds_it_again(boot: Boot) -> None:
    node = boot()
    session = node.start(reservation="r1")
    node.kill()
    node = boot()
    asked = node.ask_start(reservation="r1")
    node.turn()
    assert asked.session is again(node, session)
    assert asked.session.token == session.token


def test_twice_is_enough(boot: Boot, diary: list[Any]) -> None:
    """A session that brings the node down must not do it for ever."""
    node = boot()
    session = node.start()
    for _ in range(3):
        node.kill()
        node = boot()
        node.turn()
    assert_cleaned(node, session, Reason.RESTART)
    assert [what for what, *_ in diary] == ["start"] * 3 + ["dispose"]


def test_a_node_that_goes_down_in_on_start_again_does_not_try_again(
    boot: Boot, lab: Lab, diary: list[Any]
) -> None:
    node = boot()
    session = node.start()
    node.kill()
    node = boot()  # killed before the reaper has heard of on_start's end
    node.settle()
    node.kill()
    node = boot()
    node.turn()
    assert_cleaned(node, session, Reason.RESTART)
    assert [what for what, *_ in diary] == ["start", "start", "dispose"]


def test_after_a_reboot_nobody_knows_how_long_it_was_dark(boot: Boot, diary: list[Any]) -> None:
    node = boot()
    session = node.start()
    node.kill()
    node.clock.boot_id = "another boot"
    node = boot()
    node.turn()
    assert_cleaned(node, session, Reason.RESTART)
    assert diary == [("start", "ada", False), ("dispose", "ada", False)]


def test_a_board_may_want_sessions_to_end_with_the_node(boot: Boot, diary: list[Any]) -> None:
    node = boot(on_restart="dispose")
    session = node.start()
    node.stop()
    node = boot(on_restart="dispose")
    node.turn()
    assert_cleaned(node, session, Reason.RESTART)
    assert diary == [("start", "ada", False), ("dispose", "ada", False)]


def test_a_slot_that_ran_out_meanwhile_is_over(boot: Boot, diary: list[Any]) -> None:
    node = boot()
    session = node.start(length=10)
    node.kill()
    node.clock.advance(10)
    node = boot()
    node.turn()
    assert_cleaned(node, session, Reason.TIME)
    assert [what for what, *_ in diary] == ["start", "dispose"]


def test_a_board_in_quarantine_resumes_nothing(boot: Boot, diary: list[Any]) -> None:
    node = boot()
    session = node.start()
    node.sessions.quarantine.impose("smoke")
    node.kill()
    node = boot()
    node.turn()
    assert_cleaned(node, session, Reason.RESTART)


def test_a_session_that_was_starting_is_cleaned_up(boot: Boot, lab: Lab, diary: list[Any]) -> None:
    lab.on_start(lambda client, server: lab.wait(100))
    node = boot()
    starting = node.ask_start(reservation="r1")
    (session,) = node.sessions.live()
    node.kill()
    assert isinstance(starting.answer, Busy)  # and not the address of a dead session
    node = boot()
    retry = node.ask_start(reservation="r1")
    node.turn()
    assert_cleaned_row(node, session, "restart")
    assert [what for what, *_ in diary] == ["start", "dispose", "start"]
    node.advance(100)
    assert retry.session.id != session.id


def assert_cleaned_row(node: SmallNode, session: Session, reason: str) -> None:
    assert (node.row(session)["state"], node.row(session)["reason"]) == ("disposed", reason)


@pytest.mark.parametrize("how_far", ["asked", "in the hook", "hook done"])
def test_a_clean_up_that_was_interrupted_is_done_again(
    boot: Boot, lab: Lab, diary: list[Any], how_far: str
) -> None:
    if how_far == "in the hook":
        lab.on_dispose(lambda: lab.wait(50))
    node = boot()
    session = node.connected()
    node.sessions.end(session, Reason.EXITED)
    if how_far != "asked":
        node.settle()
    node.kill()
    node = boot()
    asked: Asked = node.ask_delete(session)
    node.turn()
    node.advance(60)
    assert asked.answer in (Deletion.DONE, Deletion.PENDING)
    assert_cleaned(node, session, Reason.EXITED)


def test_tasks_of_the_lab_wait_for_the_clean_up_after_a_restart(boot: Boot, lab: Lab) -> None:
    order: list[str] = []
    chore = lab.task(lambda: order.append("chore"))

    @lab.on_dispose
    def dispose() -> None:
        lab.wait(50)
        order.append("clean")

    node = boot()
    node.sessions.end(node.connected(), Reason.EXITED)
    node.kill()
    order.clear()
    node = boot()
    task = chore.delay()
    node.settle()
    assert order == []
    node.advance(60)
    assert task.join(PATIENCE).done
    assert order == ["clean", "chore"]


def test_what_was_over_before_stays_over(boot: Boot, diary: list[Any]) -> None:
    node = boot()
    session = node.connected()
    node.delete(session)
    node.kill()
    node = boot()
    node.turn()
    assert node.sessions.live() == []
    assert node.sessions.status(session.id) == -1
    assert node.delete(session) is Deletion.DONE
    assert len(diary) == 2


def test_on_start_that_fails_the_second_time_ends_the_session(boot: Boot, lab: Lab) -> None:
    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        lab.devices.switch.on()
        if lab.restarted:
            raise OSError("it is hot now")

    node = boot()
    session = node.start()
    node.kill()
    node = boot()
    node.turn()
    assert_cleaned(node, session, Reason.START_FAILED)


def test_leaving_before_it_is_ready_again_still_cleans_up_what_was_before(
    boot: Boot, lab: Lab, diary: list[Any]
) -> None:
    """on_start does not run again, but what it did the first time has to be undone."""
    lab.on_dispose(lambda: lab.wait(10 if lab.user.username == "slow" else 0))
    node = boot(users=2)
    slow, session = node.start(username="slow"), node.start()
    node.sessions.end(slow, Reason.EXITED)
    node.kill()
    del diary[:]
    node = boot(users=2)
    node.sessions.end(again(node, session), Reason.EXITED)
    node.settle()
    node.advance(10)
    assert_cleaned(node, session, Reason.EXITED)
    assert diary == [("dispose", "slow", False), ("dispose", "ada", True)]


def asking_while_it_is_resumed(boot: Boot) -> tuple[SmallNode, Session, Asked[bool]]:
    """A node that resumes a session, whose student asks meanwhile whether it is ready."""
    node = boot()
    session = node.connected()
    node.kill()
    node = boot()
    found = again(node, session)
    return node, found, node.ask(lambda: node.sessions.ready(found))


def test_a_students_request_waits_up_to_5_s_for_a_session_that_is_taken_up_again(
    boot: Boot, lab: Lab
) -> None:
    lab.on_start(lambda client, server: lab.wait(3 if lab.restarted else 0))
    node, _, request = asking_while_it_is_resumed(boot)
    node.advance(2)
    assert not request.answered
    node.advance(1)
    assert request.answer is True


def test_a_student_is_told_to_ask_again_where_it_takes_longer(boot: Boot, lab: Lab) -> None:
    """Not that the session is over: the page would leave it."""
    lab.on_start(lambda client, server: lab.wait(20 if lab.restarted else 0))
    node, found, request = asking_while_it_is_resumed(boot)
    node.advance(5)
    assert isinstance(request.answer, Busy)
    node.advance(15)
    assert node.sessions.ready(found)


def test_a_student_who_has_left_meanwhile_does_not_wait(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(20 if lab.restarted else 0))
    node, found, request = asking_while_it_is_resumed(boot)
    node.sessions.end(found, Reason.DELETED)
    node.settle()
    assert request.answer is False


def test_several_sessions_are_cleaned_up_before_others_go_on(
    boot: Boot, lab: Lab, diary: list[Any]
) -> None:
    node = boot(users=3, timeout=-1, on_restart="resume")
    one, two, three = (node.connected(username=name) for name in ("1", "2", "3"))
    node.sessions.end(two, Reason.EXITED)
    node.kill()
    del diary[:]
    node = boot(users=3, timeout=-1)
    node.turn()
    assert [again(node, s).state for s in (one, two, three)] == ["active", "disposed", "active"]
    assert diary == [("dispose", "2", False), ("start", "1", True), ("start", "3", True)]


def test_a_board_that_has_fewer_seats_now_resumes_no_more_than_these(boot: Boot) -> None:
    node = boot(users=2, timeout=-1)
    one, two = node.connected(username="1"), node.connected(username="2")
    node.kill()
    node = boot(users=1, timeout=-1)
    node.turn()
    assert again(node, one).reason is Reason.RESTART
    assert again(node, two).active


def test_a_task_that_was_interrupted_does_not_hold_up_its_session(boot: Boot, lab: Lab) -> None:
    @lab.task(unique="global")
    def heat() -> None:
        lab.current_task.wait(1000)

    node = boot(timeout=-1)
    session = node.connected()
    task = node.run_as(session, heat.delay)
    node.settle()
    node.kill()
    node = boot(timeout=-1)
    node.turn()
    found = again(node, session)
    assert found.active
    interrupted = node.run_as(found, lambda: lab.get_task(task.task_id))
    assert interrupted.error["code"] == "interrupted"
    assert node.run_as(found, heat.delay).error is None
    node.settle()
    assert node.delete(found) is Deletion.DONE


def test_what_the_student_wrote_just_before_a_stop_is_kept(boot: Boot) -> None:
    node = boot()
    session = node.connected()
    node.user(session).data["a"] = 1
    node.turn()
    node.user(session).data["b"] = 2  # less than a second later
    node.sessions.close()
    node.user(session).data["c"] = 3  # by a task on its way to the end
    node.store.run(lambda db: None)
    node.kill()
    node = boot()
    assert node.user(again(node, session)).data == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    "damage",
    [
        "client_data = NULL, server_data = '{', data = 'x'",
        "username = NULL, full_name = NULL, username_unique = NULL",
        "reason = 'abduction', state = 'levitating'",
        "deadline = NULL",
    ],
)
def test_a_row_that_cannot_be_read_keeps_no_node_from_starting(boot: Boot, damage: str) -> None:
    node = boot()
    session = node.start()
    node.store.run(lambda db: db.execute(f"UPDATE sessions SET {damage}"))
    node.kill()
    node = boot()
    node.turn()
    node.delete(session.id)
    assert node.row(session)["state"] == "disposed"


def stopped(node: SmallNode) -> None:
    """What an emergency stop does to sessions."""
    node.sessions.quarantine.impose("Emergency stop: smoke", urgent=True)
    for session in node.sessions.live():
        node.sessions.end(session, Reason.ESTOP)


def test_an_emergency_stop_while_sessions_are_recovered_ends_them_too(
    boot: Boot, diary: list[Any]
) -> None:
    node = boot(users=2, on_restart="resume")
    one, two = node.connected(reservation="r1"), node.connected(reservation="r2")
    node.kill()
    node = boot(users=1, start=False)  # so the first one is cleaned, and the second resumed
    pressed: list[None] = []

    def press() -> None:
        if not pressed:
            pressed.append(None)
            stopped(node)

    node.bus.subscribe(SessionChanged, wake=press)
    node.__enter__()
    node.turn()
    assert pressed
    assert_cleaned(node, one, Reason.RESTART)
    assert_cleaned(node, two, Reason.ESTOP)
    assert node.sessions.live() == []


def test_an_emergency_stop_while_it_is_decided_what_goes_on_lets_nothing_go_on(
    boot: Boot, diary: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = boot(on_restart="resume")
    session = node.connected()
    node.kill()
    node = boot(on_restart="resume", start=False)

    def pressed_meanwhile(*args: Any, **options: Any) -> Any:
        stopped(node)
        return fates(*args, **options)

    monkeypatch.setattr("labnode.sessions.sessions.fates", pressed_meanwhile)
    node.__enter__()
    node.turn()
    assert_cleaned(node, session, Reason.ESTOP)


@pytest.mark.parametrize("column", sorted(_EVERY_COLUMN))
@pytest.mark.parametrize("value", ["x'ff00'", "'flipped'", "17", "NULL"])
def test_a_session_of_which_bits_have_flipped_keeps_no_node_from_starting(
    boot: Boot, diary: list[Any], column: str, value: str
) -> None:
    node = boot(timeout=-1)
    node.connected()
    allowed = "OR IGNORE" if value == "NULL" else ""
    node.store.run(lambda db: db.execute(f"UPDATE {allowed} sessions SET {column} = {value}"))
    node.kill()
    node = boot(timeout=-1)
    node.turn()
    for found in node.sessions.live():
        node.delete(found)
    assert [hook for hook, *_ in diary][-1] == "dispose"
    assert node.values() == SAFE
    assert node.start().active
