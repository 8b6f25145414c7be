"""LabClient: a lab in a test, from the central server's start to the student's farewell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.clock import ManualClock
from labnode.errors import ConfigError, DeviceError
from labnode.testing import LabClient
from tests.kit.waiting import eventually

BOARD = """\
schema: 1
module: lab.py
devices:
  switch: {driver: digital_output, pin: GPIO17}
  lamp: {driver: digital_input, pin: GPIO27}
simulate: {lamp: switch}
"""
MODULE = """\
from bottle import request, response
from labnode import Lab

lab = Lab()
started = []

@lab.on_start
def begin(client, server):
    started.append(server)

@lab.app.get("/who", access="public")
def who():
    return {"name": "" if lab.user.is_anonymous else lab.user.full_name}

@lab.app.get("/cookies")
def cookies():
    response.set_cookie("one", "1", path="/")
    response.set_cookie("two", "2", path="/")
    return {"got": dict(request.cookies)}

@lab.app.post("/echo")
def echo():
    return {"json": request.json, "query": request.query.a}
"""


@pytest.fixture
def board(tmp_path: Path) -> Path:
    (tmp_path / "lab.py").write_text(MODULE, encoding="utf-8")
    path = tmp_path / "board.yaml"
    path.write_text(BOARD, encoding="utf-8")
    return path


@pytest.fixture
def client(board: Path) -> Iterator[LabClient]:
    with LabClient(board) as client:
        yield client


def test_a_student_uses_a_board(client: LabClient) -> None:
    student = client.student(full_name="Ada")
    assert student.entered.status == 302
    assert student.get("/").status == 200
    assert student.post("/api/devices/switch/on").status == 200
    assert client.value("lamp") is True
    assert client.finish(student)["finished"] is True
    assert client.value("switch") is False


def test_a_student_leaves(client: LabClient) -> None:
    student = client.student(back="https://school.example/")
    assert student.leave().json == {"success": True}
    assert client.end_all()
    farewell = student.get("/")
    assert (farewell.status, farewell.headers["location"]) == (302, "https://school.example/")


def test_what_the_server_tells_of_a_student_reaches_the_lab(client: LabClient) -> None:
    student = client.student(seconds=30, full_name="Ada", locale="es")
    session = student.get("/api/session").json
    assert (session["full_name"], session["locale"]) == ("Ada", "es")
    assert 29 < session["time_left"] <= 30
    assert student.get("/who").json == {"name": "Ada"}


def test_somebody_else_is_nobody(client: LabClient) -> None:
    client.student()
    stranger = client.browser()
    assert stranger.get("/").status == 403
    assert stranger.get("/who").json == {"name": ""}


def test_a_browser_keeps_all_its_cookies(client: LabClient) -> None:
    student = client.student()
    student.get("/cookies")
    got = student.get("/cookies").json["got"]
    assert (got["one"], got["two"]) == ("1", "2")
    assert len(got) == 3  # and the session's own


def test_a_post_is_json_and_a_query_is_a_query(client: LabClient) -> None:
    reply = client.student().post("/echo?a=b", {"x": [1, None]})
    assert reply.json == {"json": {"x": [1, None]}, "query": "b"}
    assert "200" in repr(reply)


def test_a_start_that_is_refused_is_an_answer(client: LabClient) -> None:
    client.agent.sessions.draining = True
    assert client.start().status == 503
    with pytest.raises(AssertionError, match="503"):
        client.student()


def test_the_central_server_has_its_routes(client: LabClient) -> None:
    assert client.server("GET", "/test").json == {"valid": True}
    student = client.student()
    assert client.server("GET", f"/{student.session_id}/status").json == {"should_finish": 5}


def test_a_test_may_hold_the_clock(board: Path) -> None:
    clock = ManualClock()
    with LabClient(board, clock=clock) as client:
        student = client.student(seconds=30)
        clock.advance(10)
        assert student.get("/api/session").json["time_left"] == 20


def test_a_state_directory_may_be_used_twice(board: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with LabClient(board, state_dir=tmp_path / "state") as client:
            assert client.student().get("/").status == 200
            assert client.end_all()
    assert (tmp_path / "state" / "labnode.db").is_file()


def test_settings_may_be_given(board: Path) -> None:
    with LabClient(board, base_url="/lab1") as client:
        reply = client.request(
            "POST", "/lab1/weblab/sessions/", b"{}", HTTP_AUTHORIZATION="Basic eDp5"
        )
        assert reply.status == 401


def test_a_board_that_is_wrong_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        LabClient(tmp_path / "nothing.yaml")


def test_settings_that_are_wrong_leave_nothing_behind(board: Path) -> None:
    with pytest.raises(ConfigError, match="colour"):
        LabClient(board, colour="red")


def test_a_board_that_does_not_open_leaves_nothing_behind(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = LabClient(board)

    def broken() -> None:
        raise DeviceError("'switch' did not open: no such pin")

    monkeypatch.setattr(client.agent.board, "open", broken)
    with pytest.raises(DeviceError, match="no such pin"):
        client.__enter__()


def test_a_lab_in_a_test_is_the_labs_own_module(client: LabClient) -> None:
    client.student(full_name="Ada")
    assert list(client.lab.functions) == []
    assert client.agent.sessions.live()[0].request.full_name == "Ada"


def test_what_has_a_dead_man_stays_on_as_long_as_the_student_makes_requests(board: Path) -> None:
    board.write_text(BOARD.replace("pin: GPIO17", "pin: GPIO17, deadman: 2s"), encoding="utf-8")
    clock = ManualClock()
    with LabClient(board, clock=clock) as client:
        student = client.student()
        student.post("/api/devices/switch/on")
        for _ in range(3):  # as on a page without a WebSocket, which may be silent for 15 s
            clock.advance(14)
            assert student.get("/api/state").json["devices"]["switch"] == {"value": True}
        clock.advance(15)
        eventually(lambda: client.value("switch") is False)
