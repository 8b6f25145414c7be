"""The lifecycle log: a line of JSON for each event, and nothing that anybody could misuse."""

from __future__ import annotations

import inspect
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from labnode import audit

LOGGER = logging.getLogger("labnode.audit")
ID = "kX2vQ8-session-id-nobody-may-see"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = (LOGGER.handlers[:], LOGGER.propagate, LOGGER.disabled, LOGGER.level)
    yield
    LOGGER.handlers[:], LOGGER.propagate, LOGGER.disabled = before[:3]
    LOGGER.setLevel(before[3])


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    audit.log_to(stream)
    return stream


def tell_all() -> None:
    audit.started(ID, "weblab", 299.96)
    audit.connected(ID)
    audit.expired(ID, "never-connected")
    audit.rejected("credentials", status=401, address="192.0.2.66")
    audit.rejected("busy", status=503, address="::1", client="lde", untold=7)
    audit.disposed(ID, "never-connected")
    audit.disposed(ID, None)
    audit.quarantined(ID)
    audit.quarantined(None)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_is_a_line_of_json_with_its_time(stream: io.StringIO) -> None:
    tell_all()
    told = lines(stream)
    for line in told:
        assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    first, second = told[3].pop("address"), told[4].pop("address")
    (tag,) = {line["session"] for line in told if "session" in line}
    assert told == [
        {"event": "started", "session": tag, "client": "weblab", "seconds": 300.0},
        {"event": "connected", "session": tag},
        {"event": "expired", "session": tag, "reason": "never-connected"},
        {"event": "rejected", "kind": "credentials", "status": 401},
        {"event": "rejected", "kind": "busy", "status": 503, "client": "lde", "untold": 7},
        {"event": "disposed", "session": tag, "reason": "never-connected"},
        {"event": "disposed", "session": tag},
        {"event": "quarantined", "session": tag},
        {"event": "quarantined"},
    ]
    assert first != second
    assert ID not in stream.getvalue()
    assert "192.0.2.66" not in stream.getvalue()


def test_addresses_can_be_told_apart_and_brought_together(stream: io.StringIO) -> None:
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        audit.rejected("credentials", status=401, address=address)
    one, two, three = (line["address"] for line in lines(stream))
    assert one == three != two


def test_the_record_is_the_bare_line_also_where_all_logs_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "labnode.audit"):
        audit.connected(ID)
    (record,) = caplog.records
    assert record.name == "labnode.audit"
    assert json.loads(record.getMessage()).keys() == {"event", "session"}


def test_its_lines_are_not_formatted_once_more_by_the_other_logs(stream: io.StringIO) -> None:
    others = io.StringIO()
    handler = logging.StreamHandler(others)
    logging.getLogger().addHandler(handler)
    try:
        audit.connected(ID)
    finally:
        logging.getLogger().removeHandler(handler)
    assert len(lines(stream)) == 1
    assert others.getvalue() == ""


def test_it_does_not_depend_on_the_level_of_the_other_logs(stream: io.StringIO) -> None:
    logging.getLogger().setLevel(logging.CRITICAL)
    try:
        audit.connected(ID)
    finally:
        logging.getLogger().setLevel(logging.WARNING)
    assert len(lines(stream)) == 1


def test_it_can_be_switched_off_and_on_again(
    stream: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    audit.log_to(None)
    tell_all()
    assert stream.getvalue() == ""
    assert caplog.records == []
    audit.log_to(stream)
    audit.connected(ID)
    assert len(lines(stream)) == 1


@pytest.mark.parametrize(
    "strayed", ["Ada Lovelace", "pass word", "a\nb", '"}', "é", "x" * 65, ""], ids=repr
)
def test_what_is_no_word_of_the_node_is_not_told(stream: io.StringIO, strayed: str) -> None:
    audit.started(ID, strayed, 1)
    audit.expired(ID, strayed)
    audit.rejected(strayed, status=400, address="::1", client=strayed)
    assert [line.get("client", "?") for line in lines(stream)] == ["?"] * 3
    assert [line.get("reason", line.get("kind", "?")) for line in lines(stream)] == ["?"] * 3


def test_sessions_are_called_as_in_the_other_logs(stream: io.StringIO) -> None:
    from labnode.sessions import Session

    class Named:
        id = ID

    audit.connected(ID)
    tag = Session.tag.fget  # type: ignore[attr-defined]
    assert lines(stream)[0]["session"] == tag(Named())


def test_there_is_no_parameter_that_could_take_a_secret() -> None:
    events = [
        function
        for name, function in vars(audit).items()
        if inspect.isfunction(function) and not name.startswith("_") and name != "log_to"
    ]
    assert {name for event in events for name in inspect.signature(event).parameters} == {
        *("session_id", "client", "seconds", "reason"),
        *("kind", "status", "address", "untold"),
    }
