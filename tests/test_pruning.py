"""Pruning: what is old goes, what is not stays, and nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labnode.clock import ManualClock, WallClock
from labnode.store import Pruning, Row, Store
from tests.kit.waiting import eventually

DAY = 86400.0
NOW = 1_800_000_000.0


class Shelf:
    """A store with rows of any age, and the pruning of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock(wall=NOW)
        self.store = Store(path / "labnode.db", self.clock)
        self.sessions: list[str] = []

    def live(self) -> list[str]:
        return self.sessions

    def pruning(self, history: float = 30 * DAY, task_expires: float = 3600) -> Pruning:
        """That of a node which was pruned a moment ago, before it was started again."""
        self.store.remember("pruned_at", self.clock.wall())
        return self.pruning_of_a_new_node(history, task_expires)

    def pruning_of_a_new_node(
        self, history: float = 30 * DAY, task_expires: float = 3600
    ) -> Pruning:
        return Pruning(
            self.store,
            self.clock,
            WallClock(self.clock),
            self,
            history=history,
            task_expires=task_expires,
        )

    def session(self, name: str, days_ago: float, **columns: Any) -> None:
        ended = NOW - days_ago * DAY
        row = {
            "id": name, "client": "weblab", "state": "disposed", "boot_id": "b", "length": 60.0,
            "counts_start": 1, "resumed": 0, "created_at": ended - 60, "ended_at": ended, **columns,
        }  # fmt: skip
        self.store.insert("sessions", row)

    def task(self, name: str, session: str | None, days_ago: float, **columns: Any) -> None:
        at = NOW - days_ago * DAY
        row = {
            "id": name, "name": "blink", "session_id": session, "status": "done", "args": {},
            "result": 42, "data": {}, "submitted_at": at, "finished_at": at, **columns,
        }  # fmt: skip
        self.store.insert("tasks", row)

    def other(self, statement: str, *values: Any) -> None:
        self.store.run(lambda db: db.execute(statement, values))

    def ids(self, table: str, column: str = "id") -> list[Any]:
        return [row[column] for row in self.store.select(table, "1", order="rowid")]

    def one(self, name: str) -> Row:
        (row,) = self.store.select("tasks", "id = ?", name)
        return row


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path)
    yield shelf
    shelf.store.close()


def test_sessions_and_tasks_that_are_old_go_and_others_stay(shelf: Shelf) -> None:
    shelf.session("old", 31)
    shelf.session("new", 29)
    shelf.session("lasting", 31, state="active", ended_at=None)
    shelf.task("old-task", "old", 31)
    shelf.task("new-task", "new", 29)
    shelf.task("waiting", "lasting", 31, status="running", finished_at=None)
    shelf.pruning().prune()
    assert shelf.ids("sessions") == ["new", "lasting"]
    assert shelf.ids("tasks") == ["new-task", "waiting"]


def test_events_and_actions_that_are_old_go(shelf: Shelf) -> None:
    for days in (31, 29):
        at = NOW - days * DAY
        shelf.other("INSERT INTO events (at, kind) VALUES (?, ?)", at, f"{days} days")
        shelf.other("INSERT INTO actions (at, action, data) VALUES (?, ?, '{}')", at, f"{days}")
    shelf.pruning().prune()
    assert shelf.ids("events", "kind") == ["29 days"]
    assert shelf.ids("actions", "action") == ["29"]


def test_a_user_who_has_not_come_back_goes_with_the_folder(shelf: Shelf) -> None:
    insert = "INSERT INTO users VALUES (?, 0, ?, 'secret', ?)"
    for name, days in (("gone", 31), ("here", 29)):
        shelf.other(insert, name, NOW - days * DAY, name)
        (shelf.path / "users" / name).mkdir(parents=True)
        (shelf.path / "users" / name / "program.hex").write_text("1")
    shelf.other(insert, "gone without a folder", NOW - 31 * DAY, "none")
    assert shelf.pruning().prune() == 2
    rows = shelf.store.select("users", "1")
    assert [row["username_unique"] for row in rows] == ["here"]
    assert [path.name for path in (shelf.path / "users").iterdir()] == ["here"]


def test_what_tasks_gave_goes_sooner_and_the_rest_of_them_stays(shelf: Shelf) -> None:
    shelf.session("an hour ago", 0.05)
    shelf.session("just now", 0.0)
    shelf.session("lasting", 1, state="active", ended_at=None)
    for session in ("an hour ago", "just now", "lasting"):
        shelf.task(f"of {session}", session, 1)
    shelf.task("of nobody", None, 0.05)
    shelf.pruning().prune()
    kept = {name: shelf.one(name)["result"] for name in shelf.ids("tasks")}
    assert kept == {"of an hour ago": None, "of just now": 42, "of lasting": 42, "of nobody": None}
    assert shelf.one("of an hour ago")["status"] == "done"


def test_more_than_one_piece_goes_in_one_round(shelf: Shelf) -> None:
    def fill(db: Any) -> None:
        rows = [(NOW - 31 * DAY, f"kind {n}") for n in range(350)]
        db.executemany("INSERT INTO events (at, kind) VALUES (?, ?)", rows)

    shelf.store.run(fill)
    assert shelf.pruning().prune() == 350
    assert shelf.ids("events") == []


def test_history_for_ever_is_for_ever(shelf: Shelf) -> None:
    shelf.session("old", 4000)
    assert shelf.pruning(history=-1).prune() == 0
    assert shelf.ids("sessions") == ["old"]


def test_where_nothing_is_old_nothing_is_written(shelf: Shelf) -> None:
    shelf.session("new", 1)
    shelf.task("new", "new", 1)
    pruning = shelf.pruning()
    pruning.prune()
    wal = shelf.path / "labnode.db-wal"
    before = wal.read_bytes()
    pruning.prune()
    assert wal.read_bytes() == before


# --- when ---


def turn_and_wait(pruning: Pruning) -> None:
    pruning.turn()
    assert pruning._thread is None or (pruning._thread.join(10) or not pruning._thread.is_alive())


@pytest.fixture
def rounds(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Callable[[Pruning], list[float]]:
    def watch(pruning: Pruning) -> list[float]:
        times: list[float] = []
        began = shelf.clock.now()
        monkeypatch.setattr(pruning, "prune", lambda: times.append(shelf.clock.now() - began) or 0)
        return times

    return watch


def test_a_round_comes_every_hour_and_not_at_the_start(
    shelf: Shelf, rounds: Callable[[Pruning], list[float]]
) -> None:
    pruning = shelf.pruning()
    times = rounds(pruning)
    for _ in range(5 * 60):
        turn_and_wait(pruning)
        shelf.clock.advance(30)
    assert times == [3600.0, 7200.0]


def test_a_round_waits_for_a_moment_without_sessions_for_a_day(
    shelf: Shelf, rounds: Callable[[Pruning], list[float]]
) -> None:
    pruning = shelf.pruning()
    times = rounds(pruning)
    shelf.sessions = ["a session"]
    for _ in range(26):
        turn_and_wait(pruning)
        shelf.clock.advance(3600)
    shelf.sessions = []
    turn_and_wait(pruning)
    assert times == [3600 + 86400 + 3600.0]


def test_a_round_that_fails_is_told_and_comes_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pruning = shelf.pruning()
    shelf.clock.advance(3601)
    monkeypatch.setattr("labnode.store.pruning._EXPIRED", "UPDATE nothing")
    turn_and_wait(pruning)
    assert "The history could not be pruned: The node's database does not work" in caplog.text
    monkeypatch.undo()
    shelf.session("old", 31)
    shelf.clock.advance(3601)
    turn_and_wait(pruning)
    assert shelf.ids("sessions") == []


def test_a_stop_ends_a_round_between_two_pieces(shelf: Shelf) -> None:
    pruning = shelf.pruning()
    shelf.session("old", 31)
    assert pruning.stop(5.0)
    assert pruning.prune() == 0
    assert shelf.ids("sessions") == ["old"]


def test_a_round_with_a_fault_of_labnodes_own_is_told_and_comes_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pruning = shelf.pruning()
    monkeypatch.setattr(pruning, "prune", lambda: 1 / 0)
    for number in (1, 2):
        shelf.clock.advance(3601)
        turn_and_wait(pruning)
        assert caplog.messages == ["The history could not be pruned."] * number


@contextmanager
def busy(shelf: Shelf, pruning: Pruning) -> Iterator[None]:
    """Inside the block a round waits for the database."""
    begun, free = threading.Event(), threading.Event()

    def hold(db: Any) -> None:
        begun.set()
        free.wait(10)

    shelf.store.later(hold)
    assert begun.wait(10)
    shelf.clock.advance(3600)
    pruning.turn()
    try:
        yield
    finally:
        free.set()


def test_a_stop_says_whether_a_round_has_ended_in_time(shelf: Shelf) -> None:
    pruning = shelf.pruning()
    with busy(shelf, pruning):
        assert pruning.stop(0.0) is False
    assert pruning.stop(10.0) is True


def test_a_round_that_the_disk_holds_up_is_no_two_rounds(shelf: Shelf) -> None:
    pruning = shelf.pruning()
    with busy(shelf, pruning):
        first = pruning._thread
        shelf.clock.advance(3600)
        pruning.turn()
        assert pruning._thread is first
    pruning.stop(10.0)


def test_a_round_that_the_disk_holds_up_for_long_is_a_fault(shelf: Shelf) -> None:
    pruning = shelf.pruning()
    with busy(shelf, pruning):
        eventually(lambda: pruning._busy._began is not None)
        assert pruning.fault() is None
        shelf.clock.advance(3600)
        assert "the thread pruning has been at one thing for" in str(pruning.fault())
    pruning.stop(10.0)


# --- the wall clock, which may be wrong ---


def passes(shelf: Shelf, pruning: Pruning, hours: float) -> None:
    """Time in which the node is awake."""
    for _ in range(int(hours * 4)):
        shelf.clock.advance(900)
        turn_and_wait(pruning)


@pytest.mark.parametrize("years", [-56, -10, 10, 56])
def test_a_clock_that_is_wrong_for_less_than_a_day_deletes_nothing(
    shelf: Shelf, years: float
) -> None:
    pruning = shelf.pruning()
    shelf.session("new", 1)
    shelf.task("new", "new", 1)
    shelf.clock.jump_wall(years * 365.25 * DAY)
    passes(shelf, pruning, 20)
    shelf.clock.jump_wall(-years * 365.25 * DAY)
    passes(shelf, pruning, 48)
    assert shelf.ids("sessions") == ["new"]
    assert shelf.ids("tasks") == ["new"]


def test_a_clock_that_was_wrong_between_two_rounds_is_not_believed(shelf: Shelf) -> None:
    pruning = shelf.pruning_of_a_new_node()
    shelf.clock.advance(2 * DAY)
    turn_and_wait(pruning)
    for years in (10, -10):
        shelf.clock.jump_wall(years * 365.25 * DAY)
        pruning.turn()
    shelf.session("old, as it seems", 31)
    assert pruning.prune() == 0


def test_a_round_while_nobody_knows_the_date_deletes_nothing_and_says_so(shelf: Shelf) -> None:
    shelf.session("old", 31)
    assert shelf.pruning_of_a_new_node().prune() == 0
    assert shelf.ids("sessions") == ["old"]


def test_a_node_that_wakes_up_years_later_believes_its_clock_after_a_day(shelf: Shelf) -> None:
    shelf.session("old", 31)
    shelf.store.remember("pruned_at", NOW - 1000 * DAY)
    pruning = shelf.pruning_of_a_new_node()
    passes(shelf, pruning, 22)
    assert shelf.ids("sessions") == ["old"]
    passes(shelf, pruning, 4)
    assert shelf.ids("sessions") == []


def test_what_was_written_in_1970_is_as_old_as_the_clock_is_right(shelf: Shelf) -> None:
    pruning = shelf.pruning()
    days = (NOW - 1800) / DAY  # half an hour after midnight of that year's first day
    shelf.session("early", days)
    shelf.other("INSERT INTO users VALUES ('ada', 0, 1800, 'secret', 'folder')")
    shelf.other("INSERT INTO events (at, kind) VALUES (1800, 'boot')")
    passes(shelf, pruning, 3)
    shelf.session("since then", 0)
    passes(shelf, pruning, 29 * 24)
    assert shelf.ids("sessions") == ["early", "since then"]
    assert shelf.ids("events", "kind") == ["boot"]
    assert [user["username_unique"] for user in shelf.store.select("users", "1")] == ["ada"]
    passes(shelf, pruning, 2 * 24)
    assert shelf.ids("sessions") == []
    assert shelf.store.select("users", "1") == []


def test_after_a_restart_the_clock_is_believed_if_it_goes_on_from_the_last_round(
    shelf: Shelf,
) -> None:
    shelf.session("old", 31)
    pruning = shelf.pruning_of_a_new_node()
    shelf.clock.advance(DAY)
    assert pruning.prune() == 1
    shelf.session("old, too", 31)
    assert shelf.pruning_of_a_new_node().prune() == 1


def test_a_jump_soon_after_a_round_that_deleted_something_is_believed_at_once(
    shelf: Shelf,
) -> None:
    pruning = shelf.pruning()
    shelf.clock.advance(100 * DAY)
    shelf.session("old", 0)
    assert pruning.prune() == 1
    shelf.session("old, too", 0)
    shelf.clock.jump_wall(3600)
    turn_and_wait(pruning)
    assert shelf.ids("sessions") == []


def test_a_clock_that_was_never_set_counts_from_1970(shelf: Shelf) -> None:
    shelf.clock.jump_wall(-NOW)
    pruning = shelf.pruning()
    shelf.other("INSERT INTO events (at, kind) VALUES (0, 'boot')")
    passes(shelf, pruning, 29 * 24)
    assert shelf.ids("events", "kind") == ["boot"]
    passes(shelf, pruning, 2 * 24)
    assert shelf.ids("events", "kind") == []


def test_a_round_that_deletes_nothing_writes_nothing(shelf: Shelf) -> None:
    pruning = shelf.pruning()
    wal = shelf.path / "labnode.db-wal"
    before = wal.read_bytes()
    passes(shelf, pruning, 48)
    assert wal.read_bytes() == before
