from __future__ import annotations

from pathlib import Path

import pytest

from labnode.clock import Clock
from labnode.errors import DeviceError
from labnode.testing import LabClient, Student


@pytest.fixture
def student(lab: LabClient) -> Student:
    return lab.student(seconds=60, full_name="Ada Lovelace", username="ada", locale="es")


def test_the_session_tells_who_and_how_long(student: Student) -> None:
    session = student.get("/api/session").json
    assert 0 < session.pop("time_left") <= 60
    assert session == {
        "read_only": False,
        "active": True,
        "username": "ada",
        "full_name": "Ada Lovelace",
        "locale": "es",
        "back": None,
        "experiment_name": None,
        "category_name": None,
        "restarted": False,
        "reason": None,
        "hand_raised": False,
        "programs": False,
    }


def test_the_board_shows_what_students_may_see(student: Student) -> None:
    board = student.get("/api/board").json
    assert [device["name"] for device in board["devices"]] == ["switch", "lamp", "dimmer"]
    assert list(student.get("/api/state").json["devices"]) == ["switch", "lamp", "dimmer"]
    assert board["snapshot"] == student.get("/api/state").json["devices"]
    assert board["title"] == "Banco"


@pytest.mark.parametrize(
    ("query", "header", "title"), [("?locale=en", "es", "Bench"), ("", "en-GB,en;q=0.9", "Banco")]
)
def test_the_language_asked_for_comes_before_the_users(
    student: Student, query: str, header: str, title: str
) -> None:
    board = student.get(f"/api/board{query}", HTTP_ACCEPT_LANGUAGE=header).json
    assert board["title"] == title


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ("es-MX,en;q=0.8", "Banco"),
        ("es;q=0.3, en;q=0.8", "Bench"),
        ("fr, es;q=0", "Bench"),
        ("", "Bench"),
    ],
)
def test_without_a_users_language_the_browsers_best_one_counts(
    lab: LabClient, header: str, title: str
) -> None:
    board = lab.student().get("/api/board", HTTP_ACCEPT_LANGUAGE=header).json
    assert board["title"] == title


def test_a_command_does_it_and_shows_what_came_of_it(lab: LabClient, student: Student) -> None:
    reply = student.post("/api/devices/switch/set", [True])
    assert reply.json["result"] is None
    assert reply.json["devices"]["lamp"] == {"value": True}
    assert lab.agent.board.pins.pin("GPIO17").state == 1


def test_arguments_come_by_position_by_name_or_not_at_all(lab: LabClient, student: Student) -> None:
    student.post("/api/devices/dimmer/set", [0.25])
    assert lab.value("dimmer") == 0.25
    student.post("/api/devices/dimmer/set", {"value": 0.5})
    assert lab.value("dimmer") == 0.5
    student.request("POST", "/api/devices/dimmer/on")
    assert lab.value("dimmer") == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/devices/nothing/on", b"", 404),
        ("/api/devices/hidden/on", b"", 404),
        ("/api/devices/switch/explode", b"", 404),
        ("/api/devices/switch/close", b"", 404),
        ("/api/devices/lamp/set", b"[true]", 404),
        ("/api/devices/switch/set", b"{", 400),
        ("/api/devices/switch/set", b"[" * 100_000, 400),
        ("/api/devices/switch/set", b"\xff\xfe", 400),
        ("/api/devices/switch/set", b'"on"', 400),
        ("/api/devices/switch/set", b"[1]", 400),
        ("/api/devices/switch/set", b"[true, true]", 400),
        ("/api/devices/switch/set", b'{"volume": true}', 400),
        ("/api/devices/dimmer/set", b"[7]", 400),
        ("/api/devices/dimmer/set", b"[NaN]", 400),
        ("/api/tasks/nothing", b"", 404),
        ("/api/tasks/inside", b"", 404),
        ("/api/tasks/wait", b"[1]", 400),
        ("/api/tasks/wait", b'{"hours": 1}', 400),
        ("/api/tasks/wait", b'{"self": 1}', 400),
        ("/api/tasks/wait", b'{"args": [], "kwargs": {}, "cls": 1}', 400),
        ("/api/devices/switch/set", b'{"self": 1}', 400),
        ("/api/devices/switch/set", b'{"name": "x", "value": true}', 400),
        ("/api/tasks/nothing/stop", b"", 404),
    ],
)
def test_bad_requests_get_a_sentence_and_do_nothing(
    lab: LabClient, student: Student, path: str, body: bytes, status: int
) -> None:
    reply = student.request("POST", path, body)
    assert reply.status == status
    assert reply.json["error"] is True
    assert len(reply.json["message"]) > 10
    assert (lab.value("switch"), lab.value("dimmer")) == (False, 0)


def test_a_task_is_started_watched_and_stopped(lab: LabClient, student: Student) -> None:
    task = student.post("/api/tasks/wait", {"seconds": 60}).json
    assert (task["name"], task["error"]) == ("wait", None)
    shown = student.get("/api/board").json["tasks"]
    assert [(t["name"], t["label"]) for t in shown] == [("wait", "Esperar")]
    running = student.get("/api/state").json["tasks"]
    assert [t["task_id"] for t in running] == [task["task_id"]]
    assert student.post(f"/api/tasks/{task['task_id']}/stop").json["stopping"] is True
    done = lab.agent.tasks.get(task["task_id"]).join(10)
    shown = student.get(f"/api/tasks/{task['task_id']}").json
    assert shown == {**done.to_json(), "error": shown["error"]}  # in the student's language


def test_a_second_unique_task_is_refused_with_409(student: Student) -> None:
    first = student.post("/api/tasks/wait", {})
    second = student.post("/api/tasks/wait", {})
    assert (first.status, second.status) == (200, 409)
    assert second.json["error"]["code"] == "already-running"
    assert second.json["status"] == "failed"


def test_a_task_that_takes_longer_than_is_left_is_refused_with_409(
    lab: LabClient, student: Student
) -> None:
    @lab.lab.task(label="Program", estimated_time=100)
    def program() -> None: ...

    refused = student.post("/api/tasks/program", {})
    assert (refused.status, refused.json["status"]) == (409, "failed")
    assert refused.json["error"]["code"] == "no-time"


def test_another_sessions_task_cannot_be_seen(lab: LabClient, student: Student) -> None:
    task = student.post("/api/tasks/wait", {}).json
    lab.finish(student)
    other = lab.student()
    assert other.get(f"/api/tasks/{task['task_id']}").status == 404
    assert other.get("/api/tasks/wait").status == 404


def test_the_page_has_the_board_and_the_session_in_it(student: Student) -> None:
    page = student.get("/").text
    assert "<title>Banco</title>" in page
    assert "Ada Lovelace" in page


def test_a_students_name_cannot_become_html(lab: LabClient) -> None:
    name = "</script><script>alert(1)</script>"
    page = lab.student(full_name=name).get("/").text
    assert "<script>alert" not in page
    assert "alert(1)</script>" not in page


def test_static_files_are_for_everybody_and_checked_again(lab: LabClient) -> None:
    reply = lab.browser().get("/static/page.css")
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-cache"
    assert lab.browser().get("/static/../pages.py").status in (403, 404)
    assert lab.browser().get("/static/%2e%2e/pages.py").status in (403, 404)


def test_what_comes_after_its_deadline_is_not_done(lab: LabClient, student: Student) -> None:
    now = Clock().now()
    late = student.post("/api/devices/switch/set", [True], HTTP_LABNODE_DEADLINE=str(now - 0.1))
    assert (late.status, late.json["code"]) == (504, "timeout")
    assert lab.value("switch") is False
    in_time = student.post("/api/devices/switch/set", [True], HTTP_LABNODE_DEADLINE=str(now + 60))
    assert (in_time.status, lab.value("switch")) == (200, True)
    wrong = student.post("/api/devices/switch/set", [True], HTTP_LABNODE_DEADLINE="soon")
    assert wrong.status == 400


def test_a_click_from_before_a_device_went_to_safe_does_not_bring_it_back(
    lab: LabClient, student: Student
) -> None:
    def switch(asked: str) -> tuple[int, bool]:
        reply = student.post("/api/devices/switch/set", [True], HTTP_LABNODE_ASKED=asked)
        return reply.status, lab.value("switch")

    asked = Clock().now()
    assert switch(str(asked)) == (200, True)
    lab.agent.runtime.worker.call(lambda: lab.agent.runtime.board.reset(["switch"]))
    assert switch(str(asked)) == (409, False)
    assert switch(str(asked + 3600)) == (409, False)  # on the clock of before a reboot
    assert switch("then") == (400, False)
    assert switch(str(Clock().now())) == (200, True)


def test_a_task_says_what_it_takes_and_is_given_nothing_else(student: Student) -> None:
    (task,) = student.get("/api/board").json["tasks"]
    assert task["parameters"] == [{"name": "seconds", "type": "float", "default": 60}]
    refused = student.post("/api/tasks/wait", {"seconds": "long"})
    assert (refused.status, refused.json["detail"]) == (
        400,
        "wait: 'seconds' must be a number, not the text 'long'",
    )


@pytest.mark.parametrize(
    "why",
    [
        "could not open port /dev/ttyUSB0: no such file",
        "plug.local does not answer: [Errno 111] Connection refused",
        "OSError: no such device",
    ],
)
def test_what_only_the_lab_s_staff_understand_is_not_told_to_students(
    lab: LabClient, student: Student, why: str
) -> None:
    board = lab.agent.runtime.board

    def fail(*_: object) -> None:
        raise DeviceError(why)

    board.file.devices["switch"].drive = fail
    refused = student.post("/api/devices/switch/set", [True])
    spanish = "No ha funcionado; el registro del laboratorio dice por qué."
    assert refused.json["message"] == spanish
    assert "detail" not in refused.json
    assert refused.json["code"] == "device"
    assert why in board.snapshot["switch"]["error"]
    assert student.get("/api/state").json["devices"]["switch"]["error"] == "device"


def test_what_an_interlock_refuses_is_said_in_the_students_language(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "schema: 1\nlab: {name: x}\ndevices:\n  left: {driver: relay, pin: 17, label: Izquierda}\n"
        "  right: {driver: relay, pin: 18}\ninterlocks:\n  - {name: one, mutex: [left, right]}\n"
    )
    with LabClient(tmp_path / "x.yaml") as lab:
        student = lab.student(seconds=60, locale="es")
        student.post("/api/devices/left/on")
        reply = student.post("/api/devices/right/on")
    assert reply.status == 409
    assert reply.json["message"] == (
        "Right no puede estar encendido mientras lo esté Izquierda: Actúa el enclavamiento «one»."
    )
