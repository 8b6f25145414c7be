"""The SQLite file: sessions, tasks, events and the node's own state, durable when answered."""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database, Migrations

from labnode.clock import Clock
from labnode.errors import ConfigError, StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Database], T]
Row = dict[str, Any]

_PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA busy_timeout = 5000;
PRAGMA wal_autocheckpoint = 200;
PRAGMA journal_size_limit = 1048576;
"""
# FULL because a power cut after an answer must not take the answer back; WAL with NORMAL lost
# acknowledged commits in 9 of 10 simulated power cuts.

_JSON_COLUMNS = {"client_data", "server_data", "data", "args", "result", "error", "detail", "value"}
_PATIENCE = 30.0  # seconds; an SD card that takes longer for one commit has failed

migrations = Migrations("labnode")


@migrations(name="0001_first")
def _first(db: Database) -> None:
    db.executescript("""
        CREATE TABLE sessions (
            id TEXT PRIMARY KEY, client TEXT NOT NULL, reservation_id TEXT, state TEXT NOT NULL,
            reason TEXT, boot_id TEXT NOT NULL, length REAL NOT NULL, counts_start INTEGER NOT NULL,
            deadline REAL, resumed INTEGER NOT NULL, cookie TEXT, username TEXT,
            username_unique TEXT, full_name TEXT, locale TEXT, back TEXT, experiment_name TEXT,
            category_name TEXT, client_data TEXT, server_data TEXT, data TEXT,
            created_at REAL NOT NULL, ended_at REAL
        );
        CREATE INDEX sessions_unfinished ON sessions (state) WHERE state != 'disposed';
        CREATE TABLE tasks (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, session_id TEXT, unique_key TEXT,
            status TEXT NOT NULL, args TEXT, result TEXT, error TEXT, data TEXT,
            submitted_at REAL NOT NULL, started_at REAL, finished_at REAL
        );
        CREATE UNIQUE INDEX tasks_unique ON tasks (unique_key)
            WHERE unique_key IS NOT NULL AND status IN ('submitted', 'running');
        CREATE INDEX tasks_by_session ON tasks (session_id);
        CREATE TABLE events (
            id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL,
            session_id TEXT, task_id TEXT, detail TEXT
        );
        CREATE TABLE node (key TEXT PRIMARY KEY, value TEXT);
    """)


class NotUnique(Exception):
    """A row breaks a unique index; the caller knows what that means."""


@dataclass(frozen=True)
class Happening:
    """A line of the history, written together with the change that it tells of."""

    kind: str  # "session.active", "task.failed", ...
    session_id: str | None = None
    task_id: str | None = None
    detail: Mapping[str, Any] | None = None


class Store:
    """One connection, used by one thread ("store"), which works off what the others ask for.

    Writes happen in the order they were asked for. `alarm` is a sentence when the file that was
    there could not be read and was put aside.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.alarm: str | None = None
        self._clock = clock
        self._queue: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self._db = self._open()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def insert(self, table: str, row: Row, *happenings: Happening) -> None:
        """Add `row`, durable on return; NotUnique where an index refuses it."""
        self.run(self._change(lambda db: db.table(table).insert(_encode(row)), happenings))

    def update(
        self,
        table: str,
        key: str,
        changes: Row,
        *happenings: Happening,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Change a row soon; `then` is called on the store's thread when that is durable.

        A write that fails is logged and `then` called all the same: the truth of a running node is
        in its memory, and a full disk must not keep a board from being cleaned.
        """
        work = self._change(lambda db: db.table(table).update(key, _encode(changes)), happenings)

        def attempt() -> bool:
            try:
                with self._db.atomic():
                    work(self._db)
            except Exception:
                log.exception("A change in %s could not be stored", table)
            if then is not None:
                then()
            return True

        self._queue.put(attempt)

    def select(self, table: str, where: str, *args: Any, order: str | None = None) -> list[Row]:
        """The rows of `table` for which the SQL condition `where` holds."""
        return self.run(
            lambda db: [
                _decode(row) for row in db.table(table).rows_where(where, args, order_by=order)
            ]
        )

    def remember(self, key: str, value: Any, *happenings: Happening) -> None:
        """Keep one JSON value about the node itself, durable on return."""
        row = {"key": key, "value": value}
        self.run(
            self._change(lambda db: db.table("node").upsert(_encode(row), pk="key"), happenings)
        )

    def recall(self, key: str) -> Any:
        """The value that was remembered under `key`, or None."""
        rows = self.select("node", "key = ?", key)
        return rows[0]["value"] if rows else None

    def run(self, work: Work[T]) -> T:
        """The result of `work(database)`, done in one transaction.

        NotUnique where an index refuses it, StorageError where the disk does or where it does not
        answer in 30 s.
        """
        done = threading.Event()
        outcome: list[T] = []
        errors: list[BaseException] = []

        def attempt() -> bool:
            try:
                with self._db.atomic():
                    outcome.append(work(self._db))
            except sqlite3.IntegrityError as error:
                errors.append(NotUnique(str(error)))
            except Exception as error:
                log.exception("The database %s refused a request", self.path)
                errors.append(StorageError(f"The node's database does not work: {error}."))
            finally:
                done.set()
            return True

        self._queue.put(attempt)
        if not self._thread.is_alive() or not done.wait(_PATIENCE):
            raise StorageError("The node's database does not answer.")
        if errors:
            raise errors[0]
        return outcome[0]

    def close(self) -> None:
        """Finish what was asked for and close the file; idempotent."""
        if self._thread.is_alive():
            self._queue.put(lambda: False)
            self._thread.join(_PATIENCE)

    def _work(self) -> None:
        while self._queue.get()():
            pass
        self._db.close()

    def _change(self, change: Work[Any], happenings: Iterable[Happening]) -> Work[None]:
        at = self._clock.wall()

        def work(db: Database) -> None:
            change(db)
            for happening in happenings:
                row = {**vars(happening), "at": at}
                db.table("events").insert(_encode(row))

        return work

    def _open(self) -> Database:
        try:
            return _connect(self.path)
        except sqlite3.DatabaseError as error:
            if not self.path.is_file() or "unable to open" in str(error):
                raise ConfigError(
                    f"{self.path}: the database cannot be opened ({error}); the state directory "
                    "must be a directory that labnode may write"
                ) from error
            aside = self.path.with_name(f"{self.path.name}.unreadable-{int(self._clock.wall())}")
            for suffix in ("", "-wal", "-shm"):
                part = self.path.with_name(self.path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
            self.alarm = f"The database was unreadable ({error}); it was kept as {aside.name}."
            log.error("%s", self.alarm)
            return _connect(self.path)


def _connect(path: Path) -> Database:
    path.touch(mode=0o600) if path.parent.is_dir() and not path.exists() else None
    connection = sqlite3.connect(path, check_same_thread=False)  # opened here, used by one thread
    try:
        connection.executescript(_PRAGMAS)
        if (verdict := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(verdict)
        db = Database(connection, execute_plugins=False)
        migrations.apply(db)
    except BaseException:
        connection.close()
        raise
    return db


def _encode(row: Row) -> Row:
    return {k: json.dumps(v) if k in _JSON_COLUMNS else v for k, v in row.items()}


def _decode(row: Row) -> Row:
    return {k: json.loads(v) if k in _JSON_COLUMNS and v else v for k, v in row.items()}
