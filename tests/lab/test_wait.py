"""lab.wait in a hook, a task and a view: others are served, and it ends when it should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import TooLate
from labnode.lab import Lab
from labnode.sessions import Reason
from labnode.sessions.state_machine import HOOK_LIMIT
from tests.kit.node import SmallNode

Boot = Callable[..., SmallNode]


def test_a_view_waits_as_long_as_it_likes(node: SmallNode, lab: Lab) -> None:
    session = node.connected()
    view = node.ask(lambda: node.run_as(session, lambda: lab.wait(5)))
    node.clock.advance(4)
    node.settle()
    assert not view.answered
    node.clock.advance(1)
    node.settle()
    assert view.answer is True


def test_a_views_wait_ends_with_its_session(node: SmallNode, lab: Lab) -> None:
    session = node.connected()
    view = node.ask(lambda: node.run_as(session, lambda: lab.wait(5)))
    node.sessions.end(session, Reason.EXITED)
    node.settle()
    assert view.answer is False


def test_a_view_of_a_session_that_is_over_does_not_wait(node: SmallNode, lab: Lab) -> None:
    session = node.connected()
    node.delete(session)
    assert node.ask(lambda: node.run_as(session, lambda: lab.wait(5))).answer is False


def test_a_hook_waits(node: SmallNode, lab: Lab) -> None:
    waited = []
    lab.on_start(lambda client, server: waited.append(lab.wait(5)))
    node.ask_start()
    node.advance(5)
    assert waited == [True]


def test_a_hooks_wait_ends_with_its_session(node: SmallNode, lab: Lab) -> None:
    waited = []
    lab.on_start(lambda client, server: waited.extend([lab.wait(5), lab.wait(5)]))
    node.ask_start()
    (session,) = node.sessions.live()
    node.sessions.end(session, Reason.DELETED)
    node.settle()
    assert waited == [False, False]


def test_a_clean_up_is_not_cut_short(node: SmallNode, lab: Lab) -> None:
    waited = []
    lab.on_dispose(lambda: waited.append(lab.wait(5)))
    session = node.connected()
    node.ask_delete(session)
    node.sessions.end(session, Reason.EXITED)
    node.settle()
    assert waited == []
    node.advance(5)
    assert waited == [True]


def test_hooks_share_one_limit(node: SmallNode, lab: Lab) -> None:
    waited: list[Any] = []

    def wait(seconds: float) -> None:
        try:
            waited.append(lab.wait(seconds))
        except TooLate as error:
            waited.append(type(error))
            raise

    lab.on_dispose(lambda: wait(HOOK_LIMIT - 20))
    lab.on_dispose(lambda: wait(30))
    lab.on_dispose(lambda: wait(1))
    node.ask_delete(node.connected())
    node.advance(HOOK_LIMIT - 20)
    node.advance(20)
    assert waited == [True, TooLate, TooLate]


@pytest.mark.parametrize("unique", [None, "global"])
def test_a_task_waits_until_it_is_asked_to_stop(boot: Boot, lab: Lab, unique: Any) -> None:
    @lab.task(unique=unique)
    def patient() -> list[bool]:
        return [lab.wait(2), lab.wait(100)]

    node = boot()
    session = node.connected()
    task = node.run_as(session, patient.delay)
    node.until(lambda: task.retrieve().running)
    node.until_task_rests()
    node.clock.advance(2)
    node.until_task_rests()
    task.stop()
    node.until(lambda: task.retrieve().finished)
    assert task.result == [True, False]


def test_the_page_lives_while_a_hook_waits(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(5))
    node = boot(users=2)
    starting = node.ask_start()
    node.advance(5)
    node.ask_start(username="bob")
    node.run_as(starting.session, lab.devices.switch.on)
    assert node.values()["switch"] is True
