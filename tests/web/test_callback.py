from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from labnode.testing import LabClient
from tests.kit.labs import lab_of
from tests.web.conftest import MakeLab


def callback_of(lab: LabClient, **server_data: str) -> str:
    return urlsplit(lab.start(**server_data).json["url"]).path


def cookie_attributes(header: str) -> list[str]:
    return [part.strip() for part in header.split(";")][1:]


def test_the_callback_gives_a_cookie_and_leads_to_the_page(lab: LabClient) -> None:
    reply = lab.browser().get(callback_of(lab))
    assert (reply.status, reply.headers["location"]) == (302, "/")
    assert reply.headers["set-cookie"].startswith("labnode_bench=")
    assert cookie_attributes(reply.headers["set-cookie"]) == ["HttpOnly", "Path=/", "SameSite=Lax"]


def test_the_address_has_neither_the_session_id_nor_a_cookie_in_it(lab: LabClient) -> None:
    reply = lab.start().json
    assert reply["session_id"] not in reply["url"]


def test_an_unknown_token_is_forbidden(lab: LabClient) -> None:
    assert lab.browser().get("/callback/unknown").status == 403


def test_the_session_belongs_to_the_first_browser_that_comes_back(lab: LabClient) -> None:
    callback = callback_of(lab)
    first, second = lab.browser(), lab.browser()
    first.get(callback)
    second.get(callback)
    assert second.get("/mine").status == 200
    assert first.get("/mine").status == 403
    assert lab.browser().get(callback).status == 403


def test_the_students_own_browser_may_use_the_address_again(lab: LabClient) -> None:
    student = lab.student()
    student.get("/mine")
    again = student.get(student.callback)
    assert again.status == 302
    assert "set-cookie" not in again.headers
    assert student.get("/mine").status == 200


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"HTTP_SEC_PURPOSE": "prefetch;prerender"}),
        ("GET", {"HTTP_PURPOSE": "prefetch"}),
        ("GET", {"HTTP_X_MOZ": "prefetch"}),
        ("GET", {"HTTP_PURPOSE": "preview"}),
    ],
)
def test_who_is_only_looking_gets_no_cookie(
    lab: LabClient, method: str, headers: dict[str, str]
) -> None:
    callback = callback_of(lab)
    reply = lab.request(method, callback, **headers)
    assert "set-cookie" not in reply.headers
    assert "location" not in reply.headers
    student = lab.browser()
    assert student.get(callback).status == 302
    assert student.get("/mine").status == 200


def test_after_the_end_the_callback_leads_back(lab: LabClient) -> None:
    student = lab.student(back="https://weblab.example/")
    lab.finish(student)
    reply = lab.browser().get(student.callback, HTTP_ACCEPT="text/html")
    assert reply.headers["location"] == "https://weblab.example/"


def test_below_a_base_path_the_cookie_is_for_that_path(make_lab: MakeLab) -> None:
    lab = make_lab(base_url="/lab1")
    student = lab.student()
    assert student.callback.startswith("/lab1/callback/")
    assert student.entered.headers["location"] == "/lab1/"
    assert "Path=/lab1" in cookie_attributes(student.entered.headers["set-cookie"])


def test_behind_https_the_cookie_is_secure(make_lab: MakeLab) -> None:
    student = make_lab(scheme="https").student()
    assert "Secure" in cookie_attributes(student.entered.headers["set-cookie"])


def test_in_a_frame_of_the_server_the_cookie_is_partitioned(make_lab: MakeLab) -> None:
    student = make_lab(embed=True, scheme="https").student()
    attributes = cookie_attributes(student.entered.headers["set-cookie"])
    assert attributes == ["HttpOnly", "Path=/", "SameSite=None", "Secure", "Partitioned"]
    assert student.get("/mine").status == 200


def test_a_repeated_reservation_gets_the_same_address(lab: LabClient) -> None:
    data = {
        "client_initial_data": {},
        "server_initial_data": {"priority.queue.slot.length": 60, "weblab_reservation_id": "r1"},
    }
    first, second = lab.server("POST", "/", data).json, lab.server("POST", "/", data).json
    assert first == second


def test_polling_keeps_the_student_in(lab: LabClient) -> None:
    student = lab.student(seconds=60)
    reply = student.post(f"{student.callback}/poll")
    assert reply.json["success"] is True
    assert 0 < reply.json["time_left"] <= 60
    assert student.get(f"{student.callback}/poll").json["success"] is True


def test_leaving_by_post_ends_the_session(lab: LabClient) -> None:
    student = lab.student()
    assert student.leave().json == {"success": True}
    assert lab.end_all()
    assert lab.server("GET", f"/{student.session_id}/status").json == {"should_finish": -1}
    assert student.post(f"{student.callback}/poll").json == {"success": False, "reason": "exited"}


def test_a_link_cannot_log_a_student_out(lab: LabClient) -> None:
    student = lab.student()
    assert student.get(f"{student.callback}/logout").status == 405
    assert student.get("/mine").status == 200


@pytest.mark.parametrize("action", ["poll", "leaving", "logout"])
def test_somebody_elses_session_cannot_be_touched(lab: LabClient, action: str) -> None:
    student = lab.student()
    student.get("/mine")
    reply = lab.browser().post(f"{student.callback}/{action}")
    assert (reply.status, reply.json) == (403, {"success": False, "reason": "forbidden"})
    assert student.get("/mine").status == 200


def test_the_lab_may_say_where_students_go_first(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.lab.initial_url(lambda: "/mine")
    assert lab.student().entered.headers["location"] == "/mine"


def test_a_lab_may_have_a_name_of_any_letters(tmp_path: Path) -> None:
    cookies = set()
    for name in ("Péndulo", "日本", "中国"):
        folder = tmp_path / str(len(cookies))
        folder.mkdir()
        with lab_of(folder, f"schema: 1\nlab: {{name: {name}}}\ndevices: {{}}\n") as lab:
            student = lab.student()
            assert student.get("/api/session").status == 200
            cookies.add(student.entered.headers["set-cookie"].partition("=")[0])
    assert len(cookies) == 3
    assert all(re.fullmatch(r"labnode_[A-Za-z0-9_]+", cookie) for cookie in cookies)
