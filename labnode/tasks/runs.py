"""Runs of tasks as the node keeps them in memory, and the registry of all of them."""

from __future__ import annotations

import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import chain, count
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from labnode.clock import Clock, Event
from labnode.errors import BadInput, Busy, LabnodeError, NotFound, SessionOver
from labnode.locale import Message

_REMEMBERED = 256  # finished runs kept in memory; older ones are in the store only
_MOST_UNFINISHED = 20_000  # runs; some 3 KB of memory each
_order = count()


class Lane(Enum):
    """Where a task runs: unique ones on the hardware thread, others in the background."""

    HARDWARE = "hardware"
    BACKGROUND = "background"


class Whose(StrEnum):
    """Whose task it is, which decides when it may begin."""

    SESSION = "session"
    LAB = "lab"  # at any time
    PATIENT = "lab, patient"  # the lab's, while no student is there


class TaskQueue(NamedTuple):
    """Those that wait for the same thread and the same permission."""

    lane: Lane
    whose: Whose

    @property
    def queue(self) -> str:
        """What Huey calls it."""
        return f"{self.lane.value}, {self.whose}"


class Moment(NamedTuple):
    """A point in time that a restart of the node, or of the machine, does not change."""

    boot_id: str
    at: float  # by the time since that boot
    wall: float  # by the wall clock as it was

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Moment:
        """The one in so many seconds."""
        return cls(clock.boot_id, clock.now() + seconds, clock.wall() + seconds)

    def left(self, clock: Clock) -> float:
        """Seconds until then."""
        if self.boot_id == clock.boot_id:
            return self.at - clock.now()
        return self.wall - clock.wall()


class Status(StrEnum):
    """The status of a run; `new` ones are not stored yet and never seen outside."""

    NEW = "new"
    SUBMITTED = "submitted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        return self in (Status.DONE, Status.FAILED)


@dataclass(frozen=True)
class Outcome:
    """How a run ended; the run takes it over once it is stored."""

    status: Status
    finished_at: float
    result: Any = None
    error: dict[str, str] | None = None


@dataclass(eq=False, kw_only=True)
class Run:
    """One run of a task, changed under the registry's lock."""

    id: str
    name: str
    lane: Lane
    unique_key: str | None
    session_id: str | None
    user: Any
    whose: Whose
    args: dict[str, Any]
    submitted_at: float
    stop: Event
    finished: Event
    parent: Run | None = None  # the run that called this one
    max_runtime: float = inf  # seconds
    expires: float | None = None  # seconds in its queue
    idempotent: bool = False  # may be begun again after it was cut off
    gave_way: bool = False  # was asked to stop because a student came
    status: Status = Status.NEW
    data: dict[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    started_at: float | None = None
    due_at: float = inf  # when its max_runtime is over (monotonic)
    stop_asked_at: float | None = None  # monotonic
    thread: int | None = None  # the thread that runs it
    waits_now: int = 0  # how many waits it is in, with those of its parts
    waited_at: float = 0.0  # when it last came out of one, or began (monotonic)
    native_thread: int = 0  # its id for the kernel
    others_children: frozenset[int] = frozenset()  # processes that the thread had before
    children_killed: bool = False
    joiners: list[Event] = field(default_factory=list)  # set when it is finished
    waits: list[Event] = field(default_factory=list)  # its own; set when it is asked to stop
    order: int = field(default_factory=_order.__next__)  # the wall clock may jump

    @property
    def line(self) -> TaskQueue:
        return TaskQueue(self.lane, self.whose)

    @property
    def working(self) -> bool:
        """Whether its function is being called."""
        return self.thread is not None

    @property
    def may_begin(self) -> bool:
        return self.status is Status.SUBMITTED and self.outcome is None

    def begin(self, clock: Clock) -> None:
        """It begins in this thread."""
        self.status, self.thread = Status.RUNNING, threading.get_ident()
        self.native_thread = threading.get_native_id()
        self.others_children = children_of_thread(self.native_thread)
        self.waited_at = clock.now()
        self.started_at, self.due_at = clock.wall(), self.waited_at + self.max_runtime

    def repeat(self) -> None:
        """It has failed, and waits for another try."""
        self.status, self.started_at, self.due_at = Status.SUBMITTED, None, inf
        self.children_killed = False
        if self.gave_way:
            self.gave_way, self.stop_asked_at = False, None
            self.stop.clear()

    def whole(self) -> list[Run]:
        """The run and those that it is a part of, from within."""
        parent = self.parent
        return [self, *(parent.whole() if parent is not None else ())]

    def finish(self) -> None:
        """Its outcome is stored; drop what it needed to run."""
        assert self.outcome is not None
        self.status = self.outcome.status
        self.user, self.parent = None, None

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
        """What a Task shows."""
        return {**self.row(), "stopping": self.stop.is_set()}


def describe_error(error: BaseException) -> dict[str, Any]:
    """A task's `error` for an exception: `code`, `class` and `message`.

    `words` are those of a message that there is in several languages.
    """
    code = error.code if isinstance(error, LabnodeError) else "exception"
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001 - a lab's own exception that cannot even be printed
        message = ""
    words = getattr(error.words, "words", None) if isinstance(error, LabnodeError) else None
    told = {"code": code, "class": type(error).__name__, "message": message}
    return told if words is None else {**told, "words": words}


def children_of_thread(native_id: int) -> frozenset[int]:
    """The child processes that a thread of this process has started and not yet waited for.

    From /proc/PID/task/TID/children, see proc(5); empty if the kernel does not have it.
    """
    with suppress(OSError):
        children = Path(f"/proc/self/task/{native_id}/children").read_text()
        return frozenset(int(pid) for pid in children.split())
    return frozenset()


def kill_processes(pids: Collection[int]) -> None:
    """Kill processes, each with its process group if it leads one."""
    for pid in pids:
        with suppress(OSError):  # it has ended by itself
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)


class Registry:
    """All runs, under one `lock` that is never held while waiting for anything."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._working: dict[str, Run] = {}
        self._finished: OrderedDict[str, Run] = OrderedDict()
        self._sessions: set[str] = set()
        self._present: set[str] = set()  # sessions whose student, or clean-up, is on the board
        self._watchers: dict[str | None, set[Event]] = {}
        self._closed = False

    def open_session(self, session_id: str) -> None:
        with self.lock:
            self._sessions.add(session_id)

    def occupy(self, session_id: str) -> list[Run]:
        """The board is a session's; returns the working runs that have to give way."""
        with self.lock:
            self._present.add(session_id)
            return self.patient()

    def vacate(self, session_id: str) -> None:
        """The board is no longer that session's."""
        with self.lock:
            self._present.discard(session_id)

    @property
    def occupied(self) -> bool:
        """Whether the board is a session's."""
        return bool(self._present)

    def close_session(self, session_id: str) -> list[Run]:
        """Allow no more runs in a session and wake its views; returns its unfinished runs."""
        with self.lock:
            self._sessions.discard(session_id)
            for signal in self._watchers.pop(session_id, ()):
                signal.set()
            return [run for run in self._runs.values() if run.session_id == session_id]

    def close(self) -> list[Run]:
        """Allow no more runs at all and wake all views; returns the unfinished runs."""
        with self.lock:
            self._closed = True
            for signal in chain(*self._watchers.values()):
                signal.set()
            return list(self._runs.values())

    @contextmanager
    def watch(self, session_id: str | None, signal: Event) -> Iterator[None]:
        """Inside the block, `signal` is set as soon as the session is over."""
        with self.lock:
            if not self.is_open(session_id):
                signal.set()
            self._watchers.setdefault(session_id, set()).add(signal)
        try:
            yield
        finally:
            with self.lock:
                watchers = self._watchers.get(session_id, set())
                watchers.discard(signal)
                if not watchers:
                    self._watchers.pop(session_id, None)

    def is_open(self, session_id: str | None) -> bool:
        """Whether runs may start in this session (None: by the lab itself)."""
        return not self._closed and (session_id is None or session_id in self._sessions)

    def check_open(self, run: Run) -> None:
        """SessionOver if the session of `run` is over."""
        if not self.is_open(run.session_id):
            raise SessionOver(Message("error.task-session-over", name=run.name))

    def add(self, run: Run) -> None:
        """Know a new run; Busy if too many wait already."""
        if len(self._runs) >= _MOST_UNFINISHED:
            raise Busy(Message("error.many-tasks", n=_MOST_UNFINISHED))
        self._runs[run.id] = run

    def drop(self, run: Run) -> None:
        with self.lock:
            self._runs.pop(run.id, None)

    def remember(self, run: Run) -> None:
        """Move a run to the finished ones; the caller holds the lock, as in all methods below."""
        self._runs.pop(run.id, None)
        self._finished[run.id] = run
        while len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)

    def unfinished(self, run_id: str) -> Run | None:
        return self._runs.get(run_id)

    def find(self, run_id: str) -> Run | None:
        return self._runs.get(run_id) or self._finished.get(run_id)

    def beginning(self, text: str) -> Run:
        """The unfinished run whose id begins so; NotFound, or BadInput if there are several."""
        found = [run for run in self._runs.values() if run.id.startswith(text)]
        if not found:
            raise NotFound(Message("cli.no-unfinished", text=text))
        if len(found) > 1:
            raise BadInput(Message("cli.several-ids", n=len(found), text=text))
        return found[0]

    def parts(self, run: Run) -> list[Run]:
        """The unfinished runs that `run` has called."""
        return [part for part in self._runs.values() if part.parent is run]

    def begin(self, run: Run, clock: Clock) -> None:
        """A run begins in this thread."""
        run.begin(clock)
        self._working[run.id] = run

    def rest(self, run: Run) -> None:
        """The function of a run has returned or raised."""
        run.thread = None
        del self._working[run.id]

    def working(self) -> list[Run]:
        return list(self._working.values())

    def has_unfinished(self, name: str) -> bool:
        """Whether a run of this function is queued, scheduled or running."""
        return any(run.name == name for run in self._runs.values())

    def patient(self) -> list[Run]:
        """The lab's runs that are being called although they wait for students to go."""
        return [run for run in self.working() if run.whose is Whose.PATIENT]

    def of_session(self, session_id: str | None, *, unfinished: bool) -> list[Run]:
        """The runs of one session, oldest first."""
        runs = [*([] if unfinished else self._finished.values()), *self._runs.values()]
        mine = [r for r in runs if r.session_id == session_id and r.status is not Status.NEW]
        return sorted(mine, key=lambda run: run.order)
