"""A database that refuses: a start fails on a clean board, and a clean-up goes on."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import StartFailed, StorageError
from labnode.events import SessionChanged
from labnode.lab import Lab
from labnode.sessions import Deletion, Reason, State
from labnode.store import Happening, Row
from tests.kit.node import SAFE, SmallNode, WatchedStore

Boot = Callable[..., SmallNode]


class FullDisk(WatchedStore):
    """Refuses what `refuses` says; an update on the real way: there is no such table."""

    refuses: Callable[[str, Row], bool] = staticmethod(lambda table, row: False)

    def insert(self, table: str, row: Row, *happenings: Happening, **more: Any) -> None:
        if self.refuses(table, row):
            raise StorageError("The node's database does not work: the disk is full.")
        super().insert(table, row, *happenings, **more)

    def update(self, table: str, key: str, changes: Row, *rest: Any, **more: Any) -> None:
        if self.refuses(table, changes):
            table = "no such table"
        super().update(table, key, changes, *rest, **more)

    def remember(self, key: str, value: Any, *happenings: Happening) -> None:
        if self.refuses("node", {"key": key}):
            raise StorageError("The node's database does not work: the disk is full.")
        super().remember(key, value, *happenings)


class SilentDisk(WatchedStore):
    """Never says that the beginning of a clean-up is on it."""

    def update(self, table: str, key: str, changes: Row, *rest: Any, **more: Any) -> None:
        if changes.get("state") == "disposing":
            more["then"] = None
        super().update(table, key, changes, *rest, **more)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The store logs each refusal with its traceback."""
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def diary(lab: Lab) -> list[str]:
    diary: list[str] = []

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        diary.append("start")
        lab.devices.switch.on()

    @lab.on_dispose
    def dispose() -> None:
        diary.append("dispose")

    return diary


@pytest.fixture
def full(boot: Boot) -> Callable[..., SmallNode]:
    """A node whose store refuses rows with these values; `refuse()` decides when."""

    def full(**values: Any) -> SmallNode:
        node = boot(store=FullDisk)
        node.store.refuses = lambda table, row: all(row.get(k) == v for k, v in values.items())
        return node

    return full


def mend(node: SmallNode) -> None:
    del node.store.refuses


@pytest.mark.parametrize("state", ["starting", "active"])
def test_a_start_that_cannot_be_stored_fails_and_leaves_a_clean_board(
    full: Callable[..., SmallNode], diary: list[str], state: str
) -> None:
    node = full(state=state)
    starting = node.ask_start(reservation="r1")
    node.turn()
    assert isinstance(starting.error, StartFailed)
    assert starting.error.status == 503
    assert "database" in starting.error.message
    assert node.values() == SAFE
    assert diary == ([] if state == "starting" else ["start", "dispose"])
    assert node.sessions.live() == []
    mend(node)
    assert node.start(reservation="r1").active


def test_a_start_that_cannot_be_stored_is_told_as_such_and_forgotten(
    full: Callable[..., SmallNode],
) -> None:
    node = full(state="starting")
    reader = node.bus.subscribe(SessionChanged)
    node.ask_start()
    node.turn()
    assert [(e.state, e.reason) for e in reader.drain()] == [("disposed", "start-failed")]
    assert node.known() == []


def test_a_start_that_cannot_be_stored_is_no_session_for_those_who_wait_for_it_too(
    full: Callable[..., SmallNode], lab: Lab, diary: list[str]
) -> None:
    lab.on_start(lambda client, server: lab.wait(5))
    node = full(state="active")
    asked = [node.ask_start(reservation="r1") for _ in range(3)]
    node.advance(5)
    node.turn()
    assert [type(a.answer) for a in asked] == [StartFailed] * 3
    assert diary == ["start", "dispose"]


def test_those_who_wait_for_a_start_whose_row_is_refused_are_told_too(boot: Boot) -> None:
    class SlowlyFull(WatchedStore):
        def insert(self, *_args: Any, **_more: Any) -> None:
            refused.wait(60)
            raise StorageError("The node's database does not work: the disk is full.")

    node = boot(store=SlowlyFull)
    refused = node.clock.event()
    asked = [node.ask_start(reservation="r1") for _ in range(2)]
    refused.set()
    node.settle()
    assert [type(a.answer) for a in asked] == [StartFailed] * 2


@pytest.mark.parametrize("state", ["disposing", "disposed"])
def test_a_clean_up_that_cannot_be_stored_goes_on(
    full: Callable[..., SmallNode], diary: list[str], state: str
) -> None:
    node = full(state=state)
    session = node.connected()
    assert node.delete(session) is Deletion.DONE
    assert session.state is State.DISPOSED
    assert node.sessions.status(session.id) == -1
    assert diary == ["start", "dispose"]
    assert node.values() == SAFE
    assert node.start().active


def test_what_could_not_be_stored_of_a_clean_up_is_made_good_at_the_next_boot(
    full: Callable[..., SmallNode], boot: Boot, diary: list[str]
) -> None:
    node = full(state="disposed")
    session = node.connected()
    node.delete(session)
    mend(node)
    node.kill()
    node = boot()
    node.turn()
    assert node.row(session)["state"] == "disposed"
    assert node.row(session)["reason"] == Reason.DELETED
    assert diary == ["start", "dispose", "dispose"]


def test_a_disk_that_is_full_all_the_time_makes_no_difference_to_the_board(
    full: Callable[..., SmallNode], diary: list[str]
) -> None:
    node = full()
    del node.store.refuses
    session = node.connected()
    node.store.refuses = lambda table, row: True
    node.user(session).data["a"] = 1
    assert node.sessions.bind(session, "cookie")
    node.advance(2)
    assert node.delete(session) is Deletion.DONE
    assert node.values() == SAFE
    assert diary == ["start", "dispose"]


def test_a_quarantine_that_cannot_be_stored_holds_all_the_same(
    full: Callable[..., SmallNode], lab: Lab
) -> None:
    @lab.on_dispose
    def fail() -> None:
        raise OSError("smoke")

    node = full(key="quarantine")
    node.delete(node.connected())
    assert node.sessions.quarantine.why == "smoke"
    with pytest.raises(StorageError):
        node.sessions.quarantine.clear()
    assert node.sessions.quarantine.why == "smoke"  # it would come back with the next boot
    mend(node)
    node.sessions.quarantine.clear()
    assert node.start().active


def test_a_clean_up_begins_when_its_beginning_is_on_the_disk(boot: Boot, lab: Lab) -> None:
    stored: list[str] = []

    @lab.on_dispose
    def look() -> None:
        other = sqlite3.connect(node.store.path)  # sees only what is committed
        stored.extend(state for (state,) in other.execute("SELECT state FROM sessions"))
        other.close()

    node = boot()
    session = node.connected()
    node.delete(session)
    assert stored == ["disposing"]


def test_a_disk_that_does_not_answer_holds_up_a_clean_up_for_a_second(
    boot: Boot, diary: list[str]
) -> None:
    node = boot(store=SilentDisk)
    session = node.connected()
    node.sessions.end(session, Reason.EXITED)
    node.turn()
    assert diary == ["start"]
    node.advance(1)
    assert diary == ["start", "dispose"]
    assert node.values() == SAFE


def test_the_end_of_the_patience_with_such_a_disk_wakes_the_reaper(
    boot: Boot, diary: list[str]
) -> None:
    node = boot(store=SilentDisk, reaper=True)
    session = node.connected()
    node.settle()
    node.sessions.end(session, Reason.EXITED)
    node.settle()
    assert diary == ["start"]
    node.advance(1)
    assert diary == ["start", "dispose"]
