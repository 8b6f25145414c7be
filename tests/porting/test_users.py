"""The user, as weblablib's manual describes it: in views, hooks and tasks, and after the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bottle import redirect

from labnode.clock import ManualClock
from labnode.errors import BadInput, LabnodeError
from labnode.lab import Lab
from labnode.testing import Student
from tests.kit.waiting import PATIENCE

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


def test_a_dictionary_that_on_start_returns_is_the_user_data(bench: Bench, lab: Lab) -> None:
    lab.on_start(
        lambda client_data, server_data: {"heated": 0, "by": server_data["request.username"]}
    )
    lab.on_start(lambda client_data, server_data: lab.wait(0))
    student = bench.student(username="ada")
    assert bench.view(student, lambda: lab.user.data) == {"heated": 0, "by": "ada"}


def test_what_on_start_returns_has_to_be_json_data(bench: Bench, lab: Lab) -> None:
    lab.on_start(lambda client_data, server_data: {"lamp": object()})
    reply = bench.start()
    assert (reply.status, reply.json["error"]) == (503, True)
    assert "must be JSON data" in reply.json["message"]


def stored(bench: Bench, student: Student) -> Any:
    """The user data in the database."""
    (row,) = bench.agent.store.select("sessions", "id = ?", student.session_id)
    return row["data"]


def test_a_change_deep_inside_user_data_is_stored_at_the_end_of_a_view(
    bench: Bench, lab: Lab
) -> None:
    lab.on_start(lambda client_data, server_data: {"seen": {"pages": []}})

    def see(page: int) -> None:
        lab.user.data["seen"]["pages"].append(page)

    def see_and_go_elsewhere() -> None:
        see(2)
        redirect("/public")

    student = bench.student()
    (session,) = bench.agent.sessions.live()
    bench.view(student, lambda: see(1))
    assert session.data == {"seen": {"pages": [1]}}
    assert bench.ask(student, see_and_go_elsewhere).headers["location"].endswith("/public")
    assert session.data == {"seen": {"pages": [1, 2]}}


def test_a_change_deep_inside_user_data_is_stored_at_the_end_of_a_hook(
    bench: Bench, lab: Lab
) -> None:
    def start(client_data: Any, server_data: Any) -> None:
        lab.user.data["way"] = {}
        lab.user.data["way"]["begun"] = True

    lab.on_start(start)
    lab.on_dispose(lambda: lab.user.data["way"].update(ended=True))
    student = bench.student()
    bench.finish(student)
    assert stored(bench, student) == {"way": {"begun": True, "ended": True}}


def test_a_change_deep_inside_user_data_is_stored_by_a_task_with_store(
    bench: Bench, lab: Lab
) -> None:
    lab.on_start(lambda client_data, server_data: {"rows": []})

    @lab.task()
    def measure() -> None:
        lab.user.data["rows"].append([1, 2.5])
        lab.user.data.store()

    student = bench.student()
    (session,) = bench.agent.sessions.live()
    assert bench.agent.tasks.get(bench.view(student, measure.delay).task_id).join(PATIENCE).done
    assert session.data == {"rows": [[1, 2.5]]}


def test_a_change_deep_inside_that_is_no_json_data_is_withdrawn(bench: Bench, lab: Lab) -> None:
    lab.on_start(lambda client_data, server_data: {"files": ["a.hex"]})
    student = bench.student()
    reply = bench.ask(student, lambda: lab.user.data["files"].append(object()))
    assert (reply.status, reply.json["code"]) == (400, "bad-input")
    assert bench.view(student, lambda: dict(lab.user.data)) == {"files": ["a.hex"]}


def test_after_the_session_user_data_can_only_be_read(bench: Bench, lab: Lab) -> None:
    lab.on_start(lambda client_data, server_data: {"files": ["b.hex", "a.hex"]})
    student = bench.student()
    bench.finish(student)
    for write in (
        lambda data: data.store(),
        lambda data: data.update(x=1),
        lambda data: data.clear(),
    ):
        with pytest.raises(LabnodeError, match="can only be read"):
            bench.view(student, lambda write=write: write(lab.user.data), "login")

    def sort() -> None:
        lab.user.data["files"].sort()

    bench.view(student, sort, "login")
    assert stored(bench, student) == {"files": ["b.hex", "a.hex"]}


def test_in_on_dispose_the_session_is_over_however_it_ended(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    seen: list[Any] = []

    def dispose() -> None:
        user = bench.lab.user
        seen.append((user.active, user.time_left, user.exited, user.is_anonymous))

    bench.lab.on_dispose(dispose)
    bench.finish(bench.student())
    student = bench.student()
    bench.view(student, bench.lab.logout)
    bench.finish(student)
    assert seen == [(False, 0, False, False), (False, 0, True, False)]


def test_the_last_poll_is_a_date(make_bench: Callable[..., Bench]) -> None:
    clock = ManualClock()
    bench = make_bench(clock=clock)
    student = bench.student()
    bench.view(student, lambda: None)
    polled = clock.wall()
    clock.advance(10)
    assert bench.lab.user.last_poll == 0
    (session,) = bench.agent.sessions.live()
    user = bench.agent.sessions.user(session)
    assert (user.last_poll, user.time_without_polling) == (polled, 10)


def test_user_data_survives_a_restart_of_the_node(tmp_path: Path) -> None:
    seen: list[tuple[bool, Any]] = []
    for _ in range(2):
        bench = Bench(tmp_path, state_dir=tmp_path / "state")

        def start(client_data: Any, server_data: Any, lab: Lab = bench.lab) -> dict[str, Any]:
            seen.append((lab.restarted, lab.user.data.get("starts")))
            return {"starts": len(seen)}

        bench.lab.on_start(start)
        with bench:
            if not seen:
                bench.student()
            else:
                (session,) = bench.agent.sessions.live()
                assert session.started.wait(5)
                assert bench.agent.sessions.user(session).data == {"starts": 1}
    assert seen == [(False, None), (True, 1)]


def test_user_data_is_json_data(bench: Bench, lab: Lab) -> None:
    student = bench.student()
    with pytest.raises(BadInput, match="must be JSON data"):
        bench.view(student, lambda: lab.user.data.update(file=object()))


def test_a_lab_has_one_user_loader_and_one_initial_url_and_any_number_of_other_hooks() -> None:
    lab = Lab()
    for declare in (lab.on_start, lab.on_dispose, lab.on_start, lab.on_dispose):
        declare(lambda *data: None)

    def first(username_unique: str = "") -> str:
        return username_unique

    lab.user_loader(first)
    lab.initial_url(first)
    for declare, name in ((lab.user_loader, "user_loader"), (lab.initial_url, "initial_url")):
        with pytest.raises(LabnodeError, match=rf"two @lab\.{name}, and first\(\) is the first"):
            declare(lambda *data: "")


def test_what_the_user_loader_raises_is_raised_where_the_user_is_asked_for(
    bench: Bench, lab: Lab
) -> None:
    def load(username_unique: str) -> Any:
        raise LookupError(f"no {username_unique}")

    lab.user_loader(load)
    student = bench.student(**ADA)
    with pytest.raises(LookupError, match="no ada@school"):
        bench.view(student, lambda: lab.user.user)


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
