"""The database's file over its life: made, opened again, damaged, and in the wrong place."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Migrations

from labnode.clock import ManualClock
from labnode.errors import ConfigError, StorageError
from labnode.store import Store, file

TASK = {"name": "heat", "status": "submitted", "submitted_at": 1.0}


def task(task_id: str, **columns: Any) -> dict[str, Any]:
    return {"id": task_id, **TASK, **columns}


Open = Callable[..., Store]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Open]:
    """Opens the database of the test, again and again."""
    stores: list[Store] = []

    def open_store(path: Path = tmp_path / "labnode.db", clock: Any = None) -> Store:
        stores.append(Store(path, clock or ManualClock()))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()
        assert not store._thread.is_alive()


@pytest.fixture
def store(open_store: Open) -> Store:
    return open_store()


def test_a_power_cut_while_the_first_database_is_made_is_no_broken_one(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    def cut(*_: Any, **__: Any) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(file.sqlite3, "connect", cut)
        with pytest.raises(PowerCut):
            open_store()
    store = open_store()
    assert store.alarm is None
    store.insert("tasks", task("a"))


def test_what_is_left_of_a_database_that_was_half_made_does_not_get_into_a_new_one(
    open_store: Open, tmp_path: Path
) -> None:
    (tmp_path / "labnode.db.new").write_bytes(b"half of a page " * 40)
    assert open_store().alarm is None
    assert not (tmp_path / "labnode.db.new").exists()


def test_what_is_left_of_a_lost_database_does_not_get_into_a_new_one(
    open_store: Open, tmp_path: Path
) -> None:
    first = open_store()
    first.insert("tasks", task("a"))
    wal = tmp_path / "labnode.db-wal"
    left = wal.read_bytes()
    first.close()
    (tmp_path / "labnode.db").unlink()
    wal.write_bytes(left)
    assert open_store().select("tasks", "1") == []


def test_a_migration_that_was_cut_off_is_done_again_as_a_whole(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    def cut(*_: Any) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(Migrations, "_record_applied", cut)
        with pytest.raises(PowerCut):
            open_store()
    store = open_store()
    assert store.alarm is None
    store.insert("tasks", task("a"))


def test_a_database_of_a_newer_labnode_opens(open_store: Open) -> None:
    first = open_store()
    first.run(lambda db: db.execute("ALTER TABLE tasks ADD COLUMN later TEXT"))
    first.run(
        lambda db: db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
            "VALUES ('labnode', '9999_later', '2030')"
        )
    )
    first.close()
    second = open_store()
    assert second.alarm is None
    second.insert("tasks", task("a"))


def test_an_idle_database_writes_nothing(store: Store) -> None:
    store.insert("tasks", task("a"))
    files = [store.path, store.path.with_name("labnode.db-wal")]
    before = [path.read_bytes() for path in files]
    for _ in range(20):
        store.select("tasks", "1")
        store.recall("quarantine")
    assert [path.read_bytes() for path in files] == before


def test_a_database_of_something_else_is_put_aside(open_store: Open, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "labnode.db")
    connection.execute("CREATE TABLE tasks (recipe TEXT)")
    connection.close()
    store = open_store()
    assert store.alarm is not None
    assert "tasks already exists" in store.alarm
    store.insert("tasks", task("a"))


def test_bits_that_flip_never_keep_it_from_opening_or_being_read(tmp_path: Path) -> None:
    path = tmp_path / "labnode.db"
    store = Store(path, ManualClock())
    for number in range(40):
        store.insert("tasks", task(f"task {number}", data={"text": "æ" * 50}, args={"n": number}))
        store.remember(f"key {number}", [number])
    store.close()
    good = path.read_bytes()
    dice = random.Random(7)
    aside = 0
    for _ in range(60):
        data = bytearray(good)
        for _ in range(dice.choice([1, 1, 3, 40])):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        for left in tmp_path.iterdir():
            left.unlink()
        path.write_bytes(data)
        store = Store(path, ManualClock())
        try:
            aside += store.alarm is not None
            store.select("tasks", "status IN ('submitted', 'running')")
            for row in store.select("node", "1"):
                store.recall(row["key"])
        except StorageError:
            pass  # what integrity_check does not find; it is a sentence all the same
        finally:
            store.close()
    assert aside > 5


def test_a_database_whose_description_has_changed_is_put_aside(
    open_store: Open, tmp_path: Path
) -> None:
    open_store().close()
    path = tmp_path / "labnode.db"
    path.write_bytes(path.read_bytes().replace(b"experiment_name TEXT", b"experimenu_name TEXT"))
    store = open_store()
    assert store.alarm is not None
    assert "sessions has no experiment_name" in store.alarm
    store.insert("tasks", task("a"))


def test_a_database_with_a_page_where_another_should_be_is_put_aside(
    open_store: Open, tmp_path: Path
) -> None:
    store = open_store()
    store.remember("quarantine", "the pump does not answer")
    roots = dict(
        store.run(lambda db: db.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    )
    store.close()
    path = tmp_path / "labnode.db"
    data = bytearray(path.read_bytes())
    table, index = (1024 * (roots[name] - 1) for name in ("node", "sqlite_autoindex_node_1"))
    data[index : index + 1024] = data[table : table + 1024]
    path.write_bytes(data)
    store = open_store()
    assert store.alarm is not None
    assert store.recall("quarantine") is None


def test_text_that_is_no_text_any_more_can_be_read(store: Store) -> None:
    store.insert("tasks", task("a"))
    store.run(lambda db: db.execute("UPDATE tasks SET name = CAST(x'68c328' AS TEXT)"))
    assert store.select("tasks", "1")[0]["name"] == "h\ufffd("


def test_a_directory_in_its_place_is_a_sentence(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "labnode.db").mkdir()
    with pytest.raises(ConfigError, match=r"labnode\.db: the database cannot be opened \("):
        open_store()
    assert (tmp_path / "labnode.db").is_dir()


@pytest.mark.parametrize("path", ["/proc/labnode.db", "/nowhere/labnode.db", "file/labnode.db"])
def test_a_place_that_cannot_be_written_is_a_sentence(
    open_store: Open, tmp_path: Path, path: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="in a directory that it may write"):
        open_store(tmp_path / path)


def test_a_database_that_may_only_be_read_is_not_put_aside(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def read_only(path: Path, **options: Any) -> sqlite3.Connection:  # root may write everywhere
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(ConfigError, match="readonly"):
        open_store()
    assert not list(tmp_path.glob("*unreadable*"))


def test_an_error_that_is_not_sqlites_has_no_code_of_its() -> None:
    assert file.primary_code(ValueError("no number")) == 0


def test_the_queue_file_of_an_older_labnode_goes_when_its_database_is_brought_up_to_date(
    open_store: Open, tmp_path: Path
) -> None:
    store = open_store()
    store.insert("tasks", task("a"))
    store.close()
    store._thread.join()
    with sqlite3.connect(tmp_path / "labnode.db") as db:
        for table in ("kv", "schedule", "task", "counter"):
            db.execute(f"DROP TABLE {table}")
        db.execute("DELETE FROM _sqlite_migrations WHERE name = '0004_huey'")
    db.close()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"queue.db{suffix}").write_bytes(b"ids of tasks")
    again = open_store()
    assert again.alarm is None
    assert [row["id"] for row in again.select("tasks", "1")] == ["a"]
    assert again.select("task", "1") == again.select("schedule", "1") == []
    assert list(tmp_path.glob("queue.db*")) == []
