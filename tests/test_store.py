"""The store: durable when it says so, in order, and alive whatever the disk does."""

from __future__ import annotations

import logging
import resource
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import labnode.store.store
from labnode.clock import HUNG_AFTER, ManualClock
from labnode.errors import ConfigError, StorageError
from labnode.store import Happening, NotUnique, Row, Store
from labnode.store import file as store_file

PATIENCE = 10.0
ADD = "INSERT INTO tasks (id, name, status, submitted_at) VALUES ('%s', 'blink', 'submitted', 1)"
Open = Callable[..., Store]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labnode.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Open]:
    opened: list[Store] = []

    def open_() -> Store:
        opened.append(Store(path, ManualClock()))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> Store:
    return open_store()


def task(task_id: str, **columns: Any) -> Row:
    return {"id": task_id, "name": "blink", "status": "submitted", "submitted_at": 1.0, **columns}


def ids(store: Store) -> list[str]:
    return [row["id"] for row in store.select("tasks", "1", order="rowid")]


def happened(store: Store) -> list[str]:
    return [row["kind"] for row in store.select("events", "1", order="id")]


def read(path: Path, sql: str) -> list[Any]:
    """What another program sees."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def settled(store: Store) -> None:
    """Return when all that was asked of the store until now is done."""
    store.run(lambda db: None)


@contextmanager
def held(store: Store) -> Iterator[None]:
    """Inside the block the store's thread is busy with one request."""
    begun, free = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        free.wait(PATIENCE)

    store.update("tasks", "nobody", {"status": "done"}, then=hold)
    assert begun.wait(PATIENCE)
    try:
        yield
    finally:
        free.set()


@contextmanager
def full_disk(store: Store) -> Iterator[None]:
    """Inside the block the file cannot grow."""

    def limit(db: sqlite3.Connection) -> None:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    store.run(limit)
    try:
        yield
    finally:
        store.run(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())


@contextmanager
def slow_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, ends_in_time: bool
) -> Iterator[None]:
    """Inside the block the patience of a caller ends during its commit.

    The commit ends while the caller waits for that, or after the block.
    """
    begun, free = threading.Event(), threading.Event()

    def trace(sql: str) -> None:
        if sql == "COMMIT":
            begun.set()
            free.wait(PATIENCE)

    class Done(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if not begun.is_set():
                return not begun.wait(PATIENCE)
            if not ends_in_time:
                return False
            free.set()
            return super().wait(timeout)

    free.set()
    store.run(lambda db: db.set_trace_callback(trace))
    begun.clear()
    free.clear()
    with monkeypatch.context() as patch:
        threads = SimpleNamespace(Event=Done, Lock=threading.Lock)
        patch.setattr("labnode.store.store.threading", threads)
        try:
            yield
        finally:
            free.set()


BIG = {"text": "x" * 20_000}  # more than a page

# --- the file ---


def test_a_new_file_has_all_tables_and_no_alarm(store: Store) -> None:
    rows = store.run(lambda db: db.execute("SELECT name FROM sqlite_master").fetchall())
    assert {"sessions", "tasks", "events", "node"} <= {name for (name,) in rows}
    assert store.alarm is None


def test_what_was_stored_is_there_when_it_is_opened_again(open_store: Open) -> None:
    first = open_store()
    first.insert("tasks", task("a"))
    first.close()
    again = open_store()
    assert ids(again) == ["a"]
    assert again.alarm is None


def test_the_pragmas_of_a_disk_that_loses_power_are_in_force(store: Store) -> None:
    def pragma(name: str) -> Any:
        return store.run(lambda db: db.execute(f"PRAGMA {name}").fetchone()[0])

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2  # FULL
    assert pragma("busy_timeout") == 5000
    assert pragma("wal_autocheckpoint") == 200


def test_nobody_else_may_read_the_files(store: Store, path: Path) -> None:
    store.insert("tasks", task("a"))
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in path.parent.iterdir()}
    assert modes["labnode.db"] == modes["labnode.db-wal"] == 0o600


def test_the_files_beside_it_are_gone_when_it_is_closed(store: Store, path: Path) -> None:
    store.insert("tasks", task("a"))
    store.close()
    assert [f.name for f in path.parent.iterdir()] == ["labnode.db"]


# --- writing and reading ---


def test_an_insert_is_in_the_file_when_it_returns(store: Store, path: Path) -> None:
    store.insert("tasks", task("a"), Happening("task.submitted", task_id="a"))
    assert read(path, "SELECT id, status FROM tasks") == [("a", "submitted")]
    assert read(path, "SELECT kind, task_id, at FROM events") == [
        ("task.submitted", "a", 1_800_000_000.0)
    ]


def test_a_value_comes_back_as_the_json_that_it_was(store: Store) -> None:
    data = {"á": [1, 2.5, None, True], "text": "día"}
    store.insert("tasks", task("a", data=data, args=[1], result=None))
    (row,) = store.select("tasks", "id = ?", "a")
    assert (row["data"], row["args"], row["result"]) == (data, [1], None)


def test_what_is_no_json_is_left_out_and_the_rest_is_written(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.insert("tasks", task("a", data=object()))
    (row,) = store.select("tasks", "id = ?", "a")
    assert (row["status"], row["data"]) == ("submitted", None)
    assert "data is not JSON" in caplog.text


def test_what_another_program_has_spoilt_is_read_as_nothing(store: Store, path: Path) -> None:
    store.insert("tasks", task("a", data=1))
    store.run(lambda db: db.execute("UPDATE tasks SET data = '{', name = CAST(x'ff' AS TEXT)"))
    (row,) = store.select("tasks", "1")
    assert (row["data"], row["name"]) == (None, "\N{REPLACEMENT CHARACTER}")


def test_rows_come_in_the_order_that_is_asked_for(store: Store) -> None:
    for name in ("b", "c", "a"):
        store.insert("tasks", task(name))
    for order, expected in (("id", "abc"), ("id DESC", "cba"), ("rowid", "bca")):
        rows = store.select("tasks", "1", order=order)
        assert "".join(row["id"] for row in rows) == expected


def test_updates_happen_in_the_order_in_which_they_were_asked_for(store: Store) -> None:
    store.insert("tasks", task("a"))
    seen: list[Any] = []
    with held(store):
        for n in range(50):
            store.update("tasks", "a", {"data": n}, then=lambda n=n: seen.append(n))  # type: ignore[misc]
    (row,) = store.select("tasks", "id = ?", "a")
    assert row["data"] == 49
    assert seen == list(range(50))


def test_an_update_stores_what_the_values_were_when_it_was_asked_for(store: Store) -> None:
    store.insert("tasks", task("a"))
    data = {"step": 1}
    with held(store):
        store.update("tasks", "a", {"data": data})
        data["step"] = 2
    assert store.select("tasks", "id = ?", "a")[0]["data"] == {"step": 1}


def test_a_change_waits_for_the_disk_unless_it_need_not(store: Store) -> None:
    levels: list[int] = []

    def look(db: sqlite3.Connection) -> None:
        levels.append(db.execute("PRAGMA synchronous").fetchone()[0])

    store.insert("tasks", task("a"))
    store.update("tasks", "a", {"status": "running"}, also=look, synced=False)
    store.update("tasks", "a", {"status": "done"}, also=look)
    settled(store)
    assert levels == [1, 2]  # NORMAL, FULL


def test_then_is_called_when_the_change_is_in_the_file(store: Store, path: Path) -> None:
    store.insert("tasks", task("a"))
    seen: list[Any] = []
    store.update(
        "tasks",
        "a",
        {"status": "done"},
        then=lambda: seen.extend(read(path, "SELECT status FROM tasks")),
    )
    settled(store)
    assert seen == [("done",)]


def test_then_is_called_although_the_write_fails_and_the_log_says_so(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    called = threading.Event()
    store.update("tasks", "nobody", {"status": "done"}, Happening("task.done"), then=called.set)
    assert called.wait(PATIENCE)
    settled(store)
    assert "could not be stored" in caplog.text
    assert happened(store) == []


def test_a_then_that_raises_does_not_end_the_store(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("what now")

    store.insert("tasks", task("a"))
    store.update("tasks", "a", {"status": "done"}, then=fail)
    assert store.select("tasks", "id = ?", "a")[0]["status"] == "done"
    assert "what now" in caplog.text


def test_a_row_that_breaks_an_index_is_not_unique_and_leaves_no_trace(store: Store) -> None:
    store.insert("tasks", task("a", unique_key="k"), Happening("first"))
    for row in (task("b", unique_key="k"), task("a")):
        with pytest.raises(NotUnique):
            store.insert("tasks", row, Happening("second"))
    assert ids(store) == ["a"]
    assert happened(store) == ["first"]


def test_a_unique_key_is_free_again_when_its_task_is_done(store: Store) -> None:
    store.insert("tasks", task("a", unique_key="k"))
    store.update("tasks", "a", {"status": "done"})
    store.insert("tasks", task("b", unique_key="k"))
    assert ids(store) == ["a", "b"]


def test_of_many_that_insert_the_same_key_at_once_one_succeeds(store: Store) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(8)

    def insert(n: int) -> None:
        together.wait(PATIENCE)
        try:
            store.insert("tasks", task(f"t{n}", unique_key="k"))
            outcomes.append("stored")
        except NotUnique:
            outcomes.append("refused")

    threads = [threading.Thread(target=insert, args=[n], daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(outcomes) == ["refused"] * 7 + ["stored"]


def test_another_constraint_is_a_storage_error(store: Store) -> None:
    with pytest.raises(StorageError, match=r"^The node's database does not work: .*name.*\.$"):
        store.insert("tasks", {**task("a"), "name": None})


def test_a_happening_that_fails_takes_the_change_back_with_it(store: Store) -> None:
    with pytest.raises(StorageError):
        store.insert("tasks", task("a"), Happening("good"), Happening(None))  # type: ignore[arg-type]
    assert ids(store) == []
    assert happened(store) == []


def test_what_fails_in_run_is_taken_back(store: Store) -> None:
    def work(db: sqlite3.Connection) -> None:
        db.execute(ADD % "a")
        raise ValueError("no")

    with pytest.raises(StorageError, match="no"):
        store.run(work)
    assert ids(store) == []


def test_what_ends_a_request_does_not_end_the_store(store: Store) -> None:
    def leave(_: sqlite3.Connection) -> None:
        raise SystemExit("bye")

    with pytest.raises(StorageError, match="bye"):
        store.run(leave)
    assert ids(store) == []


def test_what_is_remembered_is_recalled_and_replaced(open_store: Open) -> None:
    first = open_store()
    assert first.recall("quarantine") is None
    for value in ("why", {"a": [1, None]}, None, 0, ""):
        first.remember("quarantine", value, Happening("quarantine"))
        assert first.recall("quarantine") == value
    first.remember("quarantine", "at last")
    first.close()
    assert open_store().recall("quarantine") == "at last"


# --- a disk that is full, slow or locked ---


def test_a_full_disk_is_a_storage_error_and_a_disk_with_room_is_none(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk(store):
        with pytest.raises(StorageError, match="full"):
            store.insert("tasks", task("a", data=BIG), Happening("task.submitted"))
        with pytest.raises(StorageError, match="full"):
            store.remember("quarantine", BIG)
        assert ids(store) == []  # reading goes on
    store.insert("tasks", task("a", data=BIG))
    assert ids(store) == ["a"]
    assert happened(store) == []


def test_a_change_that_a_full_disk_refused_is_made_up_for(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.insert("tasks", task("a"))
    called: list[int] = []
    with full_disk(store):
        store.update("tasks", "a", {"data": BIG}, Happening("first"), then=lambda: called.append(1))
        store.update(
            "tasks", "a", {"status": "done"}, Happening("second"), then=lambda: called.append(2)
        )
        settled(store)
        assert called == [1, 2]
        assert store.select("tasks", "id = ?", "a")[0]["status"] == "submitted"
    (row,) = store.select("tasks", "id = ?", "a")
    assert (row["data"], row["status"]) == (BIG, "done")
    assert happened(store) == ["first", "second"]
    assert called == [1, 2]


def test_what_is_remembered_overtakes_no_change_that_waits_for_the_disk(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.insert("tasks", task("a"))
    store.remember("estop", None)
    with full_disk(store):
        store.update("tasks", "a", {"data": BIG}, Happening("task.done"))
        store.remember_soon("estop", "smoke")
        with pytest.raises(StorageError, match="changes before it are not stored yet"):
            store.remember("estop", None)  # small enough for the disk
    assert store.recall("estop") == "smoke"
    store.remember("estop", None)
    assert store.recall("estop") is None


def test_a_disk_that_stays_full_does_not_fill_the_memory(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    store.insert("tasks", task("a"))
    with full_disk(store):
        for n in range(1100):
            store.update("tasks", "a", {"data": {**BIG, "n": n}})
        settled(store)
        assert len(store._late) == 1000
    assert store.select("tasks", "id = ?", "a")[0]["data"]["n"] == 1099


def test_an_insert_that_a_slow_disk_makes_too_late_does_not_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.store.store._PATIENCE", 0.01)
    with held(store), pytest.raises(StorageError, match="does not answer"):
        store.insert("tasks", task("a"))
    monkeypatch.undo()
    assert ids(store) == []


def test_what_matters_is_not_among_what_a_disk_that_stays_full_loses(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    store.insert("tasks", task("a"))
    with full_disk(store):
        store.update("tasks", "a", {"result": BIG, "status": "done"}, Happening("task.done"))
        store.remember_soon("estop", "smoke")
        store.note_soon(Happening("session.disposed"))
        for n in range(1100):
            store.update("tasks", "a", {"data": n})
        settled(store)
        assert len(store._late) == 1000
    (row,) = store.select("tasks", "id = ?", "a")
    assert (row["status"], row["data"]) == ("done", 1099)
    assert store.recall("estop") == "smoke"
    assert happened(store) == ["task.done", "session.disposed"]


def test_nothing_that_matters_is_lost_however_much_it_is(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    store.insert("tasks", task("a"))
    with full_disk(store):
        store.remember_soon("big", BIG)
        for n in range(1100):
            store.remember_soon("quarantine", n, Happening(f"quarantine {n}"))
            store.update("tasks", "a", {"data": n})
    assert store.recall("quarantine") == 1099
    assert len(happened(store)) == 1100


def test_the_log_says_twice_that_changes_are_lost_and_how_many(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.insert("tasks", task("a"))
    with full_disk(store):
        for _ in range(1100):
            store.update("tasks", "a", {"data": BIG})
    for _ in range(2):
        settled(store)
    lost = [record.getMessage() for record in caplog.records if "lost" in record.getMessage()]
    assert lost == [
        "More than 1000 changes wait for the disk: some are lost.",
        "The disk takes changes again; 100 were lost.",
    ]


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.insert("tasks", task("b"), Happening("second")),
        lambda store: store.remember("estop", None, Happening("second")),
        lambda store: store.run(lambda db: db.execute(ADD % "b")),
    ],
    ids=["insert", "remember", "run"],
)
def test_what_a_caller_has_given_up_is_not_done_afterwards(
    store: Store, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Store], None]
) -> None:
    store.remember("estop", "smoke", Happening("first"))
    monkeypatch.setattr("labnode.store.store._PATIENCE", 0.01)
    with held(store), pytest.raises(StorageError, match="does not answer"):
        ask(store)
    monkeypatch.undo()
    assert store.recall("estop") == "smoke"
    assert (ids(store), happened(store)) == ([], ["first"])
    assert store.fault() is None


def test_what_a_caller_gives_up_while_it_is_done_is_taken_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free = threading.Event()

    def work(db: sqlite3.Connection) -> None:
        db.execute(ADD % "a")
        free.wait(PATIENCE)

    monkeypatch.setattr("labnode.store.store._PATIENCE", 0.01)
    with pytest.raises(StorageError, match="does not answer"):
        store.run(work)
    monkeypatch.undo()
    free.set()
    assert ids(store) == []
    assert caplog.text == ""  # nothing is broken


def test_a_commit_that_has_begun_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_commit(store, monkeypatch, ends_in_time=True):
        store.insert("tasks", task("a"))
    assert ids(store) == ["a"]
    assert store.fault() is None


def test_a_commit_that_does_not_end_is_a_fault_for_good(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        slow_commit(store, monkeypatch, ends_in_time=False),
        pytest.raises(StorageError, match="does not answer"),
    ):
        store.remember("estop", None)
    settled(store)
    assert store.fault() == (
        f"the database has not finished a commit in {labnode.store.store._PATIENCE:g} s"
    )


def test_a_thread_that_has_died_is_a_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "_thread", threading.Thread())
        assert store.fault() == "the database's thread has died"


def test_a_request_that_does_not_end_is_a_fault(path: Path) -> None:
    clock = ManualClock()
    with closing(Store(path, clock)) as store:
        with held(store):
            clock.advance(HUNG_AFTER + 1)
            assert str(store.fault()).startswith("the thread store has been at one thing")
        settled(store)
        assert store.fault() is None


def test_a_store_that_was_closed_has_no_fault(store: Store) -> None:
    store.close()
    assert store.fault() is None


# --- a file that cannot be read ---


def garbage(path: Path) -> None:
    path.write_bytes(b"This was never a database. " * 400)


def torn(path: Path) -> None:
    """As when a power cut has taken the end of it."""
    content = path.read_bytes()
    assert len(content) > 3 * 4096
    path.write_bytes(content[: 2 * 4096 + 100])


def scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 200] = b"\xff" * 200
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [garbage, torn, scribbled, emptied])
def test_a_file_that_cannot_be_read_is_put_aside_with_an_alarm(
    open_store: Open, path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    first = open_store()
    first.insert("tasks", task("a", data=BIG))
    first.close()
    spoil(path)
    spoilt = path.read_bytes()

    again = open_store()

    aside = path.with_name("labnode.db.unreadable-1800000000")
    assert again.alarm is not None
    assert aside.name in again.alarm
    assert again.alarm in caplog.text
    assert aside.read_bytes() == spoilt
    again.insert("tasks", task("b"))
    assert read(path, "SELECT id FROM tasks") == [("b",)]
    again.close()
    assert open_store().alarm is None


def test_the_files_beside_it_are_put_aside_with_it(open_store: Open, path: Path) -> None:
    emptied(path)
    path.with_name("labnode.db-wal").write_bytes(b"wal")
    path.with_name("labnode.db-shm").write_bytes(b"shm")
    open_store()
    aside = "labnode.db.unreadable-1800000000"
    assert path.with_name(f"{aside}-wal").read_bytes() == b"wal"
    assert path.with_name(f"{aside}-shm").read_bytes() == b"shm"


def test_a_full_disk_puts_no_file_aside(open_store: Open, path: Path) -> None:
    first = open_store()
    first.insert("tasks", task("a"))
    first.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ConfigError, match="cannot be opened"):
            open_store()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    again = open_store()
    assert again.alarm is None
    assert ids(again) == ["a"]


def test_a_machine_without_memory_puts_no_file_aside(
    open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_store()
    first.insert("tasks", task("a"))
    first.close()

    def check(db: sqlite3.Connection) -> None:
        raise MemoryError  # what Python makes of SQLite's NOMEM

    monkeypatch.setattr(store_file, "_check_tables", check)
    with pytest.raises(MemoryError):
        open_store()
    monkeypatch.undo()
    again = open_store()
    assert again.alarm is None
    assert ids(again) == ["a"]


def test_each_file_that_was_put_aside_is_kept(open_store: Open, path: Path) -> None:
    for _ in range(3):
        garbage(path)
        open_store().close()
    kept = sorted(f.name for f in path.parent.iterdir() if "unreadable" in f.name)
    assert kept == [f"labnode.db.unreadable-{1_800_000_000 + n}" for n in range(3)]


def test_what_a_power_cut_left_in_the_wal_is_there_again(open_store: Open, path: Path) -> None:
    first = open_store()
    first.insert("tasks", task("a"))
    cut = {f: f.read_bytes() for f in path.parent.iterdir()}  # without its close
    first.close()
    for file, content in cut.items():
        file.write_bytes(content)
    with path.with_name("labnode.db-wal").open("ab") as wal:
        wal.write(b"\x00" * 1000)  # a frame that was on its way
    again = open_store()
    assert ids(again) == ["a"]
    assert again.alarm is None


@pytest.mark.parametrize("missing", [False, True])
def test_where_there_can_be_no_file_it_is_a_config_error(
    tmp_path: Path, path: Path, missing: bool
) -> None:
    if missing:
        path = tmp_path / "missing" / "labnode.db"
    else:
        path.mkdir()
    before = list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"labnode\.db: the database cannot be opened"):
        Store(path, ManualClock())
    assert list(tmp_path.iterdir()) == before


def test_a_file_that_another_program_has_locked_is_not_put_aside(
    open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store().close()
    impatient = "PRAGMA busy_timeout = 1; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    monkeypatch.setattr("labnode.store.file._PRAGMAS", impatient)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match="locked"):
            open_store()
    assert open_store().alarm is None


# --- the end ---


def test_close_finishes_what_was_asked_for_and_may_be_called_again(
    store: Store, path: Path
) -> None:
    store.insert("tasks", task("a"))
    called: list[int] = []
    with held(store):
        for n in range(20):
            store.update("tasks", "a", {"data": n}, then=lambda n=n: called.append(n))  # type: ignore[misc]
        closing_ = threading.Thread(target=store.close, daemon=True)
        closing_.start()
    closing_.join(PATIENCE)
    store.close()
    assert called == list(range(20))
    assert read(path, "SELECT data FROM tasks") == [("19",)]


def test_a_file_that_does_not_close_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    db = store._db

    def fail() -> None:
        db.close()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store, "_db", SimpleNamespace(close=fail))
    store.close()
    assert "The database did not close" in caplog.messages


def test_after_close_a_request_fails_at_once(store: Store) -> None:
    store.close()
    begun = time.monotonic()
    for ask in (
        lambda: store.run(lambda db: None),
        lambda: store.insert("tasks", task("a")),
        lambda: store.select("tasks", "1"),
        lambda: store.remember("a", 1),
        lambda: store.recall("a"),
    ):
        with pytest.raises(StorageError, match=r"^The node's database is closed\.$"):
            ask()
    assert time.monotonic() - begun < 1


def test_after_close_an_update_is_lost_but_its_then_is_called(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.close()
    called = threading.Event()
    store.update("tasks", "a", {"status": "done"}, then=called.set)
    assert called.is_set()
    assert "is lost" in caplog.text


def test_requests_that_race_with_close_are_done_or_refused_and_never_hang(store: Store) -> None:
    outcomes: list[bool] = []
    going = threading.Semaphore(0)

    def insert(thread: int) -> None:
        for n in range(1000):
            try:
                store.insert("tasks", task(f"{thread}-{n}"))
            except StorageError:
                outcomes.append(True)
                return
            going.release()

    threads = [threading.Thread(target=insert, args=[n], daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert going.acquire(timeout=PATIENCE)
    store.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert outcomes == [True] * 4


# --- inside a piece of work ---


def level(db: sqlite3.Connection) -> int:
    """How a commit is synced: 2 is FULL, 1 is NORMAL."""
    found: int = db.execute("PRAGMA synchronous").fetchone()[0]
    return found


def test_a_commit_is_synced_unless_it_need_not_outlive_a_power_cut(store: Store) -> None:
    levels: list[int] = []
    for synced in (True, False, False, True):
        levels.append(store.run(level, synced=synced))
        store.later(lambda db: levels.append(level(db)), synced=synced)
        store.soon(level, lambda found: levels.append(found or 0), synced=synced)
        settled(store)
    assert levels == [2, 2, 2, 1, 1, 1, 1, 1, 1, 2, 2, 2]


def test_a_cursor_is_had_inside_of_a_piece_of_work_only(store: Store) -> None:
    def work(_: sqlite3.Connection) -> None:
        store.cursor().execute("INSERT INTO node (key, value) VALUES ('a', '1')")
        raise OSError("and it is rolled back with the rest")

    with pytest.raises(StorageError, match="rolled back"):
        store.run(work)
    assert store.recall("a") is None
    with pytest.raises(RuntimeError, match="inside a piece of work"):
        store.cursor()


def test_what_is_asked_for_once_is_not_repeated_when_the_disk_refuses_it(store: Store) -> None:
    answers: list[Any] = []

    def fail(_: sqlite3.Connection) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    store.soon(lambda db: 7, answers.append, synced=True)
    store.soon(fail, answers.append, synced=True)
    settled(store)
    settled(store)
    assert answers == [7, None]


def test_what_follows_a_piece_of_work_comes_after_its_commit_and_before_its_answer(
    store: Store,
) -> None:
    seen: list[Any] = []

    def then(result: str) -> None:
        seen.append((result, read(store.path, "SELECT id FROM tasks")))

    store.insert("tasks", task("a"), also=lambda db: "also", then=then)
    assert seen == [("also", [("a",)])]
