"""`labnode run --reload`: notices changes of a lab's files, and says when to start again.

It looks at the files' times once a second, in the loop in which a node watches itself. A separate
process checks what has changed, so that a mistake never ends the node.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from labnode.cli.language import said
from labnode.clock import Clock, Event

_TEMPLATES = {".html", ".htm", ".tpl", ".stpl", ".thtml"}
_TEMPLATE_FOLDERS = ("", "views", "templates")
_CHECKED_WITHIN = 60.0  # seconds; a module that takes longer to be imported hangs

Stamp = tuple[int, int] | None  # None: there is no such file


class Process(Protocol):
    """A running check, such as a `subprocess.Popen`."""

    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


class Watcher:
    """The files of a lab: the board, and the templates and imported Python beside it.

    Make it before the board is loaded, so that it notices what is saved meanwhile.
    """

    def __init__(self, board: Path) -> None:
        self._board = board.absolute()
        self._watched = {self._board}
        self._wide = False
        self._known = _stamps({self._board, *self._templates(), *self._python()})
        self._last = self._known

    def watch(self, files: Iterable[Path]) -> None:
        """Also these, which the board includes."""
        new = {file.absolute() for file in files} - self._watched
        self._watched |= new
        self._known |= _stamps(new)
        self._last |= _stamps(new)

    def changed(self) -> list[Path]:
        """What was saved since the last call; nothing while files still change."""
        self._watched.update(self._templates(), self._imported())
        if self._wide:
            self._watched.update(self._python())
        before, self._last = self._last, _stamps(self._watched)
        if self._last != before:
            return []
        new = self._wide  # else it has just been imported
        changed = [
            path
            for path, stamp in self._last.items()
            if (self._known[path] != stamp if path in self._known else new)
        ]
        self._known |= self._last
        return sorted(changed)

    def widen(self) -> None:
        """Watch all Python beside the board: a mistake may be in a file never imported here."""
        self._wide = True
        self._known |= _stamps(set(self._python()) - self._watched)

    def _imported(self) -> Iterator[Path]:
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str):
                path = Path(file).absolute()
                if path.is_relative_to(self._board.parent):
                    yield path

    def _templates(self) -> Iterator[Path]:
        for folder in _TEMPLATE_FOLDERS:
            files = (self._board.parent / folder).glob("*.*")
            yield from (path for path in files if path.suffix in _TEMPLATES)

    def _python(self) -> Iterator[Path]:
        for pattern in ("*.py", "*/*.py"):
            yield from self._board.parent.glob(pattern)


class Reload(Event):
    """What a node waits for: the order to stop, or a change of files that it can restart with.

    `due` is set in the second case. `check` starts a process that looks for mistakes and prints
    them. `busy` says whether a session is starting or disposing, which is never cut off.
    """

    def __init__(
        self,
        watcher: Watcher,
        stop: Event,
        *,
        check: Callable[[], Process],
        busy: Callable[[], bool],
        clock: Clock,
        say: Callable[[str], object],
        complain: Callable[[str], object],
    ) -> None:
        super().__init__()
        self.due = clock.event()
        self._watcher = watcher
        self._stop = stop
        self._begin_check = check
        self._busy = busy
        self._clock = clock
        self._say = say
        self._complain = complain
        self._check: Process | None = None
        self._too_late = 0.0
        self._good = False
        self._what = ""

    def wait(self, timeout: float | None = None) -> bool:
        """True when the node has to stop or restart; looks at the files after `timeout`."""
        if self._stop.wait(timeout):
            self._end_check()
            return True
        if changed := self._watcher.changed():
            self._what = _sentence(changed)
            self._end_check()
            self._good = False
            self._check = self._begin_check()
            self._too_late = self._clock.now() + _CHECKED_WITHIN
        elif self._check is not None:
            self._look_at(self._check)
        if self._good and not self._busy():
            self.due.set()
        return self.due.is_set()

    def _look_at(self, check: Process) -> None:
        code = check.poll()
        if code is None and self._clock.now() < self._too_late:
            return
        self._end_check()
        self._good = code == 0
        if self._good:
            self._say(said("cli.reload-again", what=self._what))
            return
        if code is not None:
            self._complain(said("cli.reload-mistakes", what=self._what))
        else:
            self._complain(said("cli.reload-slow", what=self._what))
        self._watcher.widen()

    def _end_check(self) -> None:
        if self._check is not None:
            if self._check.poll() is None:
                self._check.kill()
            self._check.wait()
            self._check = None


def begin_check(board: Path, settings: Path | None) -> Process:
    """Start `labnode check`, which prints mistakes on standard error."""
    options = [] if settings is None else ["--settings", str(settings)]
    return subprocess.Popen(
        command("check", *options, "--", str(board)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def command(*arguments: str) -> list[str]:
    """The command line of this process with other arguments to labnode."""
    own = len(sys.orig_argv) - len(sys.argv[1:])
    return [sys.executable, *sys.orig_argv[1:own], *arguments]


def _stamps(paths: set[Path]) -> dict[Path, Stamp]:
    return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _sentence(paths: list[Path]) -> str:
    """ "boards/x.py has changed", seen from where the command was given."""
    here = Path.cwd()
    names = [str(p.relative_to(here) if p.is_relative_to(here) else p) for p in paths]
    if len(names) == 1:
        return said("cli.changed", file=names[0])
    return said("cli.changed-more", file=names[0], n=len(names) - 1)
