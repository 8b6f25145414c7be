"""A worker with a board, and tasks with a store, under a clock that only a test advances."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from labnode import context
from labnode.clock import Clock
from labnode.events import TaskChanged
from labnode.tasks import Task, TaskFunction
from labnode.tasks.queues import Waiting
from labnode.worker import Hook
from tests.kit.clock import Asked, WatchedClock, passing
from tests.kit.waiting import PATIENCE
from tests.kit.wiring import FakeBoard, Parts

T = TypeVar("T")


class WorkerRig(Parts):
    """A worker with a fake board and, unless a test brings them, no jobs."""

    def __init__(
        self, clock: Clock | None = None, directory: Path | None = None, **options: Any
    ) -> None:
        super().__init__(clock or WatchedClock(), FakeBoard(), directory, **options)
        self.jobs: list[Callable[[], None]] = []
        self.background_jobs: list[Callable[[], None]] = []
        self._gates: list[threading.Event] = []

    def start(self) -> None:
        self.start_worker(lambda: _pop(self.jobs), lambda: _pop(self.background_jobs))

    def close(self) -> None:
        for gate in self._gates:
            gate.set()
        with passing(self.clock):  # what still waits has some time to end
            assert self.worker.stop(PATIENCE), "the worker did not stop"
        assert self.board.closed == self.board.opened, "the board was not closed once"

    @property
    def hardware(self) -> threading.Thread:
        return self.worker._thread

    @property
    def manual(self) -> WatchedClock:
        assert isinstance(self.clock, WatchedClock)
        return self.clock

    def rests(self) -> None:
        """Return when the hardware thread waits."""
        self.manual.until_waits(self.hardware)

    def gate(self) -> threading.Event:
        """An event that is set at the latest when the test is over."""
        gate = threading.Event()
        self._gates.append(gate)
        return gate

    def go(self, function: Callable[[], T], name: str = "asker") -> Asked[T]:
        return Asked(self.clock, function, name)

    def job(self, function: Callable[[], T]) -> Asked[T]:
        """Run `function` as a job on the hardware thread."""
        started = threading.Event()
        done = threading.Event()
        box: list[Callable[[], T]] = []

        def job() -> None:
            started.set()
            try:
                value = function()
                box.append(lambda: value)
            except BaseException as error:  # noqa: BLE001 - raised in the test
                box.append(_raiser(error))
            finally:
                done.set()

        def result() -> T:
            assert done.wait(PATIENCE), "the job hangs"
            return box[0]()

        self.jobs.append(job)
        self.worker.wake()
        assert started.wait(PATIENCE), "the job never began"
        return self.go(result)

    def hook(self, function: Callable[[], Any], limit: float = 120.0) -> Hooked:
        """Run `function` as a start or a clean-up."""
        hooked = Hooked(function, limit)
        self.worker.hook(hooked.hook)
        return hooked


class Hooked:
    """A hook on its way, and what it ended with."""

    def __init__(self, function: Callable[[], Any], limit: float) -> None:
        self.begun = threading.Event()
        self.done = threading.Event()
        self.error: Exception | None = None

        def run() -> None:
            self.begun.set()
            function()

        def finished(error: Exception | None) -> None:
            self.error = error
            self.done.set()

        self.hook = Hook(run, finished, limit)

    def begins(self) -> Hooked:
        assert self.begun.wait(PATIENCE), "the hook never began"
        return self

    def ends(self) -> Exception | None:
        """What it raised, or None."""
        assert self.done.wait(PATIENCE), "the hook hangs"
        return self.error


class TasksRig(WorkerRig):
    """Tasks on real threads, with a real database in `directory`."""

    def __init__(self, directory: Path, clock: Clock | None = None, **options: Any) -> None:
        super().__init__(clock, directory, **options)
        self._names = Counter[str]()

    def start(self) -> None:
        self.start_tasks()
        self.tasks.begin()

    def close(self) -> None:
        for gate in self._gates:
            gate.set()
        self.tasks.stop_all()
        try:
            super().close()
        finally:
            self.store.close()

    def task(
        self, function: Callable[..., Any] | None = None, *, unique: Any = None, **options: Any
    ) -> TaskFunction[..., Any]:
        """Declare a task, as `@lab.task` does; unless told otherwise it waits for no student."""

        def declare(function: Callable[..., Any]) -> Any:
            declared: Any = TaskFunction(
                function, unique=unique, **{"during_sessions": True, **options}
            )
            self._names[declared.name] += 1
            if (number := self._names[declared.name]) > 1:  # which no lab may do
                declared.name += f" {number}"
            declared.bind(self.tasks)
            return declared

        declared: TaskFunction[..., Any] = declare if function is None else declare(function)  # type: ignore[assignment]
        return declared

    def ask(self, function: Callable[[], T], session: str | None = None) -> Asked[T]:
        """Run `function` as a view of a session does."""

        def view() -> T:
            with as_user(session):
                return function()

        return self.go(view, name="view")

    def row(self, task: Task) -> dict[str, Any]:
        """What the store has of a task."""
        (row,) = self.store.select("tasks", "id = ?", task.task_id)
        return row

    def stored(self) -> None:
        """Return when all that was asked of the store until now is done."""
        self.store.run(lambda db: None)

    def waiting(self) -> list[Waiting]:
        """What waits in Huey's tables."""
        return self.store.run(lambda _: self.tasks._queues.waiting())

    def pending(self) -> int:
        """How many tasks the index of unique tasks holds on to."""
        return len(self.store.select("tasks", "status IN ('submitted', 'running')"))

    @contextmanager
    def slow_disk(self) -> Iterator[None]:
        """Inside the block nothing is written, as when an SD card takes its time."""
        held, free = threading.Event(), self.gate()

        def hold(_: Any) -> None:
            held.set()
            free.wait(PATIENCE)

        holder = self.go(lambda: self.store.run(hold), name="holder")
        assert held.wait(PATIENCE)
        try:
            yield
        finally:
            free.set()
            holder.result()

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Inside the block there is no room for anything that is written about tasks."""

        def fill(db: Any) -> None:
            for event in ("INSERT", "UPDATE"):
                db.execute(
                    f"CREATE TEMP TRIGGER full_{event} BEFORE {event} ON main.tasks BEGIN "
                    "INSERT INTO events (at, kind, detail) VALUES (0, '', hex(zeroblob(9999))); END"
                )
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages}").fetchone()

        def clear(db: Any) -> None:
            for event in ("INSERT", "UPDATE"):
                db.execute(f"DROP TRIGGER full_{event}")
            db.execute("PRAGMA max_page_count = 1000000").fetchone()

        self.store.run(fill)
        try:
            yield
        finally:
            self.store.run(clear)


@contextmanager
def as_user(session: str | None) -> Iterator[None]:
    """Act for the user of a session."""
    user = None if session is None else SimpleNamespace(session_id=session, is_anonymous=False)
    with context.acting(user=user):
        yield


def _pop(jobs: list[Callable[[], None]]) -> Callable[[], None] | None:
    return jobs.pop(0) if jobs else None


def _raiser(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


class Ends:
    """The ends of tasks that have been published since it was made or last waited."""

    def __init__(self, rig: TasksRig) -> None:
        self._happened = threading.Event()
        self._news = rig.bus.subscribe(TaskChanged, wake=self._happened.set, limit=100_000)

    def wait_for(self, number: int) -> None:
        """Return when `number` tasks have ended."""
        while number > 0:
            assert self._happened.wait(PATIENCE), f"{number} tasks have not ended"
            self._happened.clear()
            number -= sum(event.status in ("done", "failed") for event in self._news.drain())
        assert number == 0
