"""The node's tasks: which may run, what became of them, and recovery after a crash."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from math import inf
from typing import Any

from labnode import context
from labnode.clock import Clock
from labnode.errors import LabnodeError, NotFound, StorageError, TooLittleTime
from labnode.events import Bus, TaskChanged
from labnode.jsondata import plain
from labnode.store import Happening, Store
from labnode.tasks.api import Task, TaskFunction
from labnode.tasks.queues import Queues
from labnode.tasks.runner import Runner
from labnode.tasks.runs import Lane, Registry, Run
from labnode.tasks.waits import Until, Waits, own_run
from labnode.worker import Job, Worker, harmless

log = logging.getLogger(__name__)

_MOST_LOG = 50  # lines of a program's output that a task's data keeps
_STOP_GRACE = {Lane.HARDWARE: 10.0, Lane.BACKGROUND: 30.0}  # seconds, then the agent ends itself
_INTERRUPTED = {
    "code": "interrupted",
    "class": "Interrupted",
    "message": "The node was restarted while the task was waiting or running.",
}


class Tasks:
    """All tasks of the node; the unfinished ones are in memory, all are in the store.

    Every change is published as TaskChanged; the end of a task once it is stored.
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
        self._runner = Runner(
            self, self._registry, store=store, worker=worker, clock=clock, bus=bus
        )
        self._waits = Waits(self._registry, worker, clock)
        queues.serve(self._runner.execute)

    def next_job(self, lane: Lane) -> Job | None:
        """The oldest queued run of `lane` as a job, or None."""
        return self._queues.take(lane)

    # ------------------------------------------------------------------ running

    def submit(
        self, function: TaskFunction[..., Any], call: Callable[[], Any], args: dict[str, Any]
    ) -> Task:
        """Queue a run; see TaskFunction.delay."""
        run = self._new(function, call, args)
        try:
            self._admit(run, function)
        except LabnodeError as error:
            return self._refused(run, error)
        try:
            self._queues.put(run.lane, run.id)
        except Exception as error:  # for example a full disk
            log.exception("A task could not be queued.")
            broken = StorageError(f"The queue of tasks does not work: {error}.")
            self._runner.fail(run, broken)
            return self._refused(run, broken)
        if run.lane is Lane.HARDWARE:
            self._worker.wake()
        else:
            self._worker.wake_background()
        return Task(self, self._view(run))

    def run_directly(
        self, function: TaskFunction[..., Any], call: Callable[[], Any], args: dict[str, Any]
    ) -> Any:
        """The result of a run in this thread; what it raises is raised."""
        run = self._new(function, call, args, parent=own_run())
        with self._worker.seat():
            self._admit(run, function, here=True)
            result, error = self._run_here(run)
        if error is not None:
            raise harmless(error)
        return result

    def run_sync(
        self,
        function: TaskFunction[..., Any],
        call: Callable[[], Any],
        args: dict[str, Any],
        timeout: float | None,
    ) -> Task:
        """See TaskFunction.run_sync."""
        if not self._worker.on_worker_thread:
            with self._worker.seat():
                return self.submit(function, call, args).join(timeout, error_on_timeout=False)
        run = self._new(function, call, args, parent=own_run())
        try:
            self._admit(run, function, here=True)
        except LabnodeError as error:
            return self._refused(run, error)
        self._run_here(run)
        return Task(self, self._view(run))

    # ------------------------------------------------------------------ asking

    def get(self, task_id: str) -> Task:
        """The task with this id; NotFound."""
        row = self.look(task_id)
        if row is None or row["args"] is None:  # pruned: what it gave is not kept any more
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
            rows = [run.view() for run in runs]
        return [Task(self, row) for row in rows]

    # ------------------------------------------------------------------ sessions and stopping

    def open_session(self, session_id: str) -> None:
        """Allow tasks in a session."""
        self._registry.open_session(session_id)

    def close_session(self, session_id: str) -> None:
        """Allow no more tasks in a session; cancel the queued ones and stop the others."""
        for run in self._registry.close_session(session_id):
            self.stop(run.id)

    def stop(self, task_id: str) -> None:
        """Ask a task to stop; if it has not begun, it is cancelled."""
        self._runner.stop(task_id)

    def stop_overdue(self) -> float | None:
        """See Runner.stop_overdue."""
        return self._runner.stop_overdue()

    def stop_all(self) -> None:
        """The node stops: allow no more tasks and ask all to stop."""
        for run in self._registry.close():
            self.stop(run.id)

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

    def recover(self) -> None:
        """After a start: tasks that were unfinished when the node went down have failed."""
        for row in self._store.select("tasks", "status IN ('submitted', 'running')"):
            changes = {"status": "failed", "error": _INTERRUPTED, "finished_at": self._clock.wall()}
            happening = Happening("task.interrupted", row["session_id"], row["id"])
            self._store.update("tasks", row["id"], changes, happening)

    # ------------------------------------------------------------------ waiting

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

    # ------------------------------------------------------------------ runs

    def _new(
        self,
        function: TaskFunction[..., Any],
        call: Callable[[], Any],
        args: dict[str, Any],
        parent: Run | None = None,
    ) -> Run:
        user = context.current_user.get()
        session_id: str | None = getattr(user, "session_id", None)
        unique_key = {None: None, "global": function.name, "user": f"{function.name}@{session_id}"}
        return Run(
            id=secrets.token_urlsafe(16),
            name=function.name,
            function=call,
            lane=function.lane,
            unique_key=unique_key[function.unique],
            session_id=session_id,
            user=user,
            args=args,
            submitted_at=self._clock.wall(),
            stop=self._worker.signal(),
            finished=self._worker.signal(),
            parent=parent,
            max_runtime=inf if function.max_runtime is None else function.max_runtime,
        )

    def _admit(self, run: Run, function: TaskFunction[..., Any], *, here: bool = False) -> None:
        """See Runner.admit; TooLittleTime if the student has less time left than it takes.

        The student's time does not matter in a clean-up.
        """
        needed = function.estimated_time
        if needed is not None and getattr(run.user, "active", False):
            left: float = run.user.time_left
            if left < needed:
                raise TooLittleTime(
                    f"Task {run.name!r} takes about {needed:g} s, and only {int(left)} s are left."
                )
        self._runner.admit(run, here=here)

    def _run_here(self, run: Run) -> tuple[Any, BaseException | None]:
        """Run a run that was admitted to begin here; its end is stored on return."""
        ended = self._runner.work(run)
        if not self._worker.wait_for(run.finished, 30):
            run.finished.wait(1)  # a stopping node ends waits before the last writes
        return ended

    def _refused(self, run: Run, error: LabnodeError) -> Task:
        self._runner.refuse(run, error)
        return Task(self, self._view(run))

    def _view(self, run: Run) -> dict[str, Any]:
        with self._registry.lock:
            return run.view()
