"""Board, worker, tasks and sessions, made as labnode/node/runtime.py makes them.

No other module of the tests makes them: how they are wired is known there and here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labnode.board import Board, BoardFile
from labnode.clock import Clock, WallClock
from labnode.events import Bus
from labnode.lab import Lab, Node
from labnode.lab.operators import Operators
from labnode.lab.programming import Programming
from labnode.lab.recordings import Recordings
from labnode.lab.sequences import Sequences
from labnode.sessions import Session, Sessions
from labnode.store import Store
from labnode.tasks import Lane, Tasks
from labnode.worker import Worker


class FakeBoard:
    """A heater that one thread may touch while the board is open, and that is off when it closes.

    What a test wants to happen in `open`, `poll` and `close` it puts into `opening` and so on.
    """

    def __init__(self) -> None:
        self.heater = False
        self.owner: threading.Thread | None = None
        self.opened = 0
        self.closed = 0
        self.opening: Callable[[], Any] = lambda: None
        self.polling: Callable[[], float | None] = lambda: None
        self.closing: Callable[[], Any] = lambda: None

    def open(self) -> None:
        self.opening()
        self.owner = threading.current_thread()
        self.opened += 1

    def poll(self) -> float | None:
        self.check()
        return self.polling()

    def close(self) -> None:
        self.check()
        self.heater, self.owner = False, None
        self.closed += 1
        self.closing()

    def heat(self, on: bool = True) -> bool:
        self.check()
        self.heater = on
        return on

    def check(self) -> None:
        me = threading.current_thread()
        assert self.owner is me, f"{me.name} touches the board of {self.owner}"


def lone_board(file: BoardFile, clock: Clock, bus: Bus | None = None, **options: Any) -> Board:
    """A board without a node, on the thread of the test, which may be its `worker` and so on."""
    return Board(file, clock=clock, bus=bus or Bus(), **{"simulate": True, **options})


class Parts:
    """A worker with its board; with a `directory`, a store and tasks besides.

    The board is a fake one or, from a board file, a real one, which needs the tasks.
    """

    tasks: Tasks

    def __init__(
        self,
        clock: Clock,
        board: FakeBoard | BoardFile,
        directory: Path | None = None,
        *,
        store: Callable[[Path, Clock], Store] = Store,
        **options: Any,
    ) -> None:
        self.clock = clock
        self.bus = Bus()
        self.worker = Worker(clock, **options)
        if directory is not None:
            self.directory = directory
            self.store = store(directory / "labnode.db", clock)
            self.tasks = Tasks(self.store, self.worker, clock, self.bus, WallClock(clock))
        self.board: Any = board
        if isinstance(board, BoardFile):
            self.board = Board(
                board,
                clock=clock,
                bus=self.bus,
                simulate=True,
                worker=self.worker,
                tasks=self.tasks,
                operators=Operators(board.session, clock, self.store),
            )

    def start_worker(self, *next_job: Callable[[], Callable[[], None] | None]) -> None:
        """Begin with these sources of jobs, for the hardware and for the background."""
        self.worker.start(self.board, *next_job)

    def start_tasks(self) -> None:
        self.start_worker(
            lambda: self.tasks.next_job(Lane.HARDWARE), lambda: self.tasks.next_job(Lane.BACKGROUND)
        )
        self.tasks.recover()


class NoPages:
    """The web's part in a node without one."""

    def push(self, session_id: str | None, event: str, data: Any) -> None:
        pass

    def link(self, session: Session) -> str:
        return ""


def sessions_of(parts: Parts, lab: Lab, *, keep_expired: float) -> Sessions:
    """The sessions of a real board with its tasks."""
    return Sessions(
        parts.board.file.session,
        b"secret",
        store=parts.store,
        tasks=parts.tasks,
        worker=parts.worker,
        clock=parts.clock,
        bus=parts.bus,
        lab=lab,
        board=parts.board,
        keep_expired=keep_expired,
    )


def bind(lab: Lab, parts: Parts, sessions: Sessions) -> None:
    """Let a lab act on the parts, as far as that goes without a web server."""
    directory, board, clock = parts.directory, parts.board, parts.clock
    lab.bind(
        Node(
            board,
            parts.worker,
            parts.tasks,
            sessions,
            Programming(board, parts.tasks, parts.worker, directory),
            Sequences(board, sessions, parts.tasks, clock, lab.functions),
            Recordings(directory / "recordings", sessions, board, clock),
            pages=NoPages(),
            observers=NoPages(),
        )
    )
