"""Backups: a node's database, its key and its users' files in one archive, and back again."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from labnode.errors import LabnodeError
from labnode.files import private
from labnode.locale import Message
from labnode.store.file import MIGRATIONS, applied

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


@contextlib.contextmanager
def new_archive(archive: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `archive` at the end of the block, and never replaces another.

    Only its owner may read it. BackupError when `archive` exists or cannot be made; then, and after
    an error in the block, nothing is left.
    """
    part = f".labnode-backup-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as undo:
        try:
            # Held open, so that all of this is in one directory whatever its path leads to later.
            directory = os.open(archive.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
            undo.callback(os.close, directory)
            with contextlib.suppress(FileNotFoundError):
                os.stat(archive.name, dir_fd=directory, follow_symlinks=False)
                raise FileExistsError
            with open(part, "xb", opener=partial(_new, directory)) as out:
                undo.callback(_unlink, part, directory)
                yield out
                out.flush()
                os.fsync(out.fileno())
            _put(part, archive.name, directory)
        except FileExistsError:
            raise BackupError(Message("cli.backup-exists", file=archive)) from None
        except OSError as error:
            raise BackupError(Message("cli.backup-not-written", file=archive, why=error)) from error


def back_up(state_dir: Path, out: BinaryIO, place: Path) -> ArchiveContent:
    """Write all data of a node into `out`, as a tar file.

    The node may run meanwhile, undisturbed. A copy of its database is in the directory `place` for
    that time. BackupError when there is nothing to back up, or a disk is too small.
    """
    database = state_dir / DATABASE
    if not database.is_file():
        raise BackupError(Message("cli.no-database", name=DATABASE, directory=state_dir))
    try:
        _check_room(state_dir, place, out)
        with tempfile.TemporaryDirectory(prefix=".labnode-backup-", dir=place) as name:
            copy = Path(name) / DATABASE
            with contextlib.closing(sqlite3.connect(database, timeout=_PATIENCE)) as connection:
                connection.execute("VACUUM INTO ?", (str(copy),))
            sessions = _check_database(copy)
            files = _pack(state_dir, copy, out)
            return ArchiveContent(sessions, files, os.fstat(out.fileno()).st_size)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(Message("cli.not-backed-up", directory=state_dir, why=error)) from error


def restore(archive: BinaryIO, state_dir: Path, aside: str) -> ArchiveContent:
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
            old.mkdir(mode=0o700)
            with _moved(_CURRENT, state_dir, old), _moved(_CURRENT, place, state_dir):
                _sync(state_dir)
        return ArchiveContent(sessions, files, os.fstat(archive.fileno()).st_size)
    except tarfile.ReadError:
        raise BackupError(Message("cli.no-backup", file=archive.name)) from None
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        raise BackupError(Message("cli.not-restored", file=archive.name, why=error)) from error


# ---------------------------------------------------------------------- the database


def _check_database(path: Path) -> int:
    """The number of its sessions; BackupError where this labnode cannot use it."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise BackupError(Message("cli.backup-broken", why=verdict))
            unknown = applied(connection) - set(MIGRATIONS)
            sessions = connection.execute("SELECT count(*) FROM sessions").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise BackupError(Message("cli.backup-no-database", why=error)) from error
    if unknown:
        raise BackupError(Message("cli.backup-newer", names=", ".join(sorted(unknown))))
    return int(sessions)


# ---------------------------------------------------------------------- the archive


def _new(directory: int, name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=directory)


def _put(part: str, name: str, directory: int) -> None:
    """Give the file its name at once, never over another file; FAT has no links for this."""
    open(name, "xb", opener=partial(_new, directory)).close()  # ours from here on
    try:
        os.replace(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        _unlink(name, directory)
        raise


def _unlink(name: str, directory: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def _check_room(state_dir: Path, place: Path, out: BinaryIO) -> None:
    """Whether the copy of the database fits into `place`, and the archive where `out` is."""
    copy = (state_dir / DATABASE).stat().st_size
    whole = copy + sum(path.stat().st_size for path in _regular(state_dir / _USERS))
    if place.stat().st_dev == os.fstat(out.fileno()).st_dev:
        copy = whole = copy + whole
    for where, needed in ((place, copy + _SPARE), (out.fileno(), whole + _SPARE)):
        free = shutil.disk_usage(where).free
        if free < needed:
            name = place if where is place else Message("cli.the-archive")
            words = Message("cli.backup-room", needed=needed >> 20, path=name, free=free >> 20)
            raise BackupError(words)


def _pack(state_dir: Path, database: Path, out: BinaryIO) -> int:
    """Write the archive; returns the number of users' files."""
    number = 0
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(database, DATABASE)
        with contextlib.suppress(FileNotFoundError):
            tar.add(state_dir / _KEY, _KEY)
        for path in _regular(state_dir / _USERS):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                tar.add(path, str(path.relative_to(state_dir)))
                number += 1
    out.flush()
    return number


def _regular(directory: Path) -> Iterator[Path]:
    """The files below a directory; links could lead anywhere and are left out."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _unpack(archive: BinaryIO, place: Path) -> int:
    """Unpack the archive below `place`; returns the number of users' files."""
    number = 0
    with tarfile.open(fileobj=archive, mode="r:*") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            ours = member.name in (DATABASE, _KEY) or path.parts[:1] == (_USERS,)
            if not (ours and member.isreg() and ".." not in path.parts):
                words = Message("cli.backup-has", file=archive.name, name=member.name)
                raise BackupError(words)
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
        raise BackupError(Message("cli.backup-has-no", file=archive.name, name=DATABASE))
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


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
