"""Changes of a system: each can say what it does, do it, and undo it.

To add one, write a subclass of Change and let a command make it: `changes.make(MyChange(...))`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from labnode.errors import LabnodeError


class Failed(LabnodeError):
    """The command cannot go on; one sentence says why. What it has changed is undone."""


class Interrupted(BaseException):
    """A signal ends the command, with this exit code. What it has changed is undone."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def say(*words: str) -> None:
    """One line for the person: on stderr, because stdout belongs to labnode and to the tests."""
    sys.stderr.write(f"install.sh: {' '.join(words)}\n")
    sys.stderr.flush()


def ask(question: str) -> str:
    """What the person at the terminal answers."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


class Change(ABC):
    """One change of the system."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """What is done, for a person ("write /etc/x"); nothing when it is not worth a word."""

    def needed(self) -> bool:
        """Whether there is something to do; it is asked in a dry run, too."""
        return True

    @abstractmethod
    def do(self) -> None:
        """Do it. Failed, with a sentence, when that is not possible."""

    @abstractmethod
    def undo(self) -> None:
        """Put back what `do` has changed, also when it has failed half-way."""

    def finish(self) -> None:
        """Throw away what `undo` would have needed: the command has succeeded."""
        return


class Changes:
    """All changes of one command, in their order; in a dry run they are only told."""

    def __init__(self, *, dry: bool, yes: bool = False) -> None:
        self.dry = dry
        self._yes = yes
        self.any = False  # whether something was changed, or would have been
        self._done: list[Change] = []
        self._scratch: Path | None = None

    @property
    def scratch(self) -> Path:
        """A directory for this command alone, which is removed at its end."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="labnode-install."))
        return self._scratch

    def make(self, change: Change) -> bool:
        """Make `change` if it is needed, and remember how to undo it; whether it was needed."""
        if not change.needed():
            return False
        if change.sentence:
            say(change.sentence)
            self.any = True
        if not self.dry:
            self._done.append(change)  # first: an interruption may come in the middle
            change.do()
        return True

    def refuse(self, sentence: str) -> None:
        """Failed with this sentence; a dry run says it and goes on."""
        if not self.dry:
            raise Failed(sentence)
        say(sentence)

    def consent(self, question: str) -> bool:
        """Whether the person says yes, or has said so beforehand."""
        if self._yes or self.dry:
            return True
        if not sys.stdin.isatty():
            say(f"{question} There is nobody to ask; --yes is a yes.")
            return False
        return ask(f"{question} [y/N] ").lower().startswith("y")

    def take_back(self) -> None:
        """Undo all changes, the last first; one that cannot be undone is told and passed over."""
        if any(change.sentence for change in self._done):
            say("taking back what was changed")
        while self._done:
            change = self._done.pop()
            try:
                change.undo()
            except (OSError, LabnodeError) as error:
                say(f"could not undo '{change.sentence}': {error}")

    def keep(self) -> None:
        """The command has succeeded: nothing is undone from now on."""
        done, self._done = self._done, []
        for change in done:
            change.finish()

    def close(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


class WriteFile(Change):
    """A file with this content, and the directories above it."""

    def __init__(self, path: Path, content: str | bytes, mode: int = 0o644) -> None:
        self.path = path
        self._content = content.encode() if isinstance(content, str) else content
        self._mode = mode
        self._above = MakeDirectories(path.parent)
        self._before: tuple[bytes, os.stat_result] | None = None
        self._begun = False

    @property
    def sentence(self) -> str:
        return f"write {self.path}"

    def needed(self) -> bool:
        return content_of(self.path) != self._content

    def do(self) -> None:
        self._above.do()
        if self.path.is_file():
            self._before = self.path.read_bytes(), self.path.stat()
        self._begun = True
        _replace(self.path, self._content, self._mode)

    def undo(self) -> None:
        if self._begun:
            _new(self.path).unlink(missing_ok=True)
            if self._before is None:
                self.path.unlink(missing_ok=True)
            else:
                content, status = self._before
                _replace(self.path, content, status.st_mode & 0o7777)
                os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns))
                if os.geteuid() == 0:
                    os.chown(self.path, status.st_uid, status.st_gid)
        self._above.undo()


def content_of(path: Path) -> bytes | None:
    """None when there is no such file, or it is not ours to read (in a dry run)."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _replace(path: Path, content: bytes, mode: int) -> None:
    """At once: a reader sees the old file or the whole new one."""
    new = _new(path)
    new.unlink(missing_ok=True)  # of a power cut
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    new.replace(path)


class MakeDirectories(Change):
    """A directory, and those above it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[Path] = []

    @property
    def sentence(self) -> str:
        return ""

    def needed(self) -> bool:
        return not self.path.is_dir()

    def do(self) -> None:
        for directory in [*reversed(self.path.parents), self.path]:
            if not directory.is_dir():
                self._made.append(directory)
                directory.mkdir()

    def undo(self) -> None:
        while self._made:
            directory = self._made.pop()
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()


class Remove(Change):
    """A file or directory goes: it is put aside, and deleted when the command has succeeded."""

    def __init__(self, path: Path, why: str = "") -> None:
        self.path = path
        self._why = why
        self.aside = path.with_name(f"{path.name}.removed")
        self._begun = False

    @property
    def sentence(self) -> str:
        return f"remove {self.path}{self._why}"

    def needed(self) -> bool:
        return _exists(self.path) or _exists(self.aside)

    def do(self) -> None:
        if _exists(self.path):
            delete(self.aside)  # of a power cut
            self._begun = True
            _move(self.path, self.aside)

    def undo(self) -> None:
        if self._begun and _exists(self.aside):
            delete(self.path)  # what is left of it, if it could not be renamed
            _move(self.aside, self.path)

    def finish(self) -> None:
        delete(self.aside)


class KeepCopy(Change):
    """A copy of a file or directory, in the place of an older one."""

    def __init__(self, path: Path, copy: Path, sentence: str) -> None:
        self._path = path
        self._copy = copy
        self._sentence = sentence
        self._older = Remove(copy)
        self._begun = False

    @property
    def sentence(self) -> str:
        return self._sentence

    def do(self) -> None:
        self._begun = True
        self._older.do()
        _copy(self._path, self._copy)

    def undo(self) -> None:
        if self._begun:
            delete(self._copy)
            self._older.undo()

    def finish(self) -> None:
        self._older.finish()


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _move(path: Path, to: Path) -> None:
    """By renaming; on an overlay, or where `path` is a disk of its own, by copying."""
    try:
        path.rename(to)
    except OSError:
        partial = to.with_name(f"{to.name}.partial")  # `to` is whole as soon as it is there
        delete(partial)
        _copy(path, partial)
        partial.rename(to)
        delete(path)


def _copy(path: Path, to: Path) -> None:
    done = subprocess.run(["cp", "-aT", "--", path, to], check=False)
    if done.returncode != 0:
        raise Failed(f"{path} could not be copied to {to}")


def delete(path: Path) -> None:
    """A file, a link, or a directory with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=path.is_mount())
    else:
        path.unlink(missing_ok=True)


class SetLink(Change):
    """A symbolic link, replaced at once, so that it always leads somewhere."""

    def __init__(self, path: Path, leads_to: str, sentence: str = "") -> None:
        self.path = path
        self._leads_to = leads_to
        self._sentence = sentence
        self._above = MakeDirectories(path.parent)
        self._before: str | None = None
        self._begun = False

    @property
    def sentence(self) -> str:
        return self._sentence

    def needed(self) -> bool:
        return not self.path.is_symlink() or str(self.path.readlink()) != self._leads_to

    def do(self) -> None:
        self._above.do()
        if self.path.is_symlink():
            self._before = str(self.path.readlink())
        self._begun = True
        self._set(self._leads_to)

    def undo(self) -> None:
        if self._begun:
            if self._before is None:
                self.path.unlink(missing_ok=True)
            else:
                self._set(self._before)
        self._above.undo()

    def _set(self, leads_to: str) -> None:
        new = _new(self.path)
        new.unlink(missing_ok=True)  # of a power cut
        new.symlink_to(leads_to)
        new.replace(self.path)


def remove_all(changes: Changes, paths: Sequence[Path]) -> None:
    for path in paths:
        changes.make(Remove(path))
