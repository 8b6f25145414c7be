"""A student's whole visit: a real agent process, a central server and a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labnode.weblab.fake import CentralServer

from .conftest import Student

pytestmark = pytest.mark.browser

DEMO = Path(__file__).parents[2] / "boards" / "demo.yaml"
SWITCH = "#device-switch [role=switch]"


@dataclass(frozen=True)
class Node:
    url: str
    server: CentralServer

    @property
    def back(self) -> str:
        """Where students come from: a page that everybody may see."""
        return f"{self.url}about"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    command = [sys.executable, "-m", "labnode", "run", str(DEMO), "--simulate", "--port", "0"]
    command += ["--state-dir", str(tmp_path_factory.mktemp("state"))]
    credentials = {"LABNODE_WEBLAB_USERNAME": "weblab", "LABNODE_WEBLAB_PASSWORD": "visit"}
    process = subprocess.Popen(
        command, env={**os.environ, **credentials}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, f"the agent says where it listens, not {line!r}"
        yield Node(found[0], CentralServer(found[0].rstrip("/"), "weblab", "visit"))
    finally:
        process.terminate()
        process.communicate(timeout=15)
    assert process.returncode == 0


def test_a_student_uses_the_board_and_leaves(student: Student, node: Node) -> None:
    session_id, url = node.server.new(name="Ada Lovelace", back=node.back, assigned_time=120)
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
    student.until(lambda: student.driver.current_url == node.back, "the student is back")
    assert node.server.delete(session_id).clean
    assert node.server.status(session_id) == -1


def test_a_task_shows_its_progress_and_can_be_stopped(student: Student, node: Node) -> None:
    session_id, url = node.server.new(name="Ada Lovelace", back=node.back, assigned_time=120)
    student.open(url)
    student.click("#start-blink")
    student.sees("#task-blink .state", "10%")
    student.click("#stop-blink")
    student.sees("#task-blink .result", "so far")
    student.click("#leave")
    student.until(lambda: student.driver.current_url == node.back, "the student is back")
    assert node.server.delete(session_id).clean


def test_the_end_of_the_slot_leads_back(student: Student, node: Node) -> None:
    student.expects_failures = True  # the page finds out by being refused
    session_id, url = node.server.new(name="Ada Lovelace", back=node.back, assigned_time=3)
    student.open(url)
    student.until(lambda: student.driver.current_url == node.back, "the student is back")
    assert node.server.delete(session_id).clean


def test_the_next_student_finds_a_board_as_new(student: Student, node: Node) -> None:
    for _ in range(2):
        session_id, url = node.server.new(name="Ada Lovelace", back=node.back, assigned_time=120)
        student.open(url)
        student.sees("#device-lamp .state", "Off")
        student.click(SWITCH)
        student.sees("#device-lamp .state", "On")
        student.go_away()
        assert node.server.delete(session_id).clean
