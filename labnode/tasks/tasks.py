"""The node's tasks: submitted, run, stopped, and finished once their end is stored."""

from __future__ import annotations

import logging
import secrets
from functools import partial
from math import inf
from typing import Any

from labnode import context
from labnode.clock import Clock
from labnode.errors import (
    AlreadyRunningError,
    LabnodeError,
    NotFound,
    SessionOver,
    Stopped,
    StorageError,
    TooLittleTime,
)
from labnode.events import Bus, TaskChanged, TaskStatusChanged
from labnode.jsondata import plain
from labnode.store import Happening, NotUnique, Store
from labnode.tasks.api import Invocation, Task
from labnode.tasks.queues import Queues
from labnode.tasks.runs import (
    Lane,
    Outcome,
    Registry,
    Run,
    Status,
    children_of_thread,
    describe_error,
    kill_processes,
)
from labnode.tasks.waits import Until, Waits, own_run
from labnode.worker import Job, Worker, harmless

log = logging.getLogger(__name__)

_MOST_LOG = 50  # lines of a program's output that a task's data keeps
_CHILDREN_GRACE = 5.0  # seconds that a task has to end its child processes after stop()
_STOP_GRACE = {Lane.HARDWARE: 10.0, Lane.BACKGROUND: 30.0}  # seconds, then the agent ends itself
_INTERRUPTED = {
    "code": "interrupted",
    "class": "Interrupted",
    "message": "The node was restarted while the task was waiting or running.",
}


class Tasks:
    """All tasks of the node; the unfinished ones are in memory, all are in the store.

    Every change is published as TaskChanged, the end of a task once it is stored.
    """

    def __init__(
        self, store: Store, worker: Worker, clock: Clock, bus: Bus, queues: Queues
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._bus = bus
        self._queues = queues
        self._registry = Registry()
        self._waits = Waits(self._registry, worker, clock)
        queues.serve(self._execute)

    def recover(self) -> None:
        """After a start: tasks that were unfinished when the node went down have failed."""
        for row in self._store.select("tasks", "status IN ('submitted', 'running')"):
            changes = {"status": "failed", "error": _INTERRUPTED, "finished_at": self._clock.wall()}
            happening = Happening("task.interrupted", row["session_id"], row["id"])
            self._store.update("tasks", row["id"], changes, happening)

    # ------------------------------------------------------------------ running

    def submit(self, invocation: Invocation) -> Task:
        """Queue a run; see TaskFunction.delay."""
        run = self._new(invocation)
        try:
            self._admit(run, invocation)
        except LabnodeError as error:
            return self._refused(run, error)
        try:
            self._queues.put(run.lane, run.id)
        except Exception as error:  # for example a full disk
            log.exception("A task could not be queued.")
            broken = StorageError(f"The queue of tasks does not work: {error}.")
            self._fail(run, broken)
            return self._refused(run, broken)
        if run.lane is Lane.HARDWARE:
            self._worker.wake()
        else:
            self._worker.wake_background()
        return self._task(run)

    def run_directly(self, invocation: Invocation) -> Any:
        """The result of a run in this thread; what it raises is raised."""
        run = self._new(invocation, parent=own_run())
        with self._worker.slot():
            self._admit(run, invocation, here=True)
            result, error = self._run_here(run)
        if error is not None:
            raise harmless(error)
        return result

    def run_sync(self, invocation: Invocation, timeout: float | None) -> Task:
        """See TaskFunction.run_sync."""
        if not self._worker.on_worker_thread:
            with self._worker.slot():
                return self.submit(invocation).join(timeout, error_on_timeout=False)
        run = self._new(invocation, parent=own_run())
        try:
            self._admit(run, invocation, here=True)
        except LabnodeError as error:
            return self._refused(run, error)
        self._run_here(run)
        return self._task(run)

    def next_job(self, lane: Lane) -> Job | None:
        """The oldest queued run of `lane` as a job, or None."""
        return self._queues.take(lane)

    def _new(self, invocation: Invocation, parent: Run | None = None) -> Run:
        function = invocation.function
        user = context.current_user.get()
        session_id: str | None = getattr(user, "session_id", None)
        unique_key = {None: None, "global": function.name, "user": f"{function.name}@{session_id}"}
        return Run(
            id=secrets.token_urlsafe(16),
            name=function.name,
            function=invocation.call,
            lane=function.lane,
            unique_key=unique_key[function.unique],
            session_id=session_id,
            user=user,
            args=invocation.arguments,
            submitted_at=self._clock.wall(),
            stop=self._worker.signal(),
            finished=self._worker.signal(),
            parent=parent,
            max_runtime=inf if function.max_runtime is None else function.max_runtime,
        )

    def _admit(self, run: Run, invocation: Invocation, *, here: bool = False) -> None:
        """Store a new run; with `here` it begins at once, in this thread.

        SessionOver, AlreadyRunningError or TooLittleTime if it is not allowed, StorageError if it
        cannot be stored. What a hook or a task runs here is a part of it and always allowed.
        """
        self._check_time_left(run, invocation.function.estimated_time)
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
                self._publish_status(run)  # under the lock: before its end is published
        except SessionOver as error:
            self._fail(run, error)
            raise

    def _check_time_left(self, run: Run, needed: float | None) -> None:
        """TooLittleTime if the student has less than `needed` seconds left.

        It does not matter in a clean-up, when the user is not active.
        """
        if needed is not None and getattr(run.user, "active", False):
            left: float = run.user.time_left
            if left < needed:
                raise TooLittleTime(
                    f"Task {run.name!r} takes about {needed:g} s, and only {int(left)} s are left."
                )

    def _refused(self, run: Run, error: LabnodeError) -> Task:
        """The failed task of a run that was not admitted."""
        with self._registry.lock:
            run.outcome = run.outcome or self._failure(error)
            run.finish()
            self._registry.remember(run)
        return self._task(run)

    def _execute(self, run_id: str) -> None:
        """Run a queued run, unless its session is over."""
        with self._registry.lock:
            run = self._registry.unfinished(run_id)
            if run is None or not run.may_begin:
                return
            if self._registry.is_open(run.session_id):
                run.begin(self._clock)
        if run.working:
            self._store.update("tasks", run.id, {"status": "running", "started_at": run.started_at})
            self._publish_status(run)
            self._work(run)
        else:
            self.stop(run.id)

    def _run_here(self, run: Run) -> tuple[Any, BaseException | None]:
        """Run a run that was admitted to begin here; its end is stored on return."""
        ended = self._work(run)
        if not self._worker.wait_for(run.finished, 30):
            run.finished.wait(1)  # a stopping node ends waits before the last writes
        return ended

    def _work(self, run: Run) -> tuple[Any, BaseException | None]:
        """Call the function of a run that has begun; what it returned and what it raised."""
        result: Any = None
        failure: BaseException | None = None
        try:
            with context.acting(run.user, Task(self, run.view(), inside=run)):
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

    def _fail(self, run: Run, error: LabnodeError) -> None:
        """Finish a run that has not begun, so that it never will; does nothing to others."""
        with self._registry.lock:
            if not run.may_begin:
                return
            run.outcome = self._failure(error)
        self._finish(run)

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
        self._store.update("tasks", run.id, changes, happening, then=partial(self._stored, run))

    def _stored(self, run: Run) -> None:
        with self._registry.lock:
            run.finish()
            self._registry.remember(run)
            joiners = list(run.joiners)
        for signal in (run.finished, *joiners):
            signal.set()
        self._publish_status(run)

    def _publish_status(self, run: Run) -> None:
        self._bus.publish(TaskStatusChanged(run.id, run.session_id, run.status))

    # ------------------------------------------------------------------ sessions and stopping

    def open_session(self, session_id: str) -> None:
        """Allow tasks in a session."""
        self._registry.open_session(session_id)

    def close_session(self, session_id: str) -> None:
        """Allow no more tasks in a session; cancel the queued ones and stop the others."""
        for run in self._registry.close_session(session_id):
            self.stop(run.id)

    def stop_all(self) -> None:
        """The node stops: allow no more tasks and ask all to stop."""
        for run in self._registry.close():
            self.stop(run.id)

    def stop(self, task_id: str) -> None:
        """Ask a task and its parts to stop; if it has not begun, it is cancelled."""
        with self._registry.lock:
            run = self._registry.unfinished(task_id)
            if run is None or run.status is Status.NEW or run.outcome is not None:
                return
            self._ask_to_stop(run)
            if cancelled := run.may_begin:
                run.outcome = self._failure(Stopped("The task was stopped before it began."))
            else:
                self._publish_status(run)  # under the lock: before its end is published
        if cancelled:
            self._finish(run)

    def _ask_to_stop(self, run: Run) -> None:
        if run.stop_asked_at is None:
            run.stop_asked_at = self._clock.now()
        for signal in (run.stop, *run.waits):
            signal.set()
        for part in self._registry.parts(run):
            self._ask_to_stop(part)

    def stop_overdue(self) -> float | None:
        """Ask tasks to stop after their `max_runtime`; kill the processes of those that do not.

        Returns the seconds until there is more to do, None if nothing is limited.
        """
        now = self._clock.now()
        with self._registry.lock:
            working = self._registry.working()
        dues = []
        for run in working:
            if run.stop_asked_at is None and run.due_at <= now:
                log.info("Task %s has reached its max_runtime and is asked to stop.", run.name)
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

    def overdue(self) -> str | None:
        """Which task has not stopped for so long that the agent has to end itself, or None."""
        with self._registry.lock:
            for run in self._registry.working():
                if run.stop_asked_at is None:
                    continue
                waited = self._clock.now() - run.stop_asked_at
                if waited > _STOP_GRACE[run.lane]:
                    return f"task {run.name!r} was asked to stop {waited:.0f} s ago and runs on"
        return None

    # ------------------------------------------------------------------ asking and waiting

    def get(self, task_id: str) -> Task:
        """The task with this id; NotFound."""
        row = self.look(task_id)
        if row is None or row["args"] is None:  # pruned
            raise NotFound(f"There is no task {task_id!r}.")
        return Task(self, row)

    def look(self, task_id: str) -> dict[str, Any] | None:
        """A task as it is now."""
        with self._registry.lock:
            run = self._registry.find(task_id)
            if run is not None:
                return run.view()
        rows = self._store.select("tasks", "id = ?", task_id)
        return rows[0] if rows else None

    def of_session(self, session_id: str | None, *, unfinished: bool = False) -> list[Task]:
        """The tasks of one session, oldest first; of the finished ones about the last 256."""
        with self._registry.lock:
            runs = self._registry.of_session(session_id, unfinished=unfinished)
            return [Task(self, run.view()) for run in runs]

    def _task(self, run: Run) -> Task:
        with self._registry.lock:
            return Task(self, run.view())

    def wait(self, run: Run, seconds: float) -> bool:
        """See Task.wait."""
        return self._waits.wait(run, seconds)

    def pause(self, seconds: float, until: Until = None) -> bool:
        """Let `seconds` pass in a task, a hook or a view; see Waits.pause."""
        return self._waits.pause(seconds, until)

    def join(self, task_id: str, timeout: float | None, error_on_timeout: bool) -> None:
        """See Task.join."""
        self._waits.join(task_id, timeout, error_on_timeout)

    # ------------------------------------------------------------------ inside a task

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        """Set `percent` of the current task's data, and append output of its program to `log`.

        `log` keeps the last 50 lines. Without a current task this does nothing.
        """
        task = context.current_task.get()
        if task is None:
            return
        news: dict[str, Any] = {} if percent is None else {"percent": percent}
        if line is not None:
            log_before = task.data.get("log")
            before = log_before if isinstance(log_before, list) else []
            news["log"] = [*before, *line.splitlines()][-_MOST_LOG:]
        if any(task.data.get(key) != value for key, value in news.items()):
            task.data.update(news)

    def set_data(self, run: Run, data: dict[str, Any]) -> None:
        """Publish new `data` of a run; TypeError if it has ended."""
        fresh = plain(data, "task.data")
        with self._registry.lock:
            if run.outcome is not None:
                raise TypeError("The task has ended; its data can only be read.")
            run.data = fresh
        self._bus.publish(TaskChanged(run.id, run.session_id, run.status))
