"""The history of a running node, asked for through its control socket's commands."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from labnode import context, control
from labnode.clock import Clock
from labnode.control import ControlSocket
from labnode.errors import LabnodeError, StorageError
from labnode.node.history import History, StoppedNode
from labnode.store import Happening
from labnode.testing import LabClient

MODULE = """\
import threading

from labnode import Lab

lab = Lab()
begun = threading.Event()


@lab.task(unique="global", label="Work")
def work(fail: bool = False):
    lab.current_task.data["percent"] = 40
    if fail:
        raise ValueError("x" * 5000)
    begun.set()
    while lab.current_task.wait(60):
        pass
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LabClient]:
    (tmp_path / "history_lab.py").write_text(MODULE)
    board = tmp_path / "board.yaml"
    board.write_text(
        "schema: 1\nlab: {name: lab, category: Tests}\n"
        "devices: {led: {driver: led, pin: 17}}\nmodule: history_lab.py\n"
    )
    with LabClient(board) as client:
        yield client


@pytest.fixture
def ask(client: LabClient, tmp_path: Path) -> Iterator[Any]:
    """Asks for the rows of a list, through a control socket."""
    socket = ControlSocket(tmp_path, client.agent.commands.by_name)
    socket.start()
    yield lambda name, **options: control.ask(tmp_path, name, **options)[name]
    assert socket.stop(5)


def tag(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()[:8]


def test_a_new_node_has_no_history(ask: Any) -> None:
    assert [ask(what) for what in ("sessions", "tasks", "events", "actions")] == [[], [], [], []]


def test_a_session_that_goes_on_has_time_left(client: LabClient, ask: Any) -> None:
    student = client.student(300, full_name="Ada Lovelace")
    (session,) = ask("sessions")
    assert 290 < session.pop("time_left") <= 300
    assert session.pop("created_at") > 1e9
    assert session == {
        "session": tag(student.session_id),
        "state": "active",
        "reason": None,
        "client": "weblab",
        "length": 300,
        "resumed": 0,
        "ended_at": None,
        "experiment": None,
    }


def test_a_session_that_is_over_says_why(client: LabClient, ask: Any) -> None:
    student = client.student()
    student.leave()
    client.finish(student)
    (session,) = ask("sessions")
    assert (session["state"], session["reason"]) == ("disposed", "exited")
    assert session["time_left"] is None
    assert session["ended_at"] >= session["created_at"]


def test_a_running_task_is_told_with_its_progress(client: LabClient, ask: Any) -> None:
    student = client.student()
    task_id = student.post("/api/tasks/work", {}).json["task_id"]
    assert sys.modules["labnode_board_history_lab"].begun.wait(5)
    (task,) = ask("tasks")
    assert (task["id"], task["name"], task["status"]) == (task_id, "work", "running")
    assert (task["session"], task["percent"]) == (tag(student.session_id), 40)
    student.post(f"/api/tasks/{task_id}/stop")
    client.finish(student)
    (task,) = ask("tasks")
    assert (task["status"], task["finished_at"] >= task["started_at"]) == ("done", True)


def test_a_long_error_is_cut(client: LabClient, ask: Any) -> None:
    student = client.student()
    task_id = student.post("/api/tasks/work", {"fail": True}).json["task_id"]
    client.agent.tasks.get(task_id).join(5)
    (task,) = ask("tasks")
    assert task["status"] == "failed"
    assert task["error"] == {"code": "exception", "class": "ValueError", "message": "x" * 200}


def test_events_come_in_their_order(client: LabClient, ask: Any) -> None:
    student = client.student()
    student.get("/")
    client.finish(student)
    kinds = [event["kind"] for event in ask("events")]
    assert kinds == [
        "session.starting",
        "session.active",
        "session.connected",
        "session.disposing",
        "session.disposed",
    ]
    assert [event["kind"] for event in ask("events", last=2)] == kinds[-2:]


def test_actions_are_told_with_the_student_only_if_asked_for(client: LabClient, ask: Any) -> None:
    student = client.student(full_name="Ada Lovelace", username="ada")
    with context.acting(user=client.agent.sessions.user(client.agent.sessions.live()[0])):
        client.lab.record("heat", to=40)
    client.agent.store.recall("nothing")  # the store has done what was asked for before
    (action,) = ask("actions")
    assert action.pop("at") > 1e9
    assert action == {"session": tag(student.session_id), "action": "heat", "data": {"to": 40}}
    (named,) = ask("actions", names=True)
    assert "Ada Lovelace" in named["student"]


def test_an_answer_stays_small_whatever_was_stored(client: LabClient, ask: Any) -> None:
    session = client.student().session_id
    detail = {f"{n:03}" * 1000: {"deep": ["x" * 3000]} for n in range(100)}
    client.agent.store.remember("x", None, Happening("lab.note", session, detail=detail))
    (event,) = ask("events", last=1)
    assert event["kind"] == "lab.note"
    assert len(event["detail"]) == 20
    assert all(len(key) + len(text) <= 400 for key, text in event["detail"].items())


def test_students_are_named_only_when_asked_for(client: LabClient, ask: Any) -> None:
    student = client.student(full_name="Ada Lovelace")
    student.post("/api/tasks/work", {"fail": True})
    client.finish(student)
    for what in ("sessions", "tasks", "events"):
        assert "Ada" not in str(ask(what))
        assert "student'" not in str(ask(what))
        named = ask(what, names=True)
        assert {row["student"] for row in named} == {"Ada Lovelace <student>"}
        assert student.session_id not in str(named)


@pytest.mark.parametrize("last", [0, -1, 501, "3", True, None, 2.0])
def test_a_number_of_rows_that_makes_no_sense_is_refused(ask: Any, last: Any) -> None:
    with pytest.raises(LabnodeError, match="`last` is a number from 1 to 500"):
        ask("events", last=last)


def test_a_node_that_does_not_run_has_its_database(client: LabClient, tmp_path: Path) -> None:
    client.agent.runtime.lab.functions["work"].delay(fail=True).join(10, error_on_timeout=False)
    client.student()
    kept, path = History(client.agent, client.agent.clock), client.agent.runtime.store.path
    running = kept.sessions(names=True)["sessions"], kept.tasks()["tasks"], kept.events()["events"]
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    history = History(StoppedNode(copy), client.agent.clock)
    sessions, tasks, events = (
        history.sessions(names=True)["sessions"], history.tasks()["tasks"],
        history.events()["events"],
    )  # fmt: skip
    assert [{**row, "time_left": None} for row in running[0]] == sessions
    assert [row["error"] for row in tasks] == [row["error"] for row in running[1]] != [None]
    assert events == running[2]
    assert history.tasks()["periodic"] == []


def test_a_database_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "labnode.db").write_text("no database, but a text that is long enough to be read")
    history = History(StoppedNode(tmp_path / "labnode.db"), Clock())
    with pytest.raises(StorageError, match=r"labnode\.db cannot be read"):
        history.events()
