"""What weblablib's own tests ask of the central server's side, and what is logged of a session."""

from __future__ import annotations

import io
import json
import logging
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labnode import audit
from labnode.clock import ManualClock
from labnode.testing import Reply, Student

from .bench import Bench

WRONG = "Basic " + b64encode(b"wrong_weblab:wrong_password").decode()


def ask(bench: Bench, path: str, authorization: str | None) -> Reply:
    headers = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
    return bench.request("GET", f"/weblab/sessions/{path}", **headers)


def test_the_version_of_the_protocol_is_1(bench: Bench) -> None:
    assert ask(bench, "api", None).json == {"api_version": "1"}


def test_the_credentials_can_be_tried(bench: Bench) -> None:
    assert bench.server("GET", "/test").json == {"valid": True}
    none, wrong = ask(bench, "test", None), ask(bench, "test", WRONG)
    assert (none.status, wrong.status) == (401, 401)
    assert none.json["valid"] is wrong.json["valid"] is False
    assert "Credentials are needed" in none.json["error_messages"][0]
    assert "Wrong user name or password" in wrong.json["error_messages"][0]


def test_a_status_needs_credentials(bench: Bench) -> None:
    reply = ask(bench, "no-session/status", WRONG)
    assert (reply.status, reply.json["error"]) == (401, True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Unknown op"),
        ({"action": "look at the mountains"}, "Unknown op"),
        ({"action": "delete"}, "Not found"),
    ],
)
def test_what_is_no_delete_of_a_session_that_exists_says_so(
    bench: Bench, body: dict[str, str], message: str
) -> None:
    assert bench.server("POST", "/no-session", body).json["message"] == message


def test_a_start_that_fails_is_an_error_also_where_the_clean_up_fails(bench: Bench) -> None:
    def fail(*_data: Any) -> None:
        raise RuntimeError("weird error")

    bench.lab.on_start(fail)
    bench.lab.on_dispose(fail)
    reply = bench.start()
    assert (reply.status, reply.json["error"]) == (503, True)
    assert "session_id" not in reply.json


# --- the audit log ---


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What has been logged since."""
    logger = logging.getLogger("labnode.audit")
    before = (logger.handlers[:], logger.propagate, logger.disabled, logger.level)
    stream = io.StringIO()
    audit.log_to(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.handlers[:], logger.propagate, logger.disabled = before[:3]
    logger.setLevel(before[3])


Lines = Callable[[], list[dict[str, Any]]]


def ends_of(lines: Lines) -> list[tuple[str, str]]:
    return [
        (line["event"], line["reason"])
        for line in lines()
        if line["event"] in ("expired", "disposed")
    ]


@pytest.mark.parametrize(
    ("session", "after", "reason"), [("timeout: 0", 61, "time"), ("timeout: 15", 16, "inactivity")]
)
def test_the_end_of_a_session_is_logged_once_with_its_reason(
    make_bench: Callable[..., Bench], lines: Lines, session: str, after: float, reason: str
) -> None:
    clock = ManualClock()
    bench = make_bench(session, clock=clock)
    student = bench.student(60)
    clock.advance(after)
    for _ in range(2):
        assert bench.server("GET", f"/{student.session_id}/status").json["should_finish"] in (-1, 2)
    bench.finish(student)
    assert bench.server("GET", f"/{student.session_id}/status").json["should_finish"] == -1
    assert ends_of(lines) == [("expired", reason), ("disposed", reason)]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_session_that_is_ended_from_outside_is_logged_as_disposed(
    bench: Bench, lines: Lines, leaves: bool
) -> None:
    student = bench.student()
    if leaves:
        bench.view(student, bench.lab.logout)
    bench.finish(student)
    assert ends_of(lines) == [("disposed", "exited" if leaves else "deleted")]


def test_no_line_has_anything_of_the_student_in_it(bench: Bench, lines: Lines) -> None:
    back = "http://moodle.example.org/course"
    student: Student = bench.student(username="ada", full_name="Ada Lovelace", back=back)
    bench.finish(student)
    text = json.dumps(lines())
    assert '"started"' in text
    for secret in ("ada", "Ada", back, student.session_id, student.callback):
        assert secret not in text


def test_requests_that_are_refused_have_no_line(bench: Bench, lines: Lines) -> None:
    student = bench.student()
    assert bench.ask(student, lambda: "seen").text == "seen"
    bench.finish(student)
    before = lines()
    assert bench.ask(bench.browser(), lambda: "seen").status == 403
    assert bench.ask(student, lambda: "seen").text != "seen"
    assert lines() == before
