"""What labs record: who did what when, to be read again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import BadInput, LabnodeError
from labnode.lab import Lab
from labnode.lab.lab import json_lines
from labnode.sessions import actions
from tests.kit.node import SmallNode

Boot = Callable[..., SmallNode]


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["action"] for row in rows]


def test_an_action_says_who_what_and_when(node: SmallNode, lab: Lab) -> None:
    session = node.connected(username_unique="ada@school")
    node.run_as(session, lambda: lab.record("heat", seconds=5, zones=["a", {"b": None}]))
    assert lab.actions() == [
        {
            "session_id": session.id,
            "username_unique": "ada@school",
            "at": node.clock.wall(),
            "action": "heat",
            "data": {"seconds": 5, "zones": ["a", {"b": None}]},
        }
    ]


def test_actions_are_found_by_session_and_by_user(node: SmallNode, lab: Lab) -> None:
    first = node.connected(username_unique="ada@school")
    node.run_as(first, lambda: lab.record("one"))
    second = node.connected(username_unique="bob@school")
    node.run_as(second, lambda: lab.record("two"))
    third = node.connected(username_unique="ada@school")
    node.run_as(third, lambda: lab.record("three"))
    assert names(lab.actions()) == ["one", "two", "three"]
    assert names(lab.actions(session_id=second.id)) == ["two"]
    assert names(lab.actions(username_unique="ada@school")) == ["one", "three"]
    assert names(lab.actions(first.id, "ada@school")) == ["one"]
    assert lab.actions(first.id, "bob@school") == lab.actions(session_id="nobody") == []


def test_hooks_and_tasks_record_too(node: SmallNode, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.record("start"))
    lab.on_dispose(lambda: lab.record("dispose"))

    @lab.task
    def work() -> None:
        lab.record("work")

    session = node.connected()
    node.run_as(session, work.run_sync)
    node.delete(session)
    assert names(lab.actions(session_id=session.id)) == ["start", "work", "dispose"]


def test_what_nobody_did_belongs_to_nobody(node: SmallNode, lab: Lab) -> None:
    lab.record("calibrated", by="the lab")
    (row,) = lab.actions()
    assert (row["session_id"], row["username_unique"]) == (None, None)


def test_data_may_have_any_name(node: SmallNode, lab: Lab) -> None:
    lab.record("move", action="up", self=1, session_id="x")
    assert lab.actions()[0]["data"] == {"action": "up", "self": 1, "session_id": "x"}


def test_they_survive_a_restart(boot: Boot, lab: Lab) -> None:
    node = boot()
    lab.record("before")
    node.stop()
    boot()
    lab.record("after")
    assert names(lab.actions()) == ["before", "after"]


@pytest.mark.parametrize(
    ("action", "data", "sentence"),
    [
        ("", {}, "name of printable characters, not ''"),
        (3, {}, "name of printable characters, not 3"),
        ("\ud800", {}, "name of printable characters"),
        ("a" * 101, {}, "at most 100 characters"),
        ("heat", {"x": object()}, "The data of action 'heat' must be JSON data"),
        ("heat", {"x": float("nan")}, "The data of action 'heat' must be JSON data"),
        ("heat", {"x": "y" * 4096}, "is 4105 bytes of JSON; 4096 are the most"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    node: SmallNode, lab: Lab, action: Any, data: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        lab.record(action, **data)
    assert lab.actions() == []


def test_without_a_node_nothing_is_recorded() -> None:
    with pytest.raises(LabnodeError, match="no running node"):
        Lab().record("heat")


def test_many_in_a_row_are_written_together_and_in_order(node: SmallNode, lab: Lab) -> None:
    with node.store_busy():
        for n in range(1200):
            lab.record(f"{n}")
        written = node.store._queue.qsize()
    assert written <= 2  # with the test's own
    assert names(lab.actions()) == [str(n) for n in range(1200)]


def test_what_the_disk_cannot_follow_is_lost_and_said_so(
    node: SmallNode, lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(actions, "_MOST_WAITING", 3)
    with node.store_busy():
        for n in range(5):
            lab.record(f"{n}")
    assert names(lab.actions()) == ["0", "1", "2"]
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "2 actions were lost: the disk did not keep up."
    ]
    lab.record("later")
    assert names(lab.actions())[-1] == "later"


def test_a_disk_that_was_full_has_all_of_them_once_it_is_not(node: SmallNode, lab: Lab) -> None:
    def limit(pages: str) -> None:
        node.store.run(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())

    limit("1")
    for n in range(40):
        lab.record(f"{n}", text="x" * 4000)
        node.store.run(lambda db: None)
    limit("100000")
    assert names(lab.actions()) == [str(n) for n in range(40)]


def test_they_are_exported_as_lines_of_json(node: SmallNode, lab: Lab) -> None:
    lab.record("uno", text="línea 1\nlínea 2")
    lab.record("dos")
    lines = list(json_lines(lab.actions()))
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert [json.loads(line) for line in lines] == lab.actions()
    assert list(json_lines(node.sessions.actions.find())) == lines
