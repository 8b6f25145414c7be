"""Changes the board of a running node when no student is on it (`labnode apply`)."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from labnode.board import BoardFile, load_board
from labnode.board.config.python_files import set_aside
from labnode.clock import Clock
from labnode.errors import Busy, ConfigError, LabnodeError
from labnode.lab import Lab
from labnode.lab.loader import load_lab
from labnode.locale import Message, Wording
from labnode.sessions import Sessions

log = logging.getLogger(__name__)

_CHECK_EVERY = 1.0  # seconds between two checks whether the last student has left
PATIENCE = 3600.0  # seconds for sessions to end
_CHECKED_WITHIN = 30.0  # seconds for a lab's Python to be imported
_BUSY = Message("cli.changing")


class ChangeableNode(Protocol):
    """A node whose board can be changed."""

    @property
    def sessions(self) -> Sessions: ...

    def change_to(self, file: BoardFile, lab: Lab) -> None:
        """Serve another board; if it does not open, serve the old one again and raise the error."""


class BoardChange:
    """Checks the file, drains the node, changes the board; one change at a time.

    `load` reads a board file. On an error, which is logged and part of `progress`, the node keeps
    its board.
    """

    def __init__(
        self,
        node: ChangeableNode,
        clock: Clock,
        load: Callable[[Path], BoardFile] = load_board,
    ) -> None:
        self._node = node
        self._clock = clock
        self._load = load
        self._lock = threading.Lock()
        self._stop = clock.event()
        self._thread: threading.Thread | None = None
        self._checked = threading.Event()
        self._state = "finished"
        self._error: LabnodeError | None = None

    def begin(self, path: Path, now: bool = False, timeout: float = PATIENCE) -> None:
        """Begin to change to the file at `path`; sessions have `timeout` seconds to end.

        Busy when another change is under way or, with `now`, somebody is on the board.
        """
        # Without waiting: SIGHUP can interrupt this method with another call of it.
        if not self._lock.acquire(blocking=False):
            raise Busy(_BUSY)
        try:
            if self._thread is not None and self._thread.is_alive():
                raise Busy(_BUSY)
            if now and self._node.sessions.live():
                raise Busy(Message("cli.student-there"))
            self._checked.clear()
            self._state, self._error = "checking", None
            self._thread = threading.Thread(
                target=self._run,
                args=(path.absolute(), self._clock.now() + timeout),
                name="board-change",
                daemon=True,
            )
            self._thread.start()
        finally:
            self._lock.release()

    def wait_until_checked(self) -> None:
        """Wait until the file has been checked; ConfigError says what is wrong with it."""
        if not self._checked.wait(_CHECKED_WITHIN):
            raise Busy(Message("cli.loads-long"))
        if isinstance(self._error, ConfigError):
            raise self._error

    def progress(self) -> dict[str, Any]:
        """`state` is checking, waiting, changing or finished, then with the `error` or None.

        `words` is the error's sentence as `Wording.words`.

        `sessions` is the number of live sessions.
        """
        words = None if self._error is None else self._error.words
        return {
            "state": self._state,
            "sessions": len(self._node.sessions.live()),
            "error": None if self._error is None else self._error.message,
            "words": words.words if isinstance(words, Wording) else words,
        }

    def stop(self, timeout: float) -> bool:
        """Give up waiting; False if a change is still going on."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _run(self, path: Path, deadline: float) -> None:
        try:
            checked = _Checked(path, self._load)
            self._state = "waiting"
            self._checked.set()
            with self._drained(deadline):
                self._state = "changing"
                log.info("The node changes to the board %s.", path)
                checked.change(self._node)
        except LabnodeError as error:
            self._error = error
        except Exception as error:
            log.exception("The board could not be changed.")
            self._error = LabnodeError(f"{type(error).__name__}: {error}")
        if self._error is None:
            log.info("The node serves the board %s.", path)
        else:
            log.error("The node goes on with the board that it has. %s", self._error)
        self._state = "finished"
        self._checked.set()

    @contextmanager
    def _drained(self, deadline: float) -> Iterator[None]:
        """During the block no session is live, and none can start."""
        sessions = self._node.sessions
        before, sessions.draining = sessions.draining, True
        try:
            while live := len(sessions.live()):
                left = deadline - self._clock.now()
                if left <= 0:
                    one = live == 1
                    raise Busy(
                        Message("cli.still-one") if one else Message("cli.still-many", n=live)
                    )
                if self._stop.wait(min(_CHECK_EVERY, left)):
                    raise Busy(Message("cli.node-stopping"))
                if not sessions.draining:
                    raise Busy(Message("cli.undrained-meanwhile"))
            yield
        finally:
            present = self._node.sessions  # those of the new board after a change
            if present is not sessions or present.draining:
                present.draining = before


class _Checked:
    """A board file and its lab, loaded while the node still serves the old ones.

    Their Python modules are set aside: what the old lab imports in the meantime must be its own.
    """

    def __init__(self, path: Path, load: Callable[[Path], BoardFile]) -> None:
        self._directory = path.parent
        old = set_aside(self._directory)
        try:
            self.file = load(path)
            self.lab = load_lab(self.file)
        finally:
            self._modules = set_aside(self._directory)
            sys.modules.update(old)

    def change(self, node: ChangeableNode) -> None:
        old = set_aside(self._directory)
        sys.modules.update(self._modules)
        try:
            node.change_to(self.file, self.lab)
        except BaseException:
            set_aside(self._directory)
            sys.modules.update(old)
            raise
