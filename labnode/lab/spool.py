"""The spool: where files of students wait for their device, under names that nobody chose."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from labnode.files import private

_ROOM = 16 << 20  # bytes that stay free on the disk, whoever uploads
_SUFFIX = re.compile(r"\.[a-z0-9]{1,10}")


class NoRoom(OSError):
    """The disk would be full."""


class Spooled:
    """A file that is coming in; `close` has it wait, `discard` throws it away. Any one thread."""

    def __init__(self, path: Path, limit: int, gone: Callable[[Spooled], None]) -> None:
        self._gone = gone
        self.path = path
        self.limit = limit  # bytes; whoever writes sees to it
        self.size = 0
        self.kept = False
        self._hash = hashlib.sha256()
        self._file: BinaryIO = open(path, "xb", opener=private)  # noqa: SIM115

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def keep(self, suffix: str) -> Path:
        """It is complete, of the kind `suffix` (".hex"); returns its path from now on."""
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"{suffix!r} is no ending of a file in the spool")
        self._file.close()
        self.path = self.path.rename(self.path.with_suffix(suffix))
        self.kept = True
        return self.path

    def discard(self) -> None:
        """Throw it away, unless it was kept; idempotent."""
        if not self.kept:
            with suppress(OSError):
                self._file.close()
            self.path.unlink(missing_ok=True)
            self._gone(self)


class Spool:
    """A folder that is emptied at boot, and of what an `owner` (a session) left when that is over.

    Nothing in it has to survive anything: what waits in it when the node ends is never used again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._owned: dict[str, list[Spooled]] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self, owner: str, limit: int) -> Spooled:
        """Room for a file of at most `limit` bytes; NoRoom, or another OSError of the disk."""
        if shutil.disk_usage(self.folder).free < limit + _ROOM:
            raise NoRoom("the disk is nearly full")
        spooled = Spooled(self.folder / f"{secrets.token_hex(16)}.part", limit, self._forget)
        with self._lock:
            self._owned.setdefault(owner, []).append(spooled)
        return spooled

    def _forget(self, spooled: Spooled) -> None:
        with self._lock:
            for owner, files in list(self._owned.items()):
                files[:] = [file for file in files if file is not spooled]
                if not files:
                    del self._owned[owner]

    def coming_in(self, owner: str | None = None) -> int:
        """How many files are coming in, for one owner or all."""
        with self._lock:
            owners = list(self._owned.values()) if owner is None else [self._owned.get(owner, [])]
            return sum(not file.kept for files in owners for file in files)

    def remove(self, path: Path) -> None:
        """Throw a file away that was kept; one that is none of the spool's stays."""
        if path.parent == self.folder:
            path.unlink(missing_ok=True)
            with self._lock:
                found = [f for files in self._owned.values() for f in files if f.path == path]
            for spooled in found:
                self._forget(spooled)

    def empty(self, owner: str) -> None:
        """Throw away whatever is there of `owner`."""
        with self._lock:
            files = self._owned.pop(owner, [])
        for file in files:
            file.path.unlink(missing_ok=True)
