"""The spool: uploaded files that wait for their device, under random names."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from labnode.errors import ConfigError, Problem
from labnode.files import private
from labnode.locale import Message

_ROOM = 16 << 20  # bytes of the disk that stay free
_SUFFIX = re.compile(r"\.[a-z0-9]{1,10}")


class NoRoom(OSError):
    """The disk is nearly full."""


class Spooled:
    """A file of `owner` (a session) that is being uploaded, until `keep` or `discard`; one thread.

    `limit` is in bytes; the writer has to respect it.
    """

    def __init__(self, spool: Spool, owner: str, limit: int) -> None:
        self.owner = owner
        self.limit = limit
        self.path = spool.folder / f"{secrets.token_hex(16)}.part"
        self.size = 0
        self.kept = False
        self._spool = spool
        self._hash = hashlib.sha256()
        self._file: BinaryIO = open(self.path, "xb", opener=private)  # noqa: SIM115

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def keep(self, suffix: str) -> Path:
        """The upload is complete; returns the new path, which ends in `suffix` (".hex")."""
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(Message("board.no-ending", suffix=repr(suffix)))
        self._file.close()
        self.path = self.path.rename(self.path.with_suffix(suffix))
        self.kept = True
        return self.path

    def discard(self) -> None:
        """Delete the file unless it is kept; idempotent."""
        if not self.kept:
            with suppress(OSError):
                self._file.close()
            self._spool.remove(self.path)


class Spool:
    """A folder of uploaded files, emptied at the start of the node.

    It needs no fsync: files from before a restart are never used. ConfigError if it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._files: list[Spooled] = []
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = Message("board.no-spool-folder", why=str(error.strerror))
            raise ConfigError(Problem(str(folder), message)) from None

    def begin(self, owner: str, limit: int) -> Spooled:
        """A new file of at most `limit` bytes; NoRoom, or another OSError of the disk."""
        if shutil.disk_usage(self.folder).free < limit + _ROOM:
            raise NoRoom("the disk is nearly full")
        spooled = Spooled(self, owner, limit)
        with self._lock:
            self._files.append(spooled)
        return spooled

    def coming_in(self, owner: str | None = None) -> int:
        """How many files of one owner, or of all, are being uploaded."""
        with self._lock:
            return sum(not file.kept and owner in (None, file.owner) for file in self._files)

    def remove(self, path: Path) -> None:
        """Delete a file; one outside of the spool stays."""
        if path.parent == self.folder:
            path.unlink(missing_ok=True)
            with self._lock:
                self._files = [file for file in self._files if file.path != path]

    def empty(self, owner: str) -> None:
        """Delete all files of `owner`."""
        with self._lock:
            paths = [file.path for file in self._files if file.owner == owner]
        for path in paths:
            self.remove(path)
