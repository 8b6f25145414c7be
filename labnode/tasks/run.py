"""One run of a task as the node keeps it in memory while it matters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import count
from math import inf
from typing import Any

from labnode.clock import Clock
from labnode.errors import LabnodeError
from labnode.tasks import children
from labnode.worker import Signal


class Lane(Enum):
    """Where a task runs: what is unique on the hardware thread, the rest in the background."""

    HARDWARE = "hardware"
    BACKGROUND = "background"


class Status(StrEnum):
    """How far a task is; `new` is never seen outside: it is not stored yet."""

    NEW = "new"
    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        return self in (Status.DONE, Status.FAILED)


_order = count()


@dataclass(frozen=True)
class Outcome:
    """How a run ended; it is the run's own once it is durable."""

    status: Status
    finished_at: float
    result: Any = None
    error: dict[str, str] | None = None


@dataclass(eq=False, kw_only=True)
class Run:
    """Changed under the lock of the registry alone, but for `data`, which its own thread writes."""

    id: str
    name: str
    function: Callable[[], Any]
    lane: Lane
    unique_key: str | None
    session_id: str | None
    user: Any
    args: dict[str, Any]
    submitted_at: float
    stop: Signal
    finished: Signal
    parent: Run | None = None  # the run that this one is a part of
    max_runtime: float = inf  # seconds from its beginning
    status: Status = Status.NEW
    data: dict[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    started_at: float | None = None
    due_at: float = inf  # when it shall have ended, by the monotonic clock
    stop_asked_at: float | None = None  # likewise
    thread: int | None = None  # where it runs
    native_thread: int = 0  # the same for the kernel
    others_children: frozenset[int] = frozenset()  # processes that this thread had before
    children_killed: bool = False
    joiners: list[Signal] = field(default_factory=list)  # set when it is finished
    waits: list[Signal] = field(default_factory=list)  # of its own; set when it shall stop
    order: int = field(default_factory=_order.__next__)  # of submission; the wall clock may jump

    @property
    def working(self) -> bool:
        """Its function has been called and has not returned."""
        return self.thread is not None

    @property
    def may_begin(self) -> bool:
        return self.status is Status.SUBMITTED and self.outcome is None

    def begin(self, clock: Clock) -> None:
        """It runs in this thread from now on."""
        self.status, self.thread = Status.RUNNING, threading.get_ident()
        self.native_thread = threading.get_native_id()
        self.others_children = children.of_thread(self.native_thread)
        self.started_at, self.due_at = clock.wall(), clock.now() + self.max_runtime

    def finish(self) -> None:
        """Its outcome is durable; what it needed to run is let go."""
        assert self.outcome is not None
        self.status = self.outcome.status
        self.function, self.user, self.parent = _nothing, None, None

    def row(self) -> dict[str, Any]:
        """The columns of the table `tasks`."""
        finished = self.outcome if self.status.finished else None
        return {
            "id": self.id,
            "name": self.name,
            "session_id": self.session_id,
            "unique_key": self.unique_key,
            "status": str(self.status),
            "args": self.args,
            "result": finished.result if finished else None,
            "error": finished.error if finished else None,
            "data": dict(self.data),
            "submitted_at": self.submitted_at,
            "started_at": self.started_at,
            "finished_at": finished.finished_at if finished else None,
        }

    def view(self) -> dict[str, Any]:
        """What a Task shows of it."""
        return {**self.row(), "stopping": self.stop.is_set()}


def describe_error(error: BaseException) -> dict[str, str]:
    """What a task's `error` says of an exception: `code`, `class` and `message`."""
    code = error.code if isinstance(error, LabnodeError) else "exception"
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001 - a lab's own exception that cannot even be printed
        message = ""
    return {"code": code, "class": type(error).__name__, "message": message}


def _nothing() -> None: ...
