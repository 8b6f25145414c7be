"""A student's whole visit: a real agent process, a central server and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Student
from .real_node import Node, running

pytestmark = pytest.mark.browser

DEMO = Path(__file__).parents[2] / "boards" / "demo.yaml"
SWITCH = "#device-switch [role=switch]"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running(DEMO, tmp_path_factory.mktemp("state")) as node:
        yield node


def back_of(node: Node) -> str:
    """Where students come from: a page that everybody may see."""
    return f"{node.url}about"


def test_a_student_uses_the_board_and_leaves(student: Student, node: Node) -> None:
    session_id, url = node.server.new(name="Ada Lovelace", back=back_of(node), assigned_time=120)
    student.open(url)
    assert student.driver.current_url == node.url
    assert student.text("h1") == "Demo board"
    assert student.text("#student") == "Ada Lovelace"
    student.sees("#clock", "1:5")
    assert student.text("#device-lamp .state") == "Off"
    student.click(SWITCH)
    student.sees("#device-lamp .state", "On")
    student.click(SWITCH)
    student.sees("#device-lamp .state", "Off")
    student.click("#leave")
    student.until(lambda: student.driver.current_url == back_of(node), "the student is back")
    assert node.server.delete(session_id).clean
    assert node.server.status(session_id) == -1


def test_a_task_shows_its_progress_and_can_be_stopped(student: Student, node: Node) -> None:
    session_id, url = node.server.new(name="Ada Lovelace", back=back_of(node), assigned_time=120)
    student.open(url)
    student.click("#start-blink")
    student.sees("#task-blink .state", "10%")
    student.click("#stop-blink")
    student.sees("#task-blink .result", "so far")
    student.click("#leave")
    student.until(lambda: student.driver.current_url == back_of(node), "the student is back")
    assert node.server.delete(session_id).clean


def test_the_end_of_the_slot_leads_back(student: Student, node: Node) -> None:
    student.expects_failures = True  # the page finds out by being refused
    session_id, url = node.server.new(name="Ada Lovelace", back=back_of(node), assigned_time=3)
    student.open(url)
    student.until(lambda: student.driver.current_url == back_of(node), "the student is back")
    assert node.server.delete(session_id).clean


def test_the_next_student_finds_a_board_as_new(student: Student, node: Node) -> None:
    for _ in range(2):
        session_id, url = node.server.new(
            name="Ada Lovelace", back=back_of(node), assigned_time=120
        )
        student.open(url)
        student.sees("#device-lamp .state", "Off")
        student.click(SWITCH)
        student.sees("#device-lamp .state", "On")
        student.go_away()
        assert node.server.delete(session_id).clean
