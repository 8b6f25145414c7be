"""A worker with a board, and tasks with a store, under a clock that only a test advances."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from labnode import context
from labnode.clock import Clock, Event, ManualClock
from labnode.events import Bus, TaskChanged
from labnode.store import Store
from labnode.tasks import Lane, Task, TaskFunction, Tasks
from labnode.tasks.queues import Queues
from labnode.worker import Hook, Worker

PATIENCE = 60.0  # real seconds; what takes longer hangs

T = TypeVar("T")


def eventually(condition: Callable[[], Any]) -> None:
    """Return as soon as `condition()` holds, for what nobody can be told of."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        os.sched_yield()


class WatchedClock(ManualClock):
    """A manual clock that knows which threads wait for something that has not come yet."""

    def __init__(self) -> None:
        super().__init__()
        self._watch = threading.Condition()
        self._waits: dict[int, tuple[Event, float | None]] = {}

    def event(self) -> Event:
        event = super().event()
        wait = event.wait

        def watched(timeout: float | None = None) -> bool:
            me = threading.get_ident()
            until = None if timeout is None else self.now() + timeout
            with self._watch:
                self._waits[me] = event, until
                self._watch.notify_all()
            try:
                return wait(None if until is None else max(0.0, until - self.now()))
            finally:
                with self._watch:
                    del self._waits[me]

        event.wait = watched  # type: ignore[method-assign]
        return event

    def until_waits(self, thread: threading.Thread) -> None:
        """Return when `thread` waits: until somebody does something, or until its time is over."""

        def waits() -> bool:
            event, until = self._waits.get(thread.ident or 0, (None, None))
            return (
                event is not None and not event.is_set() and (until is None or until > self.now())
            )

        with self._watch:
            assert self._watch.wait_for(waits, PATIENCE), f"{thread.name} never waited"


class Going(Generic[T]):
    """A function that runs on a thread of its own, as a request does."""

    def __init__(self, function: Callable[[], T], clock: Clock, name: str = "asker") -> None:
        self._clock = clock
        self._outcome: list[T] = []
        self._error: BaseException | None = None

        def run() -> None:
            try:
                self._outcome.append(function())
            except BaseException as error:  # noqa: BLE001 - raised in the test
                self._error = error

        self.thread = threading.Thread(target=run, name=name, daemon=True)
        self.thread.start()

    def waits(self) -> Going[T]:
        """Itself, once it waits for something."""
        assert isinstance(self._clock, WatchedClock)
        self._clock.until_waits(self.thread)
        return self

    @property
    def over(self) -> bool:
        return not self.thread.is_alive()

    def ends(self) -> Going[T]:
        self.thread.join(PATIENCE)
        assert self.over, f"{self.thread.name} hangs"
        return self

    def result(self) -> T:
        """What the function returned; what it raised is raised."""
        self.ends()
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def error(self, kind: type[BaseException]) -> BaseException:
        """What the function raised, which has to be a `kind`."""
        self.ends()
        assert type(self._error) is kind, f"{self._error!r}, {self._outcome!r}"
        return self._error


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


class WorkerRig:
    """A worker with a fake board and, unless a test brings them, no jobs."""

    def __init__(self, clock: Clock | None = None, **options: Any) -> None:
        self.clock = clock or WatchedClock()
        self.board = FakeBoard()
        self.worker = Worker(self.clock, **options)
        self.jobs: list[Callable[[], None]] = []
        self.background_jobs: list[Callable[[], None]] = []
        self._gates: list[threading.Event] = []

    def start(self) -> None:
        self.worker.start(self.board, lambda: _pop(self.jobs), lambda: _pop(self.background_jobs))

    def close(self) -> None:
        for gate in self._gates:
            gate.set()
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

    def go(self, function: Callable[[], T], name: str = "asker") -> Going[T]:
        return Going(function, self.clock, name)

    def job(self, function: Callable[[], T]) -> Going[T]:
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
        super().__init__(clock, **options)
        self.directory = directory
        self.bus = Bus()
        self.store = Store(directory / "labnode.db", self.clock)
        self.queues = Queues(directory / "queue.db")
        self.tasks = Tasks(self.store, self.worker, self.clock, self.bus, self.queues)
        self._storing = threading.Event()
        self._storing.set()

    def start(self) -> None:
        self.worker.start(
            self.board,
            lambda: self.tasks.next_job(Lane.HARDWARE),
            lambda: self.tasks.next_job(Lane.BACKGROUND),
        )
        self.tasks.recover()

    def close(self) -> None:
        self._storing.set()
        for gate in self._gates:
            gate.set()
        self.tasks.stop_all()
        try:
            super().close()
        finally:
            self.queues.close()
            self.store.close()

    def task(
        self, function: Callable[..., Any] | None = None, *, unique: Any = None
    ) -> TaskFunction[..., Any]:
        """Declare a task, as `@lab.task` does."""

        def declare(function: Callable[..., Any]) -> Any:
            declared: Any = TaskFunction(function, unique=unique)
            declared.bind(self.tasks)
            return declared

        declared: TaskFunction[..., Any] = declare if function is None else declare(function)  # type: ignore[assignment]
        return declared

    def ask(self, function: Callable[[], T], session: str | None = None) -> Going[T]:
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
