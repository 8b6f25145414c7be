"""The user, as weblablib's manual describes it: in views, hooks and tasks, and after the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.clock import ManualClock
from labnode.errors import BadInput
from labnode.lab import Lab

from .bench import Bench

ATTRIBUTES = {
    "username": "ada",
    "username_unique": "ada@school",
    "full_name": "Ada Lovelace",
    "locale": "es",
    "back": "http://moodle.example.org/course",
    "experiment_name": "oven",
    "category_name": "Thermal",
    "experiment_id": "oven@Thermal",
    "active": True,
    "is_anonymous": False,
    "exited": False,
    "user": None,
    "data": {},
}
ADA = {
    "username": "ada",
    "username.unique": "ada@school",
    "full_name": "Ada Lovelace",
    "locale": "es",
    "back": "http://moodle.example.org/course",
    "experiment_id.experiment_name": "oven",
    "experiment_id.category_name": "Thermal",
}


def test_views_hooks_and_tasks_see_the_same_user(bench: Bench, lab: Lab) -> None:
    def look() -> dict[str, Any]:
        return {name: getattr(lab.user, name) for name in ATTRIBUTES}

    hooks: dict[str, dict[str, Any]] = {}
    lab.on_start(lambda client_data, server_data: hooks.update(start=look()))
    lab.on_dispose(lambda: hooks.update(dispose=look()))

    @lab.task()
    def in_background() -> dict[str, Any]:
        return look()

    @lab.task(unique="global")
    def on_hardware() -> dict[str, Any]:
        return look()

    student = bench.student(**ADA)
    assert bench.view(student, look) == ATTRIBUTES
    assert bench.view(student, lambda: in_background.delay().join(5)).result == ATTRIBUTES
    assert bench.view(student, lambda: on_hardware.delay().join(5)).result == ATTRIBUTES
    bench.finish(student)
    assert hooks["start"] == ATTRIBUTES
    assert hooks["dispose"] == {**ATTRIBUTES, "active": False}


def test_the_dates_and_the_time_left_belong_together(bench: Bench, lab: Lab) -> None:
    student = bench.student(300)
    user = bench.view(student, lambda: lab.user)
    assert 290 < user.time_left <= 300
    assert user.max_date - user.start_date == pytest.approx(300, abs=1)


def test_what_the_start_brought_is_kept_and_read_only(bench: Bench, lab: Lab) -> None:
    given: list[Any] = []
    lab.on_start(lambda client_data, server_data: given.extend([client_data, server_data]))
    student = bench.student(**ADA)
    user = bench.view(student, lambda: lab.user)
    assert [user.request_client_data, user.request_server_data] == given
    assert given[1]["request.full_name"] == "Ada Lovelace"
    with pytest.raises(TypeError):
        user.request_client_data["x"] = 1


def test_somebody_without_a_session_is_anonymous(bench: Bench, lab: Lab) -> None:
    user = bench.view(bench.browser(), lambda: lab.user, "public")
    assert (user.is_anonymous, user.active, user.locale, user.user) == (True, False, None, None)
    assert (user.username, user.session_id, dict(user.data)) == ("", None, {})


@pytest.mark.parametrize("access", ["active", "login"])
def test_anonymous_users_are_shown_no_view(bench: Bench, access: str) -> None:
    reply = bench.ask(bench.browser(), lambda: pytest.fail("it was shown"), access)
    assert reply.status == 403


def test_a_user_whose_session_is_over_still_sees_what_needs_a_login(bench: Bench, lab: Lab) -> None:
    lab.on_start(lambda client_data, server_data: lab.user.data.update(files=["a.hex"]))
    student = bench.student(**ADA)
    bench.finish(student)
    user = bench.view(student, lambda: lab.user, "login")
    assert (user.active, user.is_anonymous, user.time_left) == (False, False, 0)
    assert (user.full_name, user.data) == ("Ada Lovelace", {"files": ["a.hex"]})


def test_a_user_whose_session_is_over_is_sent_back(bench: Bench) -> None:
    student = bench.student(**ADA)
    bench.finish(student)
    reply = bench.ask(student, lambda: pytest.fail("it was shown"))
    assert (reply.status, reply.headers["location"]) == (302, ADA["back"])


def test_an_expired_user_is_forgotten_after_the_time_for_that(
    make_bench: Callable[..., Bench],
) -> None:
    clock = ManualClock()
    bench = make_bench(clock=clock, expired_users_timeout=240)
    student = bench.student()
    bench.finish(student)
    clock.advance(239)
    assert bench.ask(student, lambda: "seen", "login").text == "seen"
    clock.advance(2)
    bench.agent.sessions.step()
    assert bench.ask(student, lambda: "seen", "login").status == 403


def test_user_data_goes_from_hooks_to_views_to_tasks_and_back(bench: Bench, lab: Lab) -> None:
    seen: list[Any] = []
    lab.on_start(lambda client_data, server_data: lab.user.data.update(way=["start"]))
    lab.on_dispose(lambda: seen.append(lab.user.data["way"]))

    def walk(where: str) -> None:
        lab.user.data["way"] = [*lab.user.data["way"], where]

    @lab.task()
    def walk_on() -> None:
        walk("task")

    student = bench.student()
    bench.view(student, lambda: walk("view"))
    assert bench.view(student, lambda: walk_on.delay().join(5)).done
    bench.view(student, lambda: walk("view again"))
    bench.finish(student)
    assert seen == [["start", "view", "task", "view again"]]


def test_user_data_survives_a_restart_of_the_node(tmp_path: Path) -> None:
    seen: list[tuple[bool, Any]] = []
    for _ in range(2):
        bench = Bench(tmp_path, state_dir=tmp_path / "state")

        def start(client_data: Any, server_data: Any, lab: Lab = bench.lab) -> None:
            seen.append((lab.restarted, lab.user.data.get("starts")))
            lab.user.data["starts"] = len(seen)

        bench.lab.on_start(start)
        with bench:
            if not seen:
                bench.student()
            else:
                (session,) = bench.agent.sessions.live()
                assert session.started.wait(5)
    assert seen == [(False, None), (True, 1)]


def test_user_data_is_json_data(bench: Bench, lab: Lab) -> None:
    student = bench.student()
    with pytest.raises(BadInput, match="must be JSON data"):
        bench.view(student, lambda: lab.user.data.update(file=object()))


def test_the_user_loader_loads_the_labs_own_user(bench: Bench, lab: Lab) -> None:
    lab.user_loader(lambda username_unique: {"folder": f"of {username_unique}"})
    student = bench.student(**ADA)
    assert bench.view(student, lambda: lab.user.user) == {"folder": "of ada@school"}
    assert bench.view(bench.browser(), lambda: lab.user.user, "public") is None


def test_tokens_fit_into_urls_and_are_never_the_same(lab: Lab) -> None:
    tokens = {lab.create_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"[\w-]{43}", token) for token in tokens)
    assert len(lab.create_token(16)) == 22
