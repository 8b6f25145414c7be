"""weblablib's own tests: its long one, and the table of docs/porting-tests.md."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import SessionOver, TooLate
from labnode.testing import Student
from tests.kit.waiting import PATIENCE

from .bench import Bench

TESTS = Path(__file__).parent.parent
DOCUMENT = TESTS.parent / "docs/porting-tests.md"


def test_a_view_sees_its_task_from_beginning_to_end(bench: Bench) -> None:
    lab, counter = bench.lab, [0]

    @lab.task(unique="global")
    def before() -> None:
        lab.wait(60)

    @lab.task(unique="global")
    def work() -> list[Any]:
        counter[0] += 1
        lab.current_task.data = {"inside": "previous"}
        lab.current_task.data = {"inside": "yes"}
        lab.current_task.store()
        return [counter[0], lab.user.data["foo"]]

    def ask() -> Any:
        lab.user.data["foo"] = "bar"
        first, task = before.delay(), work.delay()
        assert lab.tasks == lab.running_tasks == [first, task]
        assert (task.status, task.name) == ("submitted", "work")
        assert (task.result, task.error, task.stopping) == (None, None, False)
        assert task.session_id == lab.user.session_id
        for which in (work, "work"):
            assert lab.get_task(which) == lab.get_running_task(which) == task
            assert lab.get_tasks(which) == lab.get_running_tasks(which) == [task]
        assert lab.get_tasks("foo") == lab.get_running_tasks("foo") == []
        assert lab.current_task is None
        assert not lab.current_task_stopping
        with pytest.raises(TooLate):
            lab.join_tasks(work, timeout=0.01)
        assert counter == [0]
        lab.join_tasks(before, timeout=PATIENCE, stop=True)
        return task.join(timeout=PATIENCE)

    def look(task_id: str) -> Any:
        task = lab.get_task(task_id)
        assert lab.running_tasks == []
        assert lab.get_running_task(work) is None
        assert lab.get_task(work) == lab.get_task("work") == task
        return task

    student = bench.student()
    first = bench.view(student, ask)
    task = bench.view(student, lambda: look(first.task_id))
    assert (task.status, task.result, task.error) == ("done", [1, "bar"], None)
    assert task.data == {"inside": "yes"}
    assert task == first
    assert hash(task) == hash(first)
    assert task != task.task_id
    assert task.task_id in repr(task)


def test_a_student_who_has_left_is_still_known(bench: Bench) -> None:
    lab = bench.lab
    student = bench.student(
        locale="es_ES",
        username="jim",
        full_name="Jim Smith",
        back="http://weblab.example.org",
        **{"experiment_id.experiment_name": "mylab", "experiment_id.category_name": "Lab tests"},
    )

    def known() -> tuple[Any, ...]:
        user = lab.user
        assert user.request_server_data["request.username"] == "jim"
        assert "Jim Smith" in str(user)
        return user.session_id, user.locale, user.full_name, user.experiment_id

    jim = (student.session_id, "es_ES", "Jim Smith", "mylab@Lab tests")
    assert bench.view(student, known) == jim
    bench.view(student, lab.poll)
    bench.view(student, lab.logout)
    assert_sent_back(bench, student)
    bench.finish(student)
    assert_sent_back(bench, student)
    assert bench.view(student, known, "login") == jim

    def afterwards() -> None:
        user = lab.user
        assert (user.active, user.is_anonymous, user.time_left) == (False, False, 0)
        with pytest.raises(SessionOver):
            user.data = {}

    bench.view(student, afterwards, "login")


def assert_sent_back(bench: Bench, student: Student) -> None:
    reply = bench.ask(student, lambda: "seen")
    assert (reply.status, reply.headers["location"]) == (302, "http://weblab.example.org")


def test_a_task_that_is_stopped_in_the_queue_never_runs(bench: Bench) -> None:
    lab, ran = bench.lab, []

    @lab.task(unique="global")
    def before() -> None:
        lab.wait(60)

    @lab.task(unique="global")
    def work() -> None:
        ran.append(1)

    def stop_both() -> Any:
        before.delay()
        task = work.delay()
        task.stop()
        lab.join_tasks(before, timeout=PATIENCE, stop=True)
        return task.join(PATIENCE)

    task = bench.view(bench.student(), stop_both)
    assert (task.failed, task.error["code"], ran) == (True, "stopped", [])


# --- the table ---


def rows() -> list[list[str]]:
    table = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@cache
def defined_in(file: str) -> set[str]:
    body = ast.parse((TESTS / file).read_text()).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def test_each_of_weblablibs_69_tests_has_its_row() -> None:
    names = [name for name, _, _ in rows()]
    assert len(names) == len(set(names)) == 69
    assert all(re.fullmatch(r"`\w+Test\.test_\w+`", name) for name in names)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].strip("`"))
def test_a_row_says_what_becomes_of_the_test_and_which_of_ours_shows_it(row: list[str]) -> None:
    _, verdict, ours = row
    assert re.match(r"holds|(differs|not applicable): .", verdict), verdict
    shown = re.findall(r"`([^`]+)::(test_\w+)`", ours)
    assert shown or verdict.startswith("not applicable")
    assert [test for file, test in shown if test not in defined_in(file)] == []
