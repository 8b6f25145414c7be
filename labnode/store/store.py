"""The node's database: what a call has written is durable when the call returns."""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from labnode.clock import Clock, Turn
from labnode.errors import StorageError
from labnode.store.file import PASSING, open_database, primary_code

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Row = dict[str, Any]

_JSON_COLUMNS = {"client_data", "server_data", "data", "args", "result", "error", "detail", "value"}
_NOT_UNIQUE = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
_PATIENCE = 20.0  # seconds for an answer, and for a commit: a slower SD card has failed
_LAST_WRITES = 5.0  # seconds that close() waits for pending writes
_MOST_LATE = 1000  # changes that wait while the disk refuses them; beyond, only what matters does


_REMEMBER = """
INSERT INTO node (key, value) VALUES (:key, :value)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


class NotUnique(Exception):
    """A row breaks a unique index; the caller knows what that means."""


class _Withdrawn(Exception):
    """Nobody waits for this work any more: it is rolled back."""


@dataclass(frozen=True)
class Happening:
    """A line of the history, written together with the change that it records."""

    kind: str  # "session.active", "task.failed", ...
    session_id: str | None = None
    task_id: str | None = None
    detail: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Change:
    """One that the disk may refuse for a while."""

    work: Work[Any]
    matters: bool
    synced: bool


class Store:
    """One connection, used by one thread ("store"), which does what the others ask for in order.

    `alarm` is a sentence when the existing file could not be read and was put aside. ConfigError
    when there can be no database at `path`.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._late: deque[_Change] = deque()
        self._lost = 0  # changes that were dropped since the disk refuses them
        self._behind = False
        self._closed = False
        self._in_doubt = False  # a commit may land although its caller got an error
        self._busy = Turn(clock, "store")
        self._closing = threading.Lock()
        self._db, self.alarm = open_database(path, clock)
        self._synchronous = int(self._db.execute("PRAGMA synchronous").fetchone()[0])
        self._synced = True  # what commits do now
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def insert(
        self,
        table: str,
        row: Row,
        *happenings: Happening,
        also: Work[Any] | None = None,
        then: Callable[[Any], None] | None = None,
    ) -> None:
        """Add `row`, which has an id, durable on return; NotUnique where an index refuses it.

        `also` is done in the same transaction; `then` gets its result, see run(). StorageError: the
        row is not there.
        """

        def change(db: sqlite3.Connection) -> Any:
            _insert(db, table, _encode(row))
            return None if also is None else also(db)

        self.run(self._change(change, happenings), then=then)

    def update(
        self,
        table: str,
        key: str,
        changes: Row,
        *happenings: Happening,
        also: Work[Any] | None = None,
        then: Callable[[], None] | None = None,
        synced: bool = True,
    ) -> None:
        """Change a row soon; `then` is called, usually on the store's thread, when it is durable.

        `also` is done in the same transaction. If the write fails, that is logged and `then` is
        called as well: a running node's memory is the truth, and a full disk must not keep a board
        from being cleaned. The write is repeated once the disk works again. Until then all changes
        that matter, those with `happenings`, are kept, and the newest of the others. With `synced`
        False the change outlives the process, and a power cut once a later one is synced.
        """
        encoded = _encode(changes)

        def change(db: sqlite3.Connection) -> None:
            _update(db, table, key, encoded)
            if also is not None:
                also(db)

        self.later(
            self._change(change, happenings),
            then or (lambda: None),
            matters=bool(happenings),
            synced=synced,
        )

    def later(
        self,
        work: Work[Any],
        then: Callable[[], None] = lambda: None,
        *,
        matters: bool = False,
        synced: bool = True,
    ) -> None:
        """Do `work(database)` soon, in one transaction, and call `then`; see update()."""

        def attempt() -> None:
            self._late.append(_Change(work, matters, synced))
            self._catch_up()
            self._drop_one()
            _call(then)

        if not self._ask(attempt):
            log.error("A change came after the database was closed, and is lost.")
            _call(then)

    def select(self, table: str, where: str, *args: Any, order: str | None = None) -> list[Row]:
        """The rows of `table` for which the SQL condition `where` holds."""

        return self.run(lambda db: _selected(db, table, where, args, order))

    def remember(self, key: str, value: Any, *happenings: Happening) -> None:
        """Store one JSON value about the node itself, durable on return; see run()."""
        change = self._remembering(key, value, happenings)

        def work(db: sqlite3.Connection) -> None:
            if self._late:  # an older value may be among them, and would be written over this one
                raise StorageError("changes before it are not stored yet")
            change(db)

        self.run(work)

    def remember_soon(self, key: str, value: Any, *happenings: Happening) -> None:
        """The same without waiting, and without an error; see update()."""
        self.later(self._remembering(key, value, happenings), matters=True)

    def note_soon(self, happening: Happening) -> None:
        """Add a line to the history, without waiting and without an error."""
        self.later(self._change(lambda _: None, [happening]), matters=True)

    def recall(self, key: str) -> Any:
        """The value that was remembered under `key`, or None."""
        rows = self.select("node", "key = ?", key)
        return rows[0]["value"] if rows else None

    def soon(self, work: Work[T], then: Callable[[T | None], None], *, synced: bool) -> None:
        """Do `work(database)` soon, in one transaction, and only once.

        `then` gets its result on the store's thread, or None when the disk refuses it, which is
        logged. Nothing happens after close().
        """

        def attempt() -> None:
            result: T | None = None
            try:
                self._catch_up()
                with self._transaction(synced):
                    result = work(self._db)
            except Exception:
                log.exception("The database %s refused a request", self.path)
                result = None
            _call(partial(then, result))

        self._ask(attempt)

    def cursor(self) -> sqlite3.Cursor:
        """A cursor of the transaction that is open on this, the store's thread.

        RuntimeError on other threads, and outside of a transaction.
        """
        if threading.current_thread() is not self._thread or not self._db.in_transaction:
            raise RuntimeError("The database is used inside a piece of work of the store only.")
        return self._db.cursor()

    def run(
        self, work: Work[T], *, then: Callable[[T], None] | None = None, synced: bool = True
    ) -> T:
        """The result of `work(database)`, done in one transaction.

        `then` gets it on the store's thread, before run() returns and unless it raises.

        NotUnique where an index refuses it, StorageError where the disk does or where it does not
        answer in 20 s: then nothing is written, now or later. A commit that has begun cannot be
        withdrawn and gets 20 s more. If it takes longer, nobody knows how it will end, and `fault`
        says so for good: the node has to start again from what is in the file.
        """
        done = threading.Event()
        decided = threading.Lock()  # the first to take it commits the work, or withdraws it
        outcome: list[T] = []
        errors: list[Exception] = []

        def attempt() -> None:
            try:
                self._catch_up()
                with self._transaction(synced):
                    result = work(self._db)
                    if not decided.acquire(blocking=False):
                        raise _Withdrawn
                outcome.append(result)
                if then is not None:
                    _call(partial(then, result))
            except _Withdrawn:
                pass
            except BaseException as error:
                if getattr(error, "sqlite_errorcode", 0) in _NOT_UNIQUE:
                    errors.append(NotUnique(str(error)))
                    return
                log.exception("The database %s refused a request", self.path)
                errors.append(StorageError(f"The node's database does not work: {error}."))
            finally:
                done.set()

        if not self._ask(attempt):
            raise StorageError("The node's database is closed.")
        if not done.wait(_PATIENCE):
            withdrawn = decided.acquire(blocking=False)
            if withdrawn or not done.wait(_PATIENCE):
                self._in_doubt |= not withdrawn
                raise StorageError("The node's database does not answer.")
        if errors:
            raise errors[0]
        return outcome[0]

    @property
    def behind(self) -> bool:
        """Whether the change whose `then` is being called, or one before it, is not in the file."""
        return self._behind

    def fault(self) -> str | None:
        """Why nothing is stored any more, or None; any thread may ask."""
        if self._closed:
            return None
        if not self._thread.is_alive():
            return "the database's thread has died"
        if self._in_doubt:
            return f"the database has not finished a commit in {_PATIENCE:g} s"
        return self._busy.fault()

    def close(self) -> None:
        """Finish all requests and close the file; idempotent."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(_LAST_WRITES)

    def _ask(self, attempt: Callable[[], None]) -> bool:
        """Queue something that raises nothing for the store's thread; False when it is closed."""
        with self._closing:
            if not self._closed:
                self._queue.put(attempt)
            return not self._closed

    def _catch_up(self) -> None:
        """Write late changes in their order; what the disk refuses stays late."""
        self._behind = False
        while self._late:
            try:
                with self._transaction(self._late[0].synced):
                    self._late[0].work(self._db)
            except Exception as error:
                log.exception("A change could not be stored")
                self._behind = True
                if primary_code(error) in PASSING:
                    return
            self._late.popleft()
        if self._lost:
            log.error("The disk takes changes again; %d were lost.", self._lost)
            self._lost = 0

    @contextmanager
    def _transaction(self, synced: bool) -> Iterator[None]:
        if synced != self._synced:  # NORMAL writes the log without waiting for the disk
            level = self._synchronous if synced else min(self._synchronous, 1)
            self._db.execute(f"PRAGMA synchronous = {level}")
            self._synced = synced
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.rollback()  # nothing, where the error has ended the transaction
            raise

    def _drop_one(self) -> None:
        """Drop the oldest change that does not matter, if too many wait."""
        place = next((n for n, late in enumerate(self._late) if not late.matters), None)
        if place is None or len(self._late) <= _MOST_LATE:
            return
        del self._late[place]
        if not self._lost:
            log.error("More than %d changes wait for the disk: some are lost.", _MOST_LATE)
        self._lost += 1

    def _work(self) -> None:
        while (attempt := self._queue.get()) is not None:
            with self._busy:
                attempt()
        try:
            self._db.close()
        except sqlite3.Error:
            log.exception("The database did not close")

    def _remembering(self, key: str, value: Any, happenings: Iterable[Happening]) -> Work[None]:
        row = _encode({"key": key, "value": value})

        def work(db: sqlite3.Connection) -> None:
            db.execute(_REMEMBER, row)

        return self._change(work, happenings)

    def _change(self, change: Work[T], happenings: Iterable[Happening]) -> Work[T]:
        at = self._clock.wall()

        def work(db: sqlite3.Connection) -> T:
            result = change(db)
            for happening in happenings:
                row = {**vars(happening), "at": at}
                _insert(db, "events", _encode(row))
            return result

        return work


def _call(then: Callable[[], None]) -> None:
    try:
        then()
    except Exception:  # other requests wait for this thread
        log.exception("What follows a change of the database failed")


def _insert(db: sqlite3.Connection, table: str, row: Row) -> None:
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(row.values()))


def _update(db: sqlite3.Connection, table: str, key: str, changes: Row) -> None:
    if not changes:  # nothing of them was JSON data
        return
    setting = ", ".join(f"{column} = ?" for column in changes)
    done = db.execute(f"UPDATE {table} SET {setting} WHERE id = ?", [*changes.values(), key])
    if done.rowcount != 1:
        raise LookupError(f"{table} has no row {key!r}")


def _encode(row: Row) -> Row:
    encoded = {}
    for column, value in row.items():
        try:
            encoded[column] = json.dumps(value) if column in _JSON_COLUMNS else value
        except (TypeError, ValueError, RuntimeError):  # a lab's mistake; the rest has to be written
            log.exception("What was to be stored as %s is not JSON data; it is left out.", column)
    return encoded


class StoredRows:
    """The database of a node that does not run, to be read; StorageError where it cannot be."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def select(self, table: str, where: str, *args: Any, order: str | None = None) -> list[Row]:
        """As `Store.select`."""
        try:
            with closing(
                sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            ) as db:
                return _selected(db, table, where, args, order)
        except sqlite3.Error as error:
            raise StorageError(f"{self._path} cannot be read: {error}.") from error


def _selected(
    db: sqlite3.Connection, table: str, where: str, args: Iterable[Any], order: str | None
) -> list[Row]:
    sorting = f" ORDER BY {order}" if order else ""
    rows = db.execute(f"SELECT * FROM {table} WHERE {where}{sorting}", tuple(args))
    names = [column for column, *_ in rows.description]
    return [_decode(dict(zip(names, row, strict=True))) for row in rows]


def _decode(row: Row) -> Row:
    return {k: _value(k, v) if k in _JSON_COLUMNS and v else v for k, v in row.items()}


def _value(column: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):  # a bit has flipped; that must not keep the node from starting
        log.error("The database has something in the column %s that is not JSON.", column)
        return None
