"""Real reservations of a real LabDiscoveryEngine: `./install.sh test --real`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.kit.waiting import eventually
from tests.process.machine import Student

from .boards import ONCE, PASSWORD, Board, asked
from .engine import Engine, Program, free_port, make_venv

Boards = tuple[Board, Board]

LIBRARY_LAB = """\
from flask import Flask
from labdiscoverylib import WebLab

app = Flask(__name__)
app.config.update({settings!r})
lib = WebLab(app)

@lib.initial_url
def initial_url():
    return "/"

@lib.on_start
def start(client_data, server_data):
    pass

@lib.on_dispose
def dispose():
    pass
"""


def name_of(board: Board) -> str:
    """What the engine calls the board's resource."""
    return f"thermal_127_0_0_1_{board.port}-1"


def enter(reservation: dict[str, Any]) -> Student:
    visitor = Student("", reservation["url"])
    assert visitor.page.status == 200, visitor.page
    return visitor


def test_a_reservation_is_a_session_until_the_student_cancels_it(
    engine: Engine, boards: Boards
) -> None:
    one, _ = boards
    ada = engine.reserve("ada", name_of(one))
    said = enter(engine.wait_for(ada, "ready")).get("/api/session").json
    assert (said["active"], said["username"]) == (True, "ada")
    assert said["full_name"] == "ada Ünïcode"
    assert said["back"] == "http://127.0.0.1/back"
    engine.cancel(ada)
    engine.wait_for(ada, "finished")
    assert one.story("ada") == ONCE


def test_a_student_who_leaves_ends_the_reservation(engine: Engine, boards: Boards) -> None:
    one, _ = boards
    ada = engine.reserve("ada", name_of(one))
    visitor = Student("", engine.wait_for(ada, "ready")["url"])
    assert visitor.leave().status == 200
    engine.wait_for(ada, "finished")
    assert one.story("ada") == ONCE


def test_the_end_of_the_slot_ends_the_reservation(engine: Engine, boards: Boards) -> None:
    one, _ = boards
    ada = engine.reserve("ada", name_of(one), seconds=3)
    engine.wait_for(ada, "ready", "finished")
    engine.wait_for(ada, "finished")
    assert one.story("ada") == ONCE


def test_the_next_in_the_queue_comes_when_the_board_is_clean(
    engine: Engine, boards: Boards
) -> None:
    one, _ = boards
    ada = engine.reserve("ada", name_of(one))
    engine.wait_for(ada, "ready")
    bob = engine.reserve("bob", name_of(one))
    assert engine.status(bob)["status"] == "queued"
    engine.cancel(ada)
    engine.wait_for(bob, "ready")
    assert one.log() == [f"{what} ada" for what in ONCE] + ["start bob", "ready bob"]


def test_who_cancels_in_the_queue_never_comes_to_the_board(engine: Engine, boards: Boards) -> None:
    one, _ = boards
    ada = engine.reserve("ada", name_of(one))
    engine.wait_for(ada, "ready")
    bob = engine.reserve("bob", name_of(one))
    engine.cancel(bob)
    engine.cancel(ada)
    engine.wait_for(bob, "finished")
    assert one.story("bob") == []


def test_two_students_get_two_identical_boards_and_a_third_waits(
    engine: Engine, boards: Boards
) -> None:
    ada, bob = engine.reserve("ada"), engine.reserve("bob")
    urls = {engine.wait_for(each, "ready")["url"].partition("/callback")[0] for each in (ada, bob)}
    assert urls == {board.url for board in boards}
    eve = engine.reserve("eve")
    assert engine.status(eve)["status"] == "queued"
    engine.cancel(bob)
    engine.wait_for(eve, "ready")
    stories = [board.story("eve") for board in boards]
    assert sorted(stories) == [[], ["start", "ready"]]


def test_a_start_may_take_its_time(engine: Engine, boards: Boards) -> None:
    one, _ = boards
    one.will("start", "until gate")
    ada = engine.reserve("ada", name_of(one))
    one.wait_for_log("start ada")
    assert engine.status(ada)["status"] == "initializing"
    one.open_gate("gate")
    enter(engine.wait_for(ada, "ready"))


def test_who_cancels_while_the_board_starts_leaves_it_clean(engine: Engine, boards: Boards) -> None:
    one, _ = boards
    one.will("start", "until gate")
    ada = engine.reserve("ada", name_of(one))
    one.wait_for_log("start ada")
    engine.cancel(ada)
    one.open_gate("gate")
    engine.wait_for(ada, "finished", "ready")  # it takes the start's answer for the newer state
    engine.cancel(ada)
    engine.wait_for(ada, "finished")
    assert one.story("ada") == ONCE


def test_a_start_that_fails_breaks_that_reservation_and_no_other(
    engine: Engine, boards: Boards
) -> None:
    one, _ = boards
    one.will("start", "fail")
    ada = engine.reserve("ada", name_of(one))
    assert engine.wait_for(ada, "broken")["status"] == "broken"
    assert one.story("ada") == ["start", "dispose", "clean"]
    one.will("start", "")
    bob = engine.reserve("bob", name_of(one))
    enter(engine.wait_for(bob, "ready"))


def test_a_clean_up_may_take_its_time_and_nobody_comes_meanwhile(
    engine: Engine, boards: Boards
) -> None:
    one, _ = boards
    one.will("dispose", "until gate")
    ada = engine.reserve("ada", name_of(one))
    engine.wait_for(ada, "ready")
    bob = engine.reserve("bob", name_of(one))
    engine.cancel(ada)
    one.wait_for_log("dispose ada")
    assert [session["state"] for session in one.told("status")["sessions"]] == ["disposing"]
    assert engine.status(ada)["status"] == "cancelling"
    assert engine.status(bob)["status"] == "queued"
    one.open_gate("gate")
    engine.wait_for(ada, "finished")
    engine.wait_for(bob, "ready")
    assert one.log()[:4] == [f"{what} ada" for what in ONCE]


def test_after_a_clean_up_that_failed_the_next_reservation_is_refused_until_a_person_has_looked(
    engine: Engine, boards: Boards
) -> None:
    one, _ = boards
    one.will("dispose", "fail")
    ada = engine.reserve("ada", name_of(one))
    engine.wait_for(ada, "ready")
    engine.cancel(ada)
    engine.wait_for(ada, "finished")
    assert not one.healthy()
    engine.wait_for(engine.reserve("bob", name_of(one)), "broken")
    one.will("dispose", "")
    one.told("clear")
    assert one.healthy()
    engine.wait_for(engine.reserve("eve", name_of(one)), "ready")
    assert one.story("bob") == []


def test_a_changed_password_neither_ends_a_session_nor_makes_its_board_clean(
    engine: Engine, boards: Boards
) -> None:
    one, _ = boards
    ada = engine.reserve("ada", name_of(one))
    visitor = enter(engine.wait_for(ada, "ready"))
    one.restart_with("another password")
    eventually(lambda: visitor.get("/api/session").json.get("active"), "the session to go on")
    eventually(lambda: "Wrong credentials" in one.errors, "a poll with the old password")
    assert engine.status(ada)["status"] == "ready"
    engine.cancel(ada)
    eventually(lambda: "too-many-guesses" in one.errors, "deletes with the old password")
    assert engine.status(ada)["status"] == "cancelling"
    assert visitor.get("/api/session").json["active"]
    assert visitor.leave().status == 200
    # It asks again without a pause, and the restart may fall into one of its requests.
    one.restart_with(PASSWORD, "another password")
    engine.wait_for(ada, "finished", "broken")
    engine.wait_for(engine.reserve("bob", name_of(one)), "ready")
    assert one.story("ada")[-2:] == ["dispose", "clean"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_session_outlives_its_node_and_so_does_a_start_that_comes_meanwhile(
    engine: Engine, boards: Boards, number: int
) -> None:
    one, two = boards
    ada = engine.reserve("ada", name_of(one))
    visitor = enter(engine.wait_for(ada, "ready"))
    two.stop(number)
    bob = engine.reserve("bob", name_of(two))
    one.restart(number)
    eventually(lambda: visitor.get("/api/session").json.get("active"), "the session to go on")
    engine.wait_for(bob, "initializing")
    two.start()
    engine.wait_for(bob, "ready")
    assert engine.status(ada)["status"] == "ready"
    assert two.story("bob") == ["start", "ready"]
    assert one.story("ada") == ["start", "ready", "restart", "ready"]


def test_a_scheduler_that_is_killed_takes_up_its_sessions_again(
    engine: Engine, boards: Boards
) -> None:
    one, _ = boards
    ada = engine.reserve("ada", name_of(one))
    visitor = enter(engine.wait_for(ada, "ready"))
    engine.kill_worker()
    assert visitor.get("/api/session").json["active"]
    engine.start_worker()
    assert visitor.leave().status == 200
    engine.wait_for(ada, "finished")
    assert one.story("ada") == ONCE


def test_a_drain_takes_nothing_from_the_student_who_is_there(
    engine: Engine, boards: Boards
) -> None:
    one, _ = boards
    ada = engine.reserve("ada", name_of(one))
    visitor = enter(engine.wait_for(ada, "ready"))
    one.told("drain")
    try:
        assert one.healthy()  # what a newer engine asks for, and WebLab-Deusto
        assert visitor.get("/api/session").json["active"]
        engine.cancel(ada)
        engine.wait_for(ada, "finished")
        assert not one.healthy()
        engine.wait_for(engine.reserve("bob", name_of(one)), "broken")
    finally:
        one.told("undrain")
    engine.wait_for(engine.reserve("eve", name_of(one)), "ready")


def test_the_engine_reads_in_a_node_what_labdiscoverylib_says(
    engine: Engine, boards: Boards, tmp_path: Path
) -> None:
    one, _ = boards
    with Library(tmp_path, engine.redis_url) as library:
        start = {
            "request": {"ldeReservationId": "of both", "backUrl": "http://127.0.0.1/back"},
            "laboratory": {"name": "thermal", "category": "Control"},
            "user": {"username": "ada", "unique": "ada", "fullName": "Ada"},
            "schedule": {"start": "2026-01-31T09:30:00+00:00", "length": 60},
        }
        said = [conversation(ask, start) for ask in (one.ask, library.ask)]
    for ours, theirs in zip(*said, strict=True):
        assert set(theirs) <= set(ours)
        for key in set(theirs) - {"session_id", "url", "should_finish"}:
            assert ours[key] == theirs[key]


def conversation(ask: Any, start: dict[str, Any]) -> list[dict[str, Any]]:
    sessions = "/ldl/sessions/"
    said = [ask("GET", f"{sessions}api"), ask("GET", f"{sessions}test")]
    said.append(ask("POST", sessions, start))
    session = f"{sessions}{said[-1]['session_id']}"
    said += [ask("GET", f"{session}/status"), ask("DELETE", session), ask("DELETE", f"{sessions}x")]
    return said


class Library:
    """A lab that is written with labdiscoverylib, in a process of its own."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        settings = {
            "SECRET_KEY": "of a test",
            "WEBLAB_USERNAME": "lde",
            "WEBLAB_PASSWORD": PASSWORD,
            "WEBLAB_REDIS_URL": redis_url,
            "WEBLAB_CALLBACK_URL": "/callback",
            "SESSION_COOKIE_NAME": "lab",
        }
        (directory / "library_lab.py").write_text(LIBRARY_LAB.format(settings=settings))
        self._address = f"127.0.0.1:{free_port()}"
        command = [make_venv() / "gunicorn", "--bind", self._address, "library_lab:app"]
        self._program = Program(directory, "library", *command)

    def __enter__(self) -> Library:
        eventually(lambda: self._program.said("Booting worker"), "the library's lab")
        return self

    def __exit__(self, *_error: object) -> None:
        self._program.end()

    def ask(self, method: str, path: str, fields: Any = None) -> Any:
        return asked(f"http://{self._address}{path}", method, fields)
