"""What a disk has after a power cut, by what a process had written and synced until then."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.kit.strace import Call

SECTOR = 512
CALLS = ("openat", "open", "creat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync",
         "rename", "renameat", "renameat2", "unlink", "unlinkat")  # fmt: skip


class File:
    """A file: what is on the disk, and what was changed since, in its order."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = bytearray(durable)
        self.changes: list[tuple[int, int, bytes | None]] = []  # line, offset or size, data
        self.size = len(durable)

    def write(self, line: int, offset: int, data: bytes) -> None:
        self.changes.append((line, offset, data))
        self.size = max(self.size, offset + len(data))

    def truncate(self, line: int, size: int) -> None:
        self.changes.append((line, size, None))
        self.size = size

    def sync(self, since: int) -> None:
        """All changes that had ended before this line are on the disk now."""
        for _, place, data in [change for change in self.changes if change[0] < since]:
            _change(self.durable, place, data)
        self.changes = [change for change in self.changes if change[0] >= since]

    def after_cut(self, survives: Callable[[int], bool]) -> bytes:
        """The content when each sector of the change with a number has come to the disk or not."""
        content = bytearray(self.durable)
        for number, (_, place, data) in enumerate(self.changes):
            if data is None:
                if survives(number):
                    _change(content, place, None)
                continue
            end = place + len(data)
            at = place
            while at < end:
                until = min(end, (at // SECTOR + 1) * SECTOR)
                if survives(number):
                    _change(content, at, data[at - place : until - place])
                at = until
        return bytes(content)


class Disk:
    """The files below `root`, which may have something already: that is on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self._files = {str(p): File(p.read_bytes()) for p in root.rglob("*") if p.is_file()}
        self._durable = dict(self._files)
        self._renames: list[tuple[int, str, File | None]] = []  # line, name, what it leads to

    def do(self, call: Call) -> bool:
        """What a call changes; False if that is nothing here."""
        if call.name in ("openat", "open", "creat"):
            return self._open(call)
        if call.name.startswith(("rename", "unlink")):
            texts = [n for n, argument in enumerate(call.arguments) if argument[:1] == '"']
            paths = [call.path(number) for number in texts]
            if not all(path.startswith(self._root) for path in paths):
                return False
            file = self._files.pop(paths[0], None)
            self._name(call, paths[0], None)
            if len(paths) == 2 and file is not None:
                self._name(call, paths[1], file)
            return True
        path = call.path()
        if call.name in ("fsync", "fdatasync") and f"{path}/".startswith(self._root):
            if path in self._files:
                self._files[path].sync(call.begun)
            else:
                self._sync_names(path, call.begun)
            return True
        file = self._files.get(path)
        if file is None:
            return False
        if call.name == "write":
            file.write(call.ended, file.size, call.data()[: call.result])
        elif call.name == "pwrite64":
            file.write(call.ended, int(call.arguments[3]), call.data()[: call.result])
        else:
            file.truncate(call.ended, int(call.arguments[1]))
        return True

    def after_cut(self, dice: random.Random, into: Path) -> None:
        """Write what a power cut may leave now into a directory."""
        in_order = dice.random() < 0.3  # and the last one torn; else in any order
        likely = 0.5 if in_order else dice.choice([0.0, 0.1, 0.5, 0.9])
        names = dict(self._durable)
        for _, path, file in self._renames[: dice.randint(0, len(self._renames))]:
            _lead(names, path, file)
        for path, file in names.items():
            last = dice.randint(0, len(file.changes)) if in_order else None

            def survives(number: int, last: int | None = last) -> bool:
                return dice.random() < likely if last in (None, number) else number < last

            target = into / path.removeprefix(self._root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("-shm"):  # memory of processes that are gone
                target.write_bytes(dice.randbytes(dice.choice([0, 3, 32768])))
            else:
                target.write_bytes(file.after_cut(survives))

    def _open(self, call: Call) -> bool:
        if not call.opened.startswith(self._root):
            return False
        flags = " ".join(call.arguments)
        if call.opened not in self._files and "O_CREAT" in flags:
            self._name(call, call.opened, File())
        if "O_TRUNC" in flags:
            self._files[call.opened].truncate(call.ended, 0)
        return "O_CREAT" in flags or "O_TRUNC" in flags

    def _name(self, call: Call, path: str, file: File | None) -> None:
        _lead(self._files, path, file)
        self._renames.append((call.ended, path, file))

    def _sync_names(self, directory: str, since: int) -> None:
        def synced(change: tuple[int, str, File | None]) -> bool:
            return change[0] < since and change[1].rpartition("/")[0] == directory

        for change in filter(synced, self._renames):
            _lead(self._durable, *change[1:])
        self._renames = [change for change in self._renames if not synced(change)]


def _lead(names: dict[str, File], path: str, file: File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file


def _change(content: bytearray, place: int, data: bytes | None) -> None:
    if data is None:
        del content[place:]
        data = b""
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    content[place : place + len(data)] = data
