"""The SQLite file: how it is opened, its tables, and how a broken one is put aside."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from labnode.clock import Clock
from labnode.errors import ConfigError

if TYPE_CHECKING:
    from sqlite_utils import Database

log = logging.getLogger(__name__)

_PRAGMAS = """
PRAGMA page_size = 1024;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA busy_timeout = 5000;
PRAGMA wal_autocheckpoint = 200;
PRAGMA journal_size_limit = 1048576;
"""
# Small pages: a commit changes a few short rows, and this halves what a session writes to the card.
# FULL because a power cut after an answer must not take the answer back; WAL with NORMAL lost
# acknowledged commits in 9 of 10 simulated power cuts.

_BESIDE = ("-journal", "-wal", "-shm")  # SQLite's own files

# Errors that may pass, such as a full disk or a file locked by another program.
# A full disk is an IOERR, too, where SQLite makes its -shm file.
PASSING = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
}
_LASTING = {  # among the IOERRs: the file itself cannot be read
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}


def _first(db: Database | sqlite3.Connection) -> None:
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


def _users(db: Database | sqlite3.Connection) -> None:
    db.executescript("""
        CREATE TABLE users (
            username_unique TEXT PRIMARY KEY, first_seen REAL NOT NULL, last_seen REAL NOT NULL,
            secret TEXT NOT NULL, folder TEXT NOT NULL
        ) WITHOUT ROWID;
    """)


def _actions(db: Database | sqlite3.Connection) -> None:
    db.executescript("""
        CREATE TABLE actions (
            id INTEGER PRIMARY KEY, session_id TEXT, username_unique TEXT, at REAL NOT NULL,
            action TEXT NOT NULL, data TEXT NOT NULL
        );
        CREATE INDEX actions_by_session ON actions (session_id);
        CREATE INDEX actions_by_user ON actions (username_unique);
    """)


def _huey(db: Database | sqlite3.Connection) -> None:
    """Huey's tables; its own file of older versions, which began empty at each start, goes."""
    from huey.storage import SqliteStorage  # noqa: PLC0415 - the commands that need no node are quick

    db.executescript(";".join(SqliteStorage.ddl))
    _, _, file = db.execute("PRAGMA database_list").fetchone()
    for suffix in ("", *_BESIDE) if file else ():
        with suppress(OSError):
            Path(file).with_name(f"queue.db{suffix}").unlink()


MIGRATIONS: dict[str, Callable[[Database | sqlite3.Connection], None]] = {
    "0001_first": _first,
    "0002_users": _users,
    "0003_actions": _actions,
    "0004_huey": _huey,
}


def open_database(path: Path, clock: Clock) -> tuple[sqlite3.Connection, str | None]:
    """The database at `path`, created if missing, with all its tables.

    An unreadable one is put aside and replaced by an empty one; then the second value is a sentence
    about that. ConfigError when there can be no database at all.
    """
    try:
        try:
            return _connect(path), None
        except Exception as error:  # with a few flipped bits, sqlite_utils raises anything
            if _may_pass(error):
                raise
            aside = _put_aside(path, int(clock.wall()))
            alarm = f"The database was unreadable ({error}); it was kept as {aside.name}."
            log.error("%s", alarm)
            return _connect(path), alarm
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"{path}: the database cannot be opened ({error}); it must be a file that labnode "
            "alone uses, in a directory that it may write"
        ) from error


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code; 0 for other errors."""
    return _code(error) & 0xFF


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))


def _may_pass(error: Exception) -> bool:
    if isinstance(error, OSError | MemoryError):
        return True
    return primary_code(error) in PASSING and _code(error) not in _LASTING


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        _create(path)
    elif path.is_file() and path.stat().st_size == 0:  # SQLite would take it for a new one
        raise sqlite3.DatabaseError("it is empty")
    connection = sqlite3.connect(path, check_same_thread=False)  # opened here, used by one thread
    connection.text_factory = lambda raw: raw.decode(errors="replace")  # a bit may have flipped
    try:
        connection.executescript(_PRAGMAS)
        # Not quick_check, which does not see that an index is not that of its table.
        if (verdict := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(verdict)
        if not applied(connection).issuperset(MIGRATIONS):
            _migrate(connection)
        _check_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def applied(db: sqlite3.Connection) -> set[str]:
    """The names of the migrations that `db` has seen; none where it has no tables of labnode's."""
    if not _columns(db, "_sqlite_migrations"):
        return set()
    return {name for (name,) in db.execute("SELECT name FROM _sqlite_migrations")}


def _migrate(connection: sqlite3.Connection) -> None:
    # Once in a database's life: most starts are spared the library, a sixth of what they load.
    from sqlite_utils import Database, Migrations  # noqa: PLC0415

    migrations = Migrations("labnode")
    for name, migration in MIGRATIONS.items():
        migrations(name=name)(migration)
    migrations.apply(Database(connection, execute_plugins=False))


def _check_tables(db: sqlite3.Connection) -> None:
    """DatabaseError if a column is missing: bits of what SQLite knows of a table have flipped.

    A newer labnode's database may have more.
    """
    new = sqlite3.connect(":memory:")
    try:
        for migration in MIGRATIONS.values():
            migration(new)
        for (table,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            if missing := _columns(new, table) - _columns(db, table):
                names = ", ".join(sorted(missing))
                raise sqlite3.DatabaseError(f"the table {table} has no {names}")
    finally:
        new.close()


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _create(path: Path) -> None:
    """Make an empty database; a power cut leaves either none or a whole one."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    for file in (new, path):
        for suffix in _BESIDE:  # a log of another database would be read into this one
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    new.touch(mode=0o600)
    connection = sqlite3.connect(new)
    try:
        connection.executescript(_PRAGMAS)
    finally:
        connection.close()
    new.replace(path)


def _put_aside(path: Path, at: int) -> Path:
    while (aside := path.with_name(f"{path.name}.unreadable-{at}")).exists():
        at += 1  # a Pi without a network always starts at the same time
    for suffix in ("", *_BESIDE):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
