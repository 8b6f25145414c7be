"""What the lifecycle log says of the requests that the protocol refuses."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from labnode.errors import Busy, StartFailed

START = {"server_initial_data": {"priority.queue.slot.length": "60"}}
SESSIONS = "/weblab/sessions/"


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, "labnode.audit")

    def told() -> list[dict[str, Any]]:
        records = [record for record in caplog.records if record.name == "labnode.audit"]
        return [json.loads(record.getMessage()) for record in records]

    return told


@pytest.mark.parametrize(
    ("kind", "status", "request_"),
    [
        ("credentials", 401, ("GET", SESSIONS + "test", b"", {"authorization": None})),
        ("credentials", 401, ("POST", SESSIONS, START, {"authorization": "Basic d2VibGFiOng="})),
        ("bad-input", 400, ("POST", "/ldl/sessions/", {"schedule": 5}, {})),
        ("no-such-address", 404, ("GET", "/weblab/else", b"", {})),
        ("no-such-method", 405, ("PUT", SESSIONS, b"", {})),
        ("too-large", 413, ("POST", SESSIONS, START, {"CONTENT_LENGTH": "9" * 9})),
    ],
)
def test_a_refused_request_is_a_line(
    node: Any, told: Any, kind: str, status: int, request_: tuple[Any, ...]
) -> None:
    method, path, body, options = request_
    assert node.call(method, path, body, **options).status == status
    (line,) = told()
    client = {} if status == 401 else {"client": "weblab"}
    address = line.pop("address")
    assert line == {"event": "rejected", "kind": kind, "status": status, **client}
    assert "192.0.2.1" not in address


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [("busy", Busy("Later, Ada.")), ("start-failed", StartFailed("Ada broke it."))],
)
def test_a_start_that_did_not_work_is_a_line_without_the_reason(
    node: Any, told: Any, kind: str, trouble: Exception
) -> None:
    node.sessions.trouble = trouble
    assert node.call("POST", SESSIONS, START).status == 503
    (line,) = told()
    line.pop("address")
    assert line == {"event": "rejected", "kind": kind, "status": 503, "client": "weblab"}


def test_what_is_answered_is_no_line(node: Any, told: Any) -> None:
    node.call("POST", SESSIONS, START)
    node.call("GET", SESSIONS + "nobody/status")
    node.call("POST", SESSIONS + "session-1", {"action": "delete"})
    assert told() == []


def test_a_guesser_does_not_fill_the_log(node: Any, told: Any) -> None:
    for _ in range(500):
        node.call("GET", SESSIONS + "test", authorization=node.wrong)
    assert len(told()) == 60
    assert {line["kind"] for line in told()} == {"credentials", "too-many-guesses"}
    node.clock.advance(61)
    for _ in range(2):
        node.call("PUT", SESSIONS)
    assert [line.get("untold") for line in told()[60:]] == [440, None]
