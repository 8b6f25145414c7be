"""Backups: a node's database, its key and its users' files in one archive, and back again."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labnode.errors import LabnodeError
from labnode.files import private
from labnode.store.file import migrations

DATABASE = "labnode.db"
_KEY, _USERS = "secret_key", "users"
_CURRENT = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", _KEY, _USERS,
            "queue.db", "queue.db-wal", "queue.db-shm")  # fmt: skip
_PATIENCE = 30.0  # seconds for a node that writes at the same time
_SPARE = 8 << 20  # bytes of the disk that a backup leaves to the node


class BackupError(LabnodeError):
    """A backup could not be made, or cannot be used."""

    code = "backup"


@dataclass(frozen=True)
class ArchiveContent:
    """What is in an archive."""

    sessions: int
    files: int  # of users
    size: int  # of the archive, in bytes


def back_up(state_dir: Path, archive: Path) -> ArchiveContent:
    """Write all data of a node into `archive`, a tar file that only its owner may read.

    The node may run meanwhile, undisturbed. BackupError when there is nothing to back up, or
    `archive` exists, or the disk is too small.
    """
    database = state_dir / DATABASE
    if not database.is_file():
        raise BackupError(f"There is no {DATABASE} in {state_dir}: no node has run with it.")
    if archive.exists():
        raise BackupError(f"{archive} exists already; a backup overwrites nothing.")
    try:
        _check_room(state_dir, archive.parent)
        with tempfile.TemporaryDirectory(prefix=".labnode-backup-", dir=archive.parent) as place:
            copy = Path(place) / DATABASE
            with contextlib.closing(sqlite3.connect(database, timeout=_PATIENCE)) as connection:
                connection.execute("VACUUM INTO ?", (str(copy),))
            sessions = _check_database(copy)
            whole = Path(place) / "archive.tar"
            files = _pack(state_dir, copy, whole)
            _put(whole, archive)
            return ArchiveContent(sessions, files, archive.stat().st_size)
    except FileExistsError:
        raise BackupError(f"{archive} exists already; a backup overwrites nothing.") from None
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{archive} could not be written: {error}.") from error


def restore(archive: Path, state_dir: Path, aside: str) -> ArchiveContent:
    """Replace the data in `state_dir` by that of `archive`; the old data goes into `aside` there.

    No node may run. BackupError when the archive cannot be used: then nothing has changed.
    """
    old = state_dir / aside
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".labnode-restore-", dir=state_dir) as name:
            place = Path(name)
            files = _unpack(archive, place)
            sessions = _check_database(place / DATABASE)
            _own(place, state_dir)
            old.mkdir(mode=0o700)
            _own(old, state_dir)
            with _moved(_CURRENT, state_dir, old), _moved(_CURRENT, place, state_dir):
                _sync(state_dir)
        return ArchiveContent(sessions, files, archive.stat().st_size)
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        raise BackupError(f"{archive} could not be restored: {error}.") from error


# ---------------------------------------------------------------------- the database


def _check_database(path: Path) -> int:
    """The number of its sessions; BackupError where this labnode cannot use it."""
    known = {migration.name for migration in migrations._migrations}
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise BackupError(f"The database in it is broken: {verdict}.")
            names = connection.execute("SELECT name FROM _sqlite_migrations").fetchall()
            sessions = connection.execute("SELECT count(*) FROM sessions").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise BackupError(f"What is in it is no database of labnode's: {error}.") from error
    if unknown := {name for (name,) in names} - known:
        raise BackupError(
            f"It comes from a newer labnode, whose database has {', '.join(sorted(unknown))}; "
            "upgrade this one first."
        )
    return int(sessions)


# ---------------------------------------------------------------------- the archive


def _put(whole: Path, archive: Path) -> None:
    """Move it into place at once, never over another file; FAT has no links for this."""
    archive.open("xb").close()  # ours from here on
    try:
        whole.replace(archive)
    except OSError:
        archive.unlink()
        raise


def _check_room(state_dir: Path, target: Path) -> None:
    files = list(_regular(state_dir / _USERS))
    database = (state_dir / DATABASE).stat().st_size
    needed = 2 * database + sum(path.stat().st_size for path in files) + _SPARE
    free = shutil.disk_usage(target).free
    if free < needed:
        raise BackupError(
            f"A backup needs {needed >> 20} MiB where {target} is, and only {free >> 20} MiB are "
            "free."
        )


def _pack(state_dir: Path, database: Path, archive: Path) -> int:
    """Write the archive; returns the number of users' files."""
    with open(archive, "wb", opener=private) as out:
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.add(database, DATABASE)
            with contextlib.suppress(FileNotFoundError):
                tar.add(state_dir / _KEY, _KEY)
            number = 0
            for path in _regular(state_dir / _USERS):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    tar.add(path, str(path.relative_to(state_dir)))
                    number += 1
        out.flush()
        os.fsync(out.fileno())
    return number


def _regular(directory: Path) -> Iterator[Path]:
    """The files below a directory; links could lead anywhere and are left out."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _unpack(archive: Path, place: Path) -> int:
    """Unpack the archive below `place`; returns the number of users' files."""
    number = 0
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            ours = member.name in (DATABASE, _KEY) or path.parts[:1] == (_USERS,)
            if not (ours and member.isreg() and ".." not in path.parts):
                raise BackupError(f"{archive} is no backup of labnode's: it has {member.name!r}.")
            target = place / path
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            source = tar.extractfile(member)
            assert source is not None
            with source, open(target, "wb", opener=private) as out:
                shutil.copyfileobj(source, out)
                out.flush()
                os.fsync(out.fileno())
            number += path.parts[0] == _USERS
    if not (place / DATABASE).exists():
        raise BackupError(f"{archive} is no backup of labnode's: it has no {DATABASE}.")
    return number


# ---------------------------------------------------------------------- changing places


@contextlib.contextmanager
def _moved(names: tuple[str, ...], source: Path, target: Path) -> Iterator[None]:
    """Move those of `names` that exist; moved back if that or the block fails."""
    with contextlib.ExitStack() as back:
        for name in names:
            if (source / name).exists():
                (source / name).rename(target / name)
                back.callback((target / name).rename, source / name)
        yield
        back.pop_all()


def _own(place: Path, state_dir: Path) -> None:
    """Give files created by root to the owner of the state directory."""
    owner = state_dir.stat()
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
