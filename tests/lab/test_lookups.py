"""Looking for tasks: one finds one's own, and never those of another session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import TooLate
from labnode.lab import Lab
from labnode.sessions import Session
from tests.kit.node import SmallNode

Boot = Callable[..., SmallNode]


@pytest.fixture
def wait_task(lab: Lab) -> Any:
    """A task that waits until it is asked to stop."""

    @lab.task(unique="user")
    def wait() -> str:
        lab.current_task.wait(1000)
        return "waited"

    return wait


@pytest.fixture
def square(lab: Lab) -> Any:
    @lab.task
    def square(n: int) -> int:
        return n * n

    return square


def test_tasks_are_found_by_id_name_and_function(node: SmallNode, lab: Lab, square: Any) -> None:
    session = node.connected()

    def view() -> None:
        first, second = square.run_sync(2), square.run_sync(3)
        assert lab.get_task(first.task_id).result == 4
        assert lab.get_task("square") == lab.get_task(square) == second
        assert lab.get_tasks("square") == lab.get_tasks(square) == lab.tasks == [first, second]
        assert lab.get_running_task(square) is None
        assert lab.running_tasks == []
        assert lab.get_task("nonsense") is None
        assert lab.get_tasks("nonsense") == []

    node.run_as(session, view)


def test_a_task_that_runs_is_found(node: SmallNode, lab: Lab, wait_task: Any) -> None:
    session = node.connected()
    task = node.run_as(session, wait_task.delay)
    node.settle()
    found = node.run_as(session, lambda: [lab.get_running_task(wait_task), *lab.running_tasks])
    assert found == [task, task]


def test_another_seat_is_another_world(boot: Boot, lab: Lab, wait_task: Any, square: Any) -> None:
    node = boot(users=2)
    one, two = node.connected(), node.connected()
    mine = node.run_as(one, wait_task.delay)
    done = node.run_as(one, lambda: square.run_sync(2))

    def view() -> None:
        assert lab.tasks == lab.running_tasks == lab.get_tasks(square) == []
        assert lab.get_task(mine.task_id) is lab.get_task(done.task_id) is None
        assert lab.get_task(wait_task) is lab.get_running_task("wait") is None

    node.run_as(two, view)
    view()  # nor does nobody see it


def test_the_session_before_is_another_world(node: SmallNode, lab: Lab, square: Any) -> None:
    task = node.run_as(node.connected(), lambda: square.run_sync(2))
    after = node.connected()
    assert node.run_as(after, lambda: (lab.get_task(task.task_id), lab.tasks)) == (None, [])


def test_an_expired_student_still_finds_what_was_measured(
    node: SmallNode, lab: Lab, square: Any
) -> None:
    session = node.connected()
    task = node.run_as(session, lambda: square.run_sync(2))
    node.delete(session)
    assert node.run_as(session, lambda: lab.get_task(task.task_id).result) == 4
    assert node.run_as(session, lambda: lab.get_task(square)) == task


def test_an_id_that_looks_like_the_name_of_a_function_is_a_name(
    node: SmallNode, lab: Lab, square: Any
) -> None:
    assert node.run_as(node.connected(), lambda: lab.get_task("square")) is None


def test_join_tasks_asks_them_to_stop_and_waits(node: SmallNode, lab: Lab, wait_task: Any) -> None:
    session = node.connected()
    task = node.run_as(session, wait_task.delay)
    node.settle()
    view = node.ask(
        lambda: node.run_as(session, lambda: lab.join_tasks(wait_task, timeout=5, stop=True))
    )
    assert view.answered
    assert view.answer is None
    assert task.retrieve().result == "waited"


def test_join_tasks_waits_no_longer_than_it_should(
    node: SmallNode, lab: Lab, wait_task: Any
) -> None:
    session = node.connected()
    task = node.run_as(session, wait_task.delay)
    node.settle()
    view = node.ask(lambda: node.run_as(session, lambda: lab.join_tasks("wait", timeout=5)))
    node.clock.advance(5)
    node.settle()
    assert isinstance(view.answer, TooLate)
    assert task.retrieve().running


def test_code_outside_of_tasks_is_in_none(node: SmallNode, lab: Lab) -> None:
    assert lab.current_task is None
    assert lab.current_task_stopping is False


def test_code_inside_of_a_task_knows_it(node: SmallNode, lab: Lab) -> None:
    seen: list[Any] = []

    @lab.task(unique="user")
    def look() -> None:
        seen.append((lab.current_task.task_id, lab.current_task_stopping, lab.user.username))
        lab.current_task.stop()
        seen.append(lab.current_task_stopping)

    session: Session = node.connected()
    task = node.run_as(session, look.delay)
    node.settle()
    assert seen == [(task.task_id, False, "ada"), True]
