"""on_start and on_dispose: their order, thread and failures, and the resets around them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import StartFailed
from labnode.lab import Lab
from labnode.sessions import Reason, State
from tests.kit.node import SAFE, SmallNode

Boot = Callable[..., SmallNode]


def test_hooks_run_in_the_order_in_which_they_were_declared(node: SmallNode, lab: Lab) -> None:
    diary = []
    for n in range(3):
        lab.on_start(lambda client, server, n=n: diary.append(f"start {n}"))
        lab.on_dispose(lambda n=n: diary.append(f"dispose {n}"))
    node.delete(node.start())
    assert diary == [f"{what} {n}" for what in ("start", "dispose") for n in range(3)]


def test_hooks_run_on_the_hardware_thread(node: SmallNode, lab: Lab) -> None:
    threads = []
    lab.on_start(lambda client, server: threads.append(threading.current_thread().name))
    lab.on_dispose(lambda: threads.append(threading.current_thread().name))
    node.delete(node.start())
    assert threads == ["hardware", "hardware"]


def test_on_start_gets_a_board_that_is_safe_and_leaves_it_as_it_likes(
    node: SmallNode, lab: Lab
) -> None:
    seen = []

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        seen.append({name: lab.devices[name].value for name in lab.devices})
        lab.devices.dimmer.set(0.5)

    lab.devices.switch.on()  # between two sessions: whoever it was
    node.start()
    assert seen == [SAFE]
    assert node.values()["dimmer"] == 0.5


def test_on_dispose_finds_the_board_as_the_student_left_it_and_then_it_is_reset(
    node: SmallNode, lab: Lab
) -> None:
    seen = []

    @lab.on_dispose
    def end() -> None:
        seen.append(lab.devices.switch.value)
        lab.devices.heater.off()  # not its safe value

    session = node.connected()
    node.run_as(session, lab.devices.switch.on)
    node.delete(session)
    assert seen == [True]
    assert node.values() == SAFE


def test_after_one_on_start_has_failed_the_others_do_not_run(node: SmallNode, lab: Lab) -> None:
    diary = []

    @lab.on_start
    def first(client: dict[str, Any], server: dict[str, Any]) -> None:
        diary.append("first")
        raise OSError("cold")

    lab.on_start(lambda client, server: diary.append("second"))
    starting = node.ask_start()
    node.turn()
    assert isinstance(starting.answer, StartFailed)
    assert diary == ["first"]


def test_once_the_student_has_left_the_other_on_starts_do_not_run(
    node: SmallNode, lab: Lab
) -> None:
    diary = []
    lab.on_start(lambda client, server: diary.append(lab.wait(10)))
    lab.on_start(lambda client, server: diary.append("second"))
    node.ask_start()
    (session,) = node.sessions.live()
    node.sessions.end(session, Reason.EXITED)
    node.turn()
    assert session.state is State.DISPOSED
    assert diary == [False]


@pytest.mark.parametrize("how", ["the student leaves", "a device fails"])
def test_on_dispose_runs_only_where_on_start_has_begun(
    node: SmallNode, lab: Lab, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It looks for what on_start has made, and would put the board into quarantine."""
    diary: list[str] = []
    lab.on_start(lambda client, server: diary.append("start"))
    lab.on_dispose(lambda: diary.append("dispose"))

    def while_the_board_is_prepared() -> None:
        if how == "a device fails":
            raise OSError("cold")
        node.sessions.end(node.sessions.live()[0], Reason.EXITED)

    monkeypatch.setattr(node.board, "prepare", while_the_board_is_prepared)
    node.ask_start()
    (session,) = node.sessions.live()
    node.turn()
    assert session.state is State.DISPOSED
    assert diary == []
    assert node.values() == SAFE


def test_all_on_disposes_run_whatever_one_of_them_raises(node: SmallNode, lab: Lab) -> None:
    diary = []

    @lab.on_dispose
    def first() -> None:
        diary.append("first")
        raise OSError("one")

    @lab.on_dispose
    def second() -> None:
        diary.append("second")
        raise SystemExit(2)

    lab.on_dispose(lambda: diary.append("third"))
    node.delete(node.start())
    assert diary == ["first", "second", "third"]
    assert node.sessions.quarantine.why == "one; It was ended by SystemExit(2)."
    assert node.values() == SAFE


def test_a_hook_can_wait_while_others_are_served(boot: Boot, lab: Lab) -> None:
    waited = []
    lab.on_dispose(lambda: waited.append(lab.wait(5)))
    node = boot(users=2)
    one, two = node.connected(), node.connected()
    node.ask_delete(one)
    node.settle()
    node.run_as(two, lab.devices.switch.on)
    assert node.values()["lamp"] is True
    node.advance(5)
    assert waited == [True]


def test_a_task_in_a_hook_runs_there_and_then(node: SmallNode, lab: Lab) -> None:
    seen = []

    @lab.task(unique="global")
    def home() -> str:
        seen.append(threading.current_thread().name)
        return "at home"

    lab.on_start(lambda client, server: seen.append(home()))
    lab.on_dispose(lambda: seen.append(home.run_sync().result))
    node.delete(node.start())
    assert seen == ["hardware", "at home"] * 2


def test_on_dispose_sees_the_tasks_that_still_run(boot: Boot, lab: Lab) -> None:
    go_on, seen = threading.Event(), []

    @lab.task
    def stubborn() -> None:
        go_on.wait(10)

    @lab.on_dispose
    def end() -> None:
        seen.extend((task.name, task.stopping) for task in lab.running_tasks)
        go_on.set()

    node = boot()
    session = node.connected()
    task = node.run_as(session, stubborn.delay)
    node.until(lambda: task.retrieve().running)
    node.sessions.end(session, Reason.EXITED)
    node.until(lambda: session.state is State.DISPOSED)
    assert seen == [("stubborn", True)]


def test_a_task_that_on_start_has_queued_begins_after_it(node: SmallNode, lab: Lab) -> None:
    diary = []

    @lab.task(unique="user")
    def warm_up() -> None:
        diary.append(lab.user.username)

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        warm_up.delay()
        lab.wait(3)
        diary.append("on_start")

    node.ask_start()
    node.advance(3)
    assert diary == ["on_start", "ada"]


def test_what_a_failing_on_start_has_queued_never_begins(node: SmallNode, lab: Lab) -> None:
    diary = []

    @lab.task(unique="user")
    def warm_up() -> None:
        diary.append("warm")

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        diary.append(warm_up.delay())
        lab.wait(3)
        raise OSError("cold")

    starting = node.ask_start()
    node.advance(3)
    assert isinstance(starting.answer, StartFailed)
    (task,) = diary
    assert task.retrieve().failed


def test_nor_does_what_an_on_start_has_queued_whose_student_has_left(
    node: SmallNode, lab: Lab
) -> None:
    diary = []

    @lab.task(unique="user")
    def warm_up() -> None:
        diary.append("warm")

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        warm_up.delay()
        lab.wait(3)

    node.ask_start()
    (session,) = node.sessions.live()
    node.sessions.end(session, Reason.EXITED)
    node.settle()  # on_start has ended, and the reaper has not heard of it yet
    assert diary == []


def test_logging_out_in_on_start_ends_the_session_before_it_begins(
    node: SmallNode, lab: Lab
) -> None:
    lab.on_start(lambda client, server: lab.logout())
    starting = node.ask_start()
    node.turn()
    assert starting.session.reason is Reason.EXITED
    assert starting.session.state is State.DISPOSED


def test_an_exception_in_on_start_is_in_the_log_with_its_traceback(
    node: SmallNode, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        raise OSError("cold")

    session = node.ask_start()
    node.turn()
    assert isinstance(session.answer, StartFailed)
    assert "OSError: cold" in caplog.text
    assert "in begin" in caplog.text
    assert "ada" not in caplog.text
