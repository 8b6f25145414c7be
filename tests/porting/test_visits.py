"""A student's way in, staying and leaving, as weblablib's manual describes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bottle import request

from labnode.clock import ManualClock
from labnode.lab import Lab

from .bench import Bench

MakeBench = Callable[..., Bench]


def should_finish(bench: Bench, session_id: str) -> float:
    answer: float = bench.server("GET", f"/{session_id}/status").json["should_finish"]
    return answer


def test_a_student_goes_first_where_the_lab_says(bench: Bench, lab: Lab) -> None:
    assert bench.student().entered.headers["location"] == "/"
    bench.end_all()
    lab.initial_url(lambda: f"/login?name={lab.user.username}")
    assert bench.student(username="ada").entered.headers["location"] == "/login?name=ada"


@pytest.mark.parametrize("base", ["", "/lab1", "https://labs.example.org/lab1"])
@pytest.mark.parametrize(
    ("given", "first"),
    [
        ("/active", "/active"),
        ("/active?step=1", "/active?step=1"),
        ("active", "/active"),
        ("/", "/"),
        ("", "/"),
        ("/lab10", "/lab10"),
    ],
)
def test_the_first_page_is_below_the_base_url(
    make_bench: MakeBench, base: str, given: str, first: str
) -> None:
    bench = make_bench(base_url=base)
    bench.lab.initial_url(lambda: given)
    prefix = base.removeprefix("https://labs.example.org")
    assert bench.student().entered.headers["location"] == prefix + first


@pytest.mark.parametrize("asked_below", ["/lab1", ""])  # a proxy may remove the base
def test_the_address_of_a_view_by_its_name_has_the_base_url_in_front(
    make_bench: MakeBench, asked_below: str
) -> None:
    bench = make_bench(base_url="/lab1")
    bench.lab.initial_url(lambda: bench.lab.app.get_url("seen", page="2"))
    student = bench.student()
    assert student.entered.headers["location"] == "/lab1/active?page=2"

    def view() -> str:
        return f"{request.script_name} {bench.lab.app.get_url('seen')}"

    reply = bench.ask(student, view, base=asked_below)
    assert reply.text == "/lab1/ /lab1/active"


def test_the_first_page_may_be_elsewhere(make_bench: MakeBench) -> None:
    bench = make_bench(base_url="/lab1")
    bench.lab.initial_url(lambda: "https://elsewhere.example.org/?a=b")
    assert bench.student().entered.headers["location"] == "https://elsewhere.example.org/?a=b"


def test_strangers_are_sent_to_the_link_for_them(make_bench: MakeBench) -> None:
    bench = make_bench(unauthorized_link="https://weblab.example.org/login")
    reply = bench.ask(bench.browser(), lambda: "seen")
    assert (reply.status, reply.headers["location"]) == (302, "https://weblab.example.org/login")


def test_strangers_are_shown_the_page_for_them(make_bench: MakeBench, tmp_path: Path) -> None:
    (tmp_path / "forbidden.html").write_text("Ask your teacher.")
    bench = make_bench(unauthorized_template=str(tmp_path / "forbidden.html"))
    reply = bench.ask(bench.browser(), lambda: "seen")
    assert (reply.status, reply.text) == (403, "Ask your teacher.")


def test_every_request_of_the_student_is_a_sign_of_life(make_bench: MakeBench) -> None:
    clock = ManualClock()
    bench = make_bench(clock=clock)
    student = bench.student()
    for _ in range(5):
        clock.advance(10)
        assert bench.view(student, lambda: bench.lab.user.time_without_polling) == 0
    assert bench.view(student, lambda: bench.lab.user.active)


def test_a_poll_is_a_sign_of_life(make_bench: MakeBench) -> None:
    clock = ManualClock()
    bench = make_bench(clock=clock)
    student = bench.student()
    clock.advance(10)
    assert student.post(f"{student.callback}/poll").json == {"success": True, "time_left": 50}
    clock.advance(10)
    assert bench.view(student, lambda: bench.lab.user.active)


def test_polling_in_a_view_is_a_sign_of_life(make_bench: MakeBench) -> None:
    clock = ManualClock()
    bench = make_bench(clock=clock)
    student = bench.student()

    def view() -> float:
        clock.advance(5)
        bench.lab.poll()
        return bench.lab.user.time_without_polling

    assert bench.view(student, view) == 0


def test_silence_ends_a_session(make_bench: MakeBench) -> None:
    clock = ManualClock()
    bench = make_bench(clock=clock)
    student = bench.student()
    clock.advance(16)
    bench.agent.sessions.step()
    assert should_finish(bench, student.session_id) in (-1, 2)
    assert bench.finish(student)["finished"] is True


@pytest.mark.parametrize("never", [0, -1])
def test_silence_ends_no_session_whose_timeout_is_never(make_bench: MakeBench, never: int) -> None:
    clock = ManualClock()
    bench = make_bench(f"timeout: {never}", clock=clock)
    student = bench.student(3600)
    clock.advance(3000)
    bench.agent.sessions.step()
    assert bench.view(student, lambda: bench.lab.user.active)


def test_logging_out_ends_the_session(bench: Bench, lab: Lab) -> None:
    student = bench.student()
    bench.view(student, lab.logout)
    assert bench.finish(student)["finished"] is True
    assert should_finish(bench, student.session_id) == -1
    user = bench.view(student, lambda: lab.user, "login")
    assert (user.active, user.exited) == (False, True)


def test_the_central_server_is_told_when_to_ask_again(make_bench: MakeBench) -> None:
    bench = make_bench("poll_interval: 7")
    assert should_finish(bench, bench.student(300).session_id) == 7


def test_the_central_server_need_not_ask_again(make_bench: MakeBench) -> None:
    bench = make_bench("poll_interval: 0")
    assert should_finish(bench, bench.student(300).session_id) == 0


def test_a_start_that_fails_is_cleaned_up_and_the_next_student_can_come(
    bench: Bench, lab: Lab
) -> None:
    happened: list[str] = []

    def start(client_data: object, server_data: object) -> None:
        happened.append("start")
        if happened == ["start"]:
            raise OSError("The programmer is not plugged in.")

    lab.on_start(start)
    lab.on_dispose(lambda: happened.append("dispose"))
    reply = bench.start()
    assert (reply.status, reply.json["error"]) == (503, True)
    assert "not plugged in" in reply.json["message"]
    assert happened == ["start", "dispose"]
    assert bench.student().entered.status == 302


@pytest.mark.parametrize("users", [1, 3])
def test_every_session_is_disposed_once(make_bench: MakeBench, users: int) -> None:
    bench = make_bench(f"users: {users}")
    disposed: list[str] = []
    bench.lab.on_dispose(lambda: disposed.append(bench.lab.user.username))
    names = [f"student{n}" for n in range(users)]
    students = [bench.student(username=name) for name in names]
    for student in students:
        bench.view(student, bench.lab.logout)
        bench.finish(student)
        bench.finish(student)
    assert sorted(disposed) == names
