from __future__ import annotations

import threading

import pytest

from labnode.errors import Busy
from labnode.sessions import Session
from labnode.testing import LabClient
from tests.web.conftest import MakeLab

HTML = {"HTTP_ACCEPT": "text/html"}


def test_a_route_without_a_level_is_for_the_active_user_alone(lab: LabClient) -> None:
    student = lab.student(username="ada")
    assert student.get("/mine").json == {"user": "ada", "active": True}
    assert lab.browser().get("/mine").status == 403


def test_a_public_route_is_for_everybody(lab: LabClient) -> None:
    assert lab.browser().get("/about").json == {"anonymous": True}
    assert lab.student().get("/about").json == {"anonymous": False}


def test_a_login_route_is_open_to_the_student_after_the_end(lab: LabClient) -> None:
    student = lab.student(username="ada")
    lab.finish(student)
    assert student.get("/after").json == {"user": "ada", "active": False}
    assert lab.browser().get("/after").status == 403


@pytest.mark.parametrize("path", ["/", "/mine", "/api/board", "/api/session"])
def test_nobody_gets_in_without_a_session(lab: LabClient, path: str) -> None:
    assert lab.browser().get(path).status == 403


def test_a_program_without_a_session_is_told_so_in_json(lab: LabClient) -> None:
    reply = lab.browser().get("/api/board")
    assert reply.json == {"error": True, "code": "forbidden", "message": "Log in first."}


def test_a_page_for_the_active_user_leads_back_after_the_end(lab: LabClient) -> None:
    student = lab.student(back="https://weblab.example/?finished=true")
    lab.finish(student)
    reply = student.get("/", **HTML)
    assert (reply.status, reply.headers["location"]) == (
        302,
        "https://weblab.example/?finished=true",
    )


def test_without_an_address_to_go_back_to_there_is_a_farewell(lab: LabClient) -> None:
    student = lab.student(locale="es")
    lab.finish(student)
    reply = student.get("/", **HTML)
    assert reply.status == 200
    assert "text/html" in reply.headers["content-type"]
    assert 'lang="es"' in reply.text


def test_the_api_says_that_the_session_is_over_and_why(lab: LabClient) -> None:
    student = lab.student(back="https://weblab.example/")
    student.leave()
    reply = student.get("/api/board")
    assert (reply.status, reply.json) == (
        403,
        {
            "error": True,
            "code": "session-over",
            "message": "The session is over.",
            "back": "https://weblab.example/",
            "reason": "exited",
        },
    )


@pytest.mark.parametrize(
    "back",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/",
        "/relative",
        "http://",
        "ftp://x/",
    ],
)
def test_only_web_addresses_are_gone_back_to(lab: LabClient, back: str) -> None:
    student = lab.student(back=back)
    lab.finish(student)
    assert "location" not in student.get("/", **HTML).headers
    assert student.get("/api/board").json["back"] is None


def test_only_allowed_origins_are_gone_back_to_where_there_are_some(make_lab: MakeLab) -> None:
    lab = make_lab(allowed_back_origins=["https://weblab.example"])
    for back, allowed in (
        ("https://weblab.example/x", True),
        ("https://weblab.example.evil.test/", False),
        ("https://weblab.example@evil.test/", False),
        ("http://weblab.example/", False),
    ):
        student = lab.student(back=back)
        lab.finish(student)
        assert ("location" in student.get("/", **HTML).headers) is allowed, back


def test_a_line_end_in_the_back_address_makes_no_second_header(lab: LabClient) -> None:
    student = lab.student(back="https://weblab.example/\r\nSet-Cookie: x=1")
    lab.finish(student)
    location = student.get("/", **HTML).headers.get("location", "")
    assert "\r" not in location
    assert "\n" not in location


def test_the_forbidden_page_can_be_somewhere_else(make_lab: MakeLab) -> None:
    lab = make_lab(unauthorized_link="https://weblab.example/login")
    reply = lab.browser().get("/", **HTML)
    assert (reply.status, reply.headers["location"]) == (302, "https://weblab.example/login")


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_ORIGIN": "https://evil.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site", "HTTP_ORIGIN": "http://lab.test"},
        {"HTTP_ORIGIN": "http://lab.test.evil.example"},
    ],
)
def test_another_site_cannot_make_a_student_do_something(
    lab: LabClient, headers: dict[str, str]
) -> None:
    student = lab.student()
    assert student.post("/api/devices/switch/on", **headers).status == 403
    assert student.post("/do", **headers).status == 403
    assert lab.value("switch") is False


@pytest.mark.parametrize(
    "headers",
    [{}, {"HTTP_ORIGIN": "http://lab.test"}, {"HTTP_SEC_FETCH_SITE": "same-origin"}],
)
def test_the_own_page_and_scripts_may(lab: LabClient, headers: dict[str, str]) -> None:
    student = lab.student()
    assert student.post("/api/devices/switch/on", **headers).status == 200


def test_the_own_origin_is_that_of_base_url_where_it_has_one(make_lab: MakeLab) -> None:
    lab = make_lab(base_url="https://labs.example.org/lab1")
    student = lab.student()
    own, host = "https://labs.example.org", "http://lab.test"
    assert student.post("/lab1/do", HTTP_ORIGIN=own).status == 200
    assert student.post("/lab1/do", HTTP_ORIGIN=host).status == 403


def test_while_a_session_is_being_resumed_a_page_waits_and_a_program_is_told(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = lab.student()
    student.get("/mine")

    def not_yet(session: Session) -> bool:
        raise Busy("The lab is getting ready.")

    monkeypatch.setattr(lab.agent.sessions, "ready", not_yet)
    page, answer = student.get("/", **HTML), student.get("/api/board")
    assert page.status == 503
    assert 'http-equiv="refresh"' in page.text
    assert (answer.status, answer.json["code"]) == (503, "busy")


def test_an_unexpected_error_of_a_view_says_nothing_about_it(
    lab: LabClient, caplog: pytest.LogCaptureFixture
) -> None:
    reply = lab.student().get("/broken")
    assert reply.status == 500
    assert "secret" not in reply.text
    assert "the view's own secret" in caplog.text


def test_a_view_that_waits_ends_with_its_session(lab: LabClient) -> None:
    student = lab.student()
    replies = []
    view = threading.Thread(target=lambda: replies.append(student.get("/wait")), name="view")
    view.start()
    lab.finish(student)
    view.join(10)
    assert [reply.status for reply in replies] in ([200], [403])


@pytest.mark.parametrize(
    "cookie",
    [
        "labnode_bench=",
        "labnode_bench=a.b.c",
        "labnode_bench=..",
        "x",
        "=;;=",
        "labnode_bench=\xff",
        'labnode_bench="',
        "expires=1; path=2",
        "labnode_bench=" + "a" * 4000,
    ],
)
def test_a_senseless_cookie_is_nobody(lab: LabClient, cookie: str) -> None:
    assert lab.request("GET", "/api/board", HTTP_COOKIE=cookie).status == 403


@pytest.mark.parametrize(
    "foreign",
    ["a/b=1", "user@x=1", 'x={"a":1}', 'q="', "=", "caf\xe9=1", "labnode=1", "x" * 8000],
)
def test_a_cookie_of_another_application_on_the_host_keeps_nobody_out(
    lab: LabClient, foreign: str
) -> None:
    student = lab.student()
    own = student.entered.headers["set-cookie"].partition(";")[0]
    for header in (f"{foreign}; {own}", f"{own}; {foreign}"):
        assert lab.request("GET", "/mine", HTTP_COOKIE=header).status == 200


def test_of_two_cookies_of_one_name_that_of_the_longer_path_counts(lab: LabClient) -> None:
    own = lab.student().entered.headers["set-cookie"].partition(";")[0]
    name = own.partition("=")[0]
    assert lab.request("GET", "/mine", HTTP_COOKIE=f"{own}; {name}=x.y.z").status == 200


def test_a_forged_cookie_is_nobody(lab: LabClient) -> None:
    student = lab.student()
    name, _, value = student.entered.headers["set-cookie"].partition(";")[0].partition("=")
    handle, nonce, mac = value.split(".")
    for forged in (f"{handle}.{nonce}x.{mac}", f"{handle}.{nonce}.{mac[:-1]}0", f"x.{nonce}.{mac}"):
        if forged != value:
            assert lab.request("GET", "/mine", HTTP_COOKIE=f"{name}={forged}").status == 403


def test_unknown_addresses_are_404_in_the_callers_language_of_data(lab: LabClient) -> None:
    student = lab.student()
    assert student.get("/nowhere").status == 404
    page = student.get("/nowhere", HTTP_ACCEPT="text/html", HTTP_ACCEPT_LANGUAGE="es")
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>Esa página no existe</h1>" in page.text
    assert "Al laboratorio" in page.text
    assert student.get("/api/nowhere").json["error"] is True
    assert student.request("DELETE", "/mine", b"").status == 405


def test_every_answer_carries_the_security_headers(lab: LabClient) -> None:
    student = lab.student()
    for reply in (
        student.get("/"),
        student.get("/api/board"),
        student.get("/nowhere"),
        lab.start(),
    ):
        assert "default-src 'self'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"


def test_pages_of_the_labs_own_may_have_forms(lab: LabClient) -> None:
    assert lab.student().get("/mine").headers["referrer-policy"] == "same-origin"
