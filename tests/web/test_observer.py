"""Observers: a link that lets a teacher look at a session, and do nothing in it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from labnode import context
from labnode.errors import Forbidden
from labnode.lab.devices import Devices
from labnode.sessions import Observer, Session
from labnode.testing import Browser, LabClient, Student
from tests.web.conftest import MakeLab

HTML = {"HTTP_ACCEPT": "text/html"}


def session_of(lab: LabClient) -> Session:
    (session,) = lab.agent.sessions.live()
    return session


def link_of(lab: LabClient, student: Browser) -> str:
    """The link as the lab's own page shows it to the student."""
    return str(student.get("/link").text)


@pytest.fixture
def ada(lab: LabClient) -> Student:
    return lab.student(full_name="Ada Lovelace", username="ada")


@pytest.fixture
def teacher(lab: LabClient, ada: Student) -> Browser:
    """Somebody who has opened the link of Ada's session."""
    return opened(lab, ada)


def opened(lab: LabClient, student: Browser) -> Browser:
    browser = lab.browser()
    reply = browser.get(urlsplit(link_of(lab, student)).path)
    assert (reply.status, reply.headers["location"]) == (302, "/observe")
    return browser


def test_the_link_leads_to_the_page_of_the_session(lab: LabClient, teacher: Browser) -> None:
    page = teacher.get("/observe", **HTML)
    assert page.status == 200
    assert "Ada Lovelace" in page.text
    assert '"read_only":true' in page.text
    assert session_of(lab).token not in page.text


def test_an_observer_sees_what_the_student_does(
    lab: LabClient, teacher: Browser, ada: Student
) -> None:
    ada.post("/api/devices/switch/on")
    devices = teacher.get("/api/state").json["devices"]
    assert devices["switch"]["value"] is True
    assert "hidden" not in devices
    session = teacher.get("/api/session").json
    assert (session["full_name"], session["read_only"]) == ("Ada Lovelace", True)
    assert ada.get("/api/session").json["read_only"] is False


def test_an_observer_sees_the_student_s_tasks(
    lab: LabClient, teacher: Browser, ada: Student
) -> None:
    task = ada.post("/api/tasks/wait", {"seconds": 60}).json
    (seen,) = teacher.get("/api/state").json["tasks"]
    assert seen["task_id"] == task["task_id"]
    assert teacher.get(f"/api/tasks/{task['task_id']}").status == 200


def test_an_observer_sees_what_the_student_did_last(
    lab: LabClient, teacher: Browser, ada: Student
) -> None:
    for share in (0.1, 0.2, 0.3):
        ada.post("/api/devices/dimmer/set", [share])
    ada.post("/api/devices/switch/on")
    ada.post("/api/devices/lamp/on")  # which it cannot
    task = ada.post("/api/tasks/wait", {"seconds": 60})
    deeds = [{**deed, "at": 0} for deed in teacher.get("/api/state").json["deeds"]]
    assert task.status == 200
    assert deeds == [
        {"at": 0, "device": "dimmer", "command": "set", "arguments": [0.3]},
        {"at": 0, "device": "switch", "command": "on", "arguments": None},
        {"at": 0, "task": "wait"},
    ]
    assert "deeds" not in ada.get("/api/state").json


def test_a_raised_hand_is_seen_by_observers_and_ends_with_the_session(
    lab: LabClient, teacher: Browser, ada: Student
) -> None:
    assert ada.post("/api/session/hand", {"raised": True}).json["hand_raised"] is True
    assert teacher.get("/api/session").json["hand_raised"] is True
    assert ada.post("/api/session/hand", {"raised": "yes"}).status == 400
    assert teacher.post("/api/session/hand", {"raised": False}).status == 403
    lab.finish(ada)
    assert lab.student().get("/api/session").json["hand_raised"] is False


@pytest.mark.parametrize(
    "path",
    ["/api/devices/switch/on", "/api/tasks/wait", "/api/tasks/x/stop", "/do", "/observe"],
)
def test_an_observer_can_do_nothing(lab: LabClient, teacher: Browser, path: str) -> None:
    assert teacher.post(path).status in (403, 405)
    assert lab.value("switch") is False


@pytest.mark.parametrize("path", ["/", "/mine", "/after"])
def test_what_is_not_for_observers_is_as_closed_as_ever(teacher: Browser, path: str) -> None:
    assert teacher.get(path).status == 403


def test_an_observer_is_nobody_for_a_public_view(teacher: Browser) -> None:
    assert teacher.get("/about").json == {"anonymous": True}


def test_looking_does_not_keep_a_session_alive(lab: LabClient, teacher: Browser) -> None:
    session = session_of(lab)
    before = session.last_poll
    teacher.get("/api/board")
    assert session.last_poll == before


def test_an_observer_s_view_ends_with_the_session(
    lab: LabClient, teacher: Browser, ada: Student
) -> None:
    link = link_of(lab, ada)
    lab.finish(ada)
    reply = teacher.get("/api/board")
    assert (reply.status, reply.json["code"]) == (403, "session-over")
    assert reply.json["reason"] == "observed"
    assert reply.json["back"] is None
    late = lab.browser().get(urlsplit(link).path, **HTML)
    assert late.status == 200
    assert "set-cookie" not in late.headers


def test_the_next_session_has_another_link(lab: LabClient, teacher: Browser, ada: Student) -> None:
    lab.finish(ada)
    lab.student(full_name="Grace Hopper")
    assert teacher.get("/api/board").status == 403


def test_many_may_look_at_once(lab: LabClient) -> None:
    student = lab.student()
    teachers = [opened(lab, student) for _ in range(3)]
    assert [each.get("/api/board").status for each in teachers] == [200, 200, 200]


def test_a_student_who_opens_the_own_link_stays_the_student(lab: LabClient) -> None:
    student = lab.student()
    student.get(urlsplit(link_of(lab, student)).path)
    assert student.get("/api/session").json["read_only"] is False
    assert student.post("/api/devices/switch/on").status == 200


def test_a_student_who_opened_a_link_that_is_over_is_told_of_the_own_end(lab: LabClient) -> None:
    student = lab.student(back="https://campus.example.org/")
    student.get(urlsplit(link_of(lab, student)).path)
    lab.finish(student)
    reply = student.get("/api/state")
    assert reply.json["reason"] != "observed"
    assert reply.json["back"] == "https://campus.example.org/"


def test_a_student_whose_time_is_over_may_look_at_another_s_session(lab: LabClient) -> None:
    first = lab.student(full_name="Ada")
    lab.finish(first)
    second = lab.student(full_name="Grace")
    first.get(urlsplit(link_of(lab, second)).path)
    assert first.get("/api/session").json["full_name"] == "Grace"
    assert first.post("/api/devices/switch/on").status == 403


@pytest.mark.parametrize("change", ["", "x", "é", "handle-only", "other-mac"])
def test_a_link_that_was_made_up_opens_nothing(lab: LabClient, change: str) -> None:
    token = link_of(lab, lab.student()).rpartition("/")[2]
    handle, _, mac = token.partition(".")
    made_up = {"handle-only": handle, "other-mac": f"{handle}.{'A' * len(mac)}"}.get(change, change)
    reply = lab.browser().get(f"/observe/{made_up}", **HTML)
    assert reply.status in (403, 404)
    assert "set-cookie" not in reply.headers


def test_the_link_has_the_host_that_was_asked(make_lab: MakeLab) -> None:
    lab = make_lab()
    assert link_of(lab, lab.student()).startswith("http://lab.test/observe/")


def test_the_link_has_the_public_address_where_there_is_one(make_lab: MakeLab) -> None:
    lab = make_lab(base_url="https://labs.example.org/one")
    student = lab.student()
    assert student.get("/one/link").text.startswith("https://labs.example.org/one/observe/")


def test_the_link_has_no_host_that_is_not_allowed(make_lab: MakeLab) -> None:
    lab = make_lab(allowed_hosts=["lab.test"])
    student = lab.student()
    evil = student.get("/link", HTTP_HOST="evil.example").text
    assert re.match(r"http://127\.0\.0\.1:\d+/observe/", evil)


def test_whoever_observes_may_not_act(lab: LabClient) -> None:
    lab.student()
    devices = Devices(lab.agent.board, lab.agent.worker, lab.agent.runtime.node.programming)
    observer = Observer(lab.agent.sessions.user(session_of(lab)))
    with context.acting(user=observer), pytest.raises(Forbidden):
        devices.switch.on()
    assert lab.value("switch") is False


def test_links_are_the_same_each_time(lab: LabClient) -> None:
    student = lab.student()
    assert link_of(lab, student) == link_of(lab, student)
