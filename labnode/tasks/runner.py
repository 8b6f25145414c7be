"""The runner: admits, runs and stops runs of tasks, and finishes them once that is durable."""

from __future__ import annotations

import logging
from functools import partial
from math import inf
from typing import Any

from labnode import context
from labnode.clock import Clock
from labnode.errors import AlreadyRunningError, LabnodeError, SessionOver, Stopped
from labnode.events import Bus, TaskChanged
from labnode.jsondata import plain
from labnode.store import Happening, NotUnique, Store
from labnode.tasks.api import Task, TaskService
from labnode.tasks.runs import (
    Outcome,
    Registry,
    Run,
    Status,
    children_of_thread,
    describe_error,
    kill_processes,
)
from labnode.worker import Worker

log = logging.getLogger(__name__)

_CHILDREN_GRACE = 5.0  # seconds that a task has to end its child processes after stop()


class Runner:
    """Takes every run from new to finished, in memory and in the store alike."""

    def __init__(
        self,
        tasks: TaskService,
        registry: Registry,
        *,
        store: Store,
        worker: Worker,
        clock: Clock,
        bus: Bus,
    ) -> None:
        self._tasks = tasks
        self._registry = registry
        self._store = store
        self._worker = worker
        self._clock = clock
        self._bus = bus

    # ------------------------------------------------------------------ beginning

    def admit(self, run: Run, *, here: bool = False) -> None:
        """Store a new run; with `here` it begins at once, in this thread.

        SessionOver or AlreadyRunningError if it is not allowed, StorageError if it cannot be
        stored. What a hook or a task runs here is a part of it and always allowed.
        """
        is_part = here and self._worker.on_worker_thread
        now = self._clock.wall()
        begun = {"status": "running", "started_at": now} if here else {"status": "submitted"}
        with self._registry.lock:
            if not is_part:
                self._registry.check_open(run)
            self._registry.add(run)
        try:
            self._store.insert("tasks", {**run.row(), **begun})
        except BaseException as error:
            self._registry.drop(run)
            if isinstance(error, NotUnique):
                raise AlreadyRunningError(f"Task {run.name!r} is already running.") from None
            raise
        try:
            with self._registry.lock:
                run.status = Status.SUBMITTED
                if not is_part:
                    self._registry.check_open(run)  # it may have ended while the row was written
                if here:
                    run.begin(self._clock)
                if run.parent is not None and run.parent.stop_asked_at is not None:
                    self._ask_to_stop(run)
                self._publish(run)  # under the lock: before its end is published
        except SessionOver as error:
            self.fail(run, error)
            raise

    def refuse(self, run: Run, error: LabnodeError) -> None:
        """Remember a run that was not admitted as failed."""
        with self._registry.lock:
            run.outcome = run.outcome or self._failure(error)
            run.finish()
            self._registry.remember(run)

    def stop(self, run_id: str) -> None:
        """Ask a run and its parts to stop; if it has not begun, it is cancelled."""
        with self._registry.lock:
            run = self._registry.unfinished(run_id)
            if run is None or run.status is Status.NEW or run.outcome is not None:
                return
            self._ask_to_stop(run)
            if cancelled := run.may_begin:
                run.outcome = self._failure(Stopped("The task was stopped before it began."))
            else:
                self._publish(run)  # under the lock: before its end is published
        if cancelled:
            self._finish(run)

    def stop_overdue(self) -> float | None:
        """Ask runs to stop after their `max_runtime`; kill the processes of those that do not.

        Returns the seconds until there is more to do, None if nothing is limited.
        """
        now = self._clock.now()
        with self._registry.lock:
            working = self._registry.working()
        dues = []
        for run in working:
            if run.stop_asked_at is None and run.due_at <= now:
                log.info("Task %s has run for its max_runtime and shall stop.", run.name)
                self.stop(run.id)
            if run.stop_asked_at is None:
                dues.append(run.due_at)
            elif not run.children_killed:
                dues.append(self._kill_children(run, run.stop_asked_at + _CHILDREN_GRACE, now))
        next_due = min(dues, default=inf)
        return None if next_due == inf else next_due - now

    def _kill_children(self, run: Run, at: float, now: float) -> float:
        """Kill the processes of a run from `at` on; returns when there is more to do."""
        if now < at:
            return at
        run.children_killed = True
        found = children_of_thread(run.native_thread) - run.others_children
        if found and run.working:
            log.warning("Task %s does not stop: its processes are killed.", run.name)
            kill_processes(found)
        return inf

    def _ask_to_stop(self, run: Run) -> None:
        if run.stop_asked_at is None:
            run.stop_asked_at = self._clock.now()
        for signal in (run.stop, *run.waits):
            signal.set()
        for part in self._registry.parts(run):
            self._ask_to_stop(part)

    def fail(self, run: Run, error: LabnodeError) -> None:
        """Finish a run that has not begun, so that it never will; does nothing to others."""
        with self._registry.lock:
            if not run.may_begin:
                return
            run.outcome = self._failure(error)
        self._finish(run)

    # ------------------------------------------------------------------ working

    def execute(self, run_id: str) -> None:
        """Run a queued run, unless its session is over."""
        with self._registry.lock:
            run = self._registry.unfinished(run_id)
            if run is None or not run.may_begin:
                return
            if self._registry.is_open(run.session_id):
                run.begin(self._clock)
        if run.working:
            self._store.update("tasks", run.id, {"status": "running", "started_at": run.started_at})
            self._publish(run)
            self.work(run)
        else:
            self.stop(run.id)

    def work(self, run: Run) -> tuple[Any, BaseException | None]:
        """Call the function of a run that has begun; what it returned and what it raised."""
        result: Any = None
        failure: BaseException | None = None
        try:
            with context.acting(run.user, Task(self._tasks, run.view(), inside=run)):
                result = run.function()
            final = plain(result, f"The result of task {run.name!r}")
            outcome = Outcome(Status.DONE, self._clock.wall(), final)
        except BaseException as error:  # sys.exit() ends the task, not its thread
            outcome, failure = self._failure(error), error
            log.info("Task %s failed.", run.name, exc_info=not isinstance(error, Stopped))
        with self._registry.lock:
            run.outcome, run.thread = outcome, None
        self._finish(run)
        return result, failure

    # ------------------------------------------------------------------ ending

    def _failure(self, error: BaseException) -> Outcome:
        return Outcome(Status.FAILED, self._clock.wall(), error=describe_error(error))

    def _finish(self, run: Run) -> None:
        outcome = run.outcome
        assert outcome is not None
        changes = {
            **vars(outcome),
            "status": str(outcome.status),
            "started_at": run.started_at,
            "data": run.data,
        }
        happening = Happening(f"task.{outcome.status}", run.session_id, run.id, {"name": run.name})
        self._store.update("tasks", run.id, changes, happening, then=partial(self._durable, run))

    def _durable(self, run: Run) -> None:
        with self._registry.lock:
            run.finish()
            self._registry.remember(run)
            joiners = list(run.joiners)
        run.finished.set()
        for joiner in joiners:
            joiner.set()
        self._publish(run)

    def _publish(self, run: Run) -> None:
        self._bus.publish(TaskChanged(run.id, run.session_id, run.status))
