"""What is told of sessions: events, the lifecycle log, and nothing of the student."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from labnode.events import SessionChanged
from labnode.lab import Lab
from labnode.sessions import Reason
from tests.kit.node import SmallNode

Boot = Callable[..., SmallNode]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The lines of the lifecycle log so far."""
    caplog.set_level(logging.INFO)

    def told() -> list[dict[str, Any]]:
        lines = [r.getMessage() for r in caplog.records if r.name == "labnode.audit"]
        return [json.loads(line) for line in lines]

    return told


def test_the_bus_tells_every_state(node: SmallNode) -> None:
    reader = node.bus.subscribe(SessionChanged)
    session = node.connected()
    node.sessions.end(session, Reason.EXITED)
    node.turn()
    assert reader.drain() == [
        SessionChanged(session.id, "starting", None),
        SessionChanged(session.id, "active", None),
        SessionChanged(session.id, "disposing", "exited"),
        SessionChanged(session.id, "disposed", "exited"),
    ]


def test_the_lifecycle_log_tells_of_a_session_from_its_start_to_its_end(
    node: SmallNode, told: Callable[[], list[dict[str, Any]]]
) -> None:
    session = node.connected("weblab", length=30)
    assert node.sessions.bind(session, "a cookie")
    assert node.sessions.bind(session, "a cookie")
    node.advance(15)
    tag = {"session": session.tag}
    assert told() == [
        {"event": "started", **tag, "client": "weblab", "seconds": 30},
        {"event": "connected", **tag},
        {"event": "expired", **tag, "reason": "inactivity"},
        {"event": "disposed", **tag, "reason": "inactivity"},
    ]


def test_what_a_server_asks_for_is_no_expiry(
    node: SmallNode, told: Callable[[], list[dict[str, Any]]]
) -> None:
    node.delete(node.connected())
    assert [line["event"] for line in told()] == ["started", "disposed"]


def test_a_start_that_fails_never_started(
    node: SmallNode, lab: Lab, told: Callable[[], list[dict[str, Any]]]
) -> None:
    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        raise OSError("cold")

    @lab.on_dispose
    def end() -> None:
        raise OSError("smoke")

    node.ask_start()
    node.turn()
    assert [line["event"] for line in told()] == ["quarantined", "disposed"]


def test_no_log_knows_a_student_or_a_key(
    boot: Boot, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    @lab.on_dispose
    def end() -> None:
        raise OSError("smoke")

    node = boot()
    session = node.connected(
        username="ada", username_unique="ada@school", full_name="Ada Lovelace", reservation="r-1"
    )
    node.sessions.bind(session, "the cookie")
    node.delete(session)
    secrets = [session.id, session.token, session.handle, "the cookie", "ada", "Lovelace", "r-1"]
    assert [secret for secret in secrets if secret in caplog.text] == []
    assert session.tag in caplog.text


def test_a_session_is_written_five_times(node: SmallNode) -> None:
    """Starting, active, the browser, disposing, disposed: an SD card does not live for ever."""
    inserts = node.store.select("events", "1")
    asked = node.store.asked
    session = node.connected()
    node.sessions.bind(session, "a cookie")
    for _ in range(100):
        node.advance(5)
        node.sessions.poll(session)
        node.sessions.status(session.id)
    node.delete(session)
    assert inserts == []
    assert node.store.asked - asked == 4  # and the row itself
    assert [kind.partition(".")[2] for kind in node.history(session)] == [
        "starting",
        "active",
        "connected",
        "disposing",
        "disposed",
    ]
