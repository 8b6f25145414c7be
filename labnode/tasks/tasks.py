"""The node's tasks: who may run what when, what became of it, and recovery after a crash."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from labnode import context
from labnode.clock import Clock
from labnode.errors import AlreadyRunningError, LabnodeError, NotFound, SessionOver, Stopped
from labnode.events import Bus, TaskChanged
from labnode.jsondata import plain
from labnode.store import Happening, NotUnique, Store
from labnode.tasks.function import TaskFunction
from labnode.tasks.joins import Joins
from labnode.tasks.queues import Queues
from labnode.tasks.registry import Registry
from labnode.tasks.run import Lane, Outcome, Run, Status, describe_error
from labnode.tasks.task import Task
from labnode.worker import Worker

log = logging.getLogger(__name__)

_WAIT_GRACE = 5.0  # seconds after stop() in which wait() only returns False
_STOP_GRACE = {Lane.HARDWARE: 10.0, Lane.BACKGROUND: 30.0}  # then the task ends the agent
_INTERRUPTED = {
    "code": "interrupted",
    "class": "Interrupted",
    "message": "The node was restarted while the task was waiting or running.",
}


class Tasks:
    """All tasks of the node; the truth of the unfinished ones is here, of the others in the store.

    `on_finished` is called (on the store's thread) when a task's end is durable.
    """

    def __init__(
        self, store: Store, worker: Worker, clock: Clock, bus: Bus, queues: Queues
    ) -> None:
        self.on_finished: Callable[[], None] = lambda: None
        self._store = store
        self._worker = worker
        self._clock = clock
        self._bus = bus
        self._queues = queues
        self._registry = Registry()
        self._joins = Joins(self._registry, worker, clock, self._work)
        self.open_session = self._registry.open_session
        self.join = self._joins.join
        self.pause = self._joins.pause
        self.next_job = queues.take
        queues.serve(self._execute)

    # ------------------------------------------------------------------ running

    def submit(
        self, function: TaskFunction[..., Any], call: Callable[[], Any], args: dict[str, Any]
    ) -> Task:
        """Queue a run; see TaskFunction.delay."""
        run = self._new(function, call, args)
        try:
            self._admit(run)
        except LabnodeError as error:
            return self._refused(run, error)
        self._queues.put(run.lane, run.id)
        if run.lane is Lane.HARDWARE:
            self._worker.wake()
        else:
            self._worker.wake_background()
        return Task(self, run.view())

    def run_directly(
        self, function: TaskFunction[..., Any], call: Callable[[], Any], args: dict[str, Any]
    ) -> Any:
        """The result of a run in this thread; what it raises is raised."""
        run = self._new(function, call, args)
        with self._worker.seat():
            self._admit(run)
            result, error = self._run_here(run)
        if error is not None:
            raise error
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
        run = self._new(function, call, args)
        try:
            self._admit(run)
            self._run_here(run)
        except LabnodeError as error:
            return self._refused(run, error)
        return Task(self, run.view())

    # ------------------------------------------------------------------ asking

    def get(self, task_id: str) -> Task:
        """The task with this id; NotFound."""
        row = self.look(task_id)
        if row is None:
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
        """The tasks of one session, oldest first (of the finished ones the last 256 or so)."""
        with self._registry.lock:
            runs = self._registry.of_session(session_id, unfinished=unfinished)
            rows = [run.view() for run in runs]
        return [Task(self, row) for row in rows]

    # ------------------------------------------------------------------ ending

    def close_session(self, session_id: str) -> None:
        """No more tasks in this session; those that wait never begin, those that run shall stop."""
        for run in self._registry.close_session(session_id):
            self.stop(run.id)

    def stop_all(self) -> None:
        """Ask every task to stop and start no more: the node stops."""
        for run in self._registry.close():
            self.stop(run.id)

    def stop(self, task_id: str) -> None:
        """Ask a task to stop; one that has not begun never will."""
        with self._registry.lock:
            run = self._registry.unfinished(task_id)
            if run is None or run.status is Status.NEW or run.outcome is not None:
                return
            if run.stop_asked_at is None:
                run.stop_asked_at = self._clock.now()
            cancelled = run.status is Status.SUBMITTED
            if cancelled:
                run.outcome = self._failure(Stopped("The task was stopped before it began."))
        run.stop.set()
        if cancelled:
            self._finish(run)

    def overdue(self) -> str | None:
        """Which task ignores that it shall stop for so long that the agent has to end, or None."""
        with self._registry.lock:
            for run in self._registry.working():
                waited = self._clock.now() - (run.stop_asked_at or self._clock.now())
                if waited > _STOP_GRACE[run.lane]:
                    return f"task {run.name!r} was asked to stop {waited:.0f} s ago and runs on"
        return None

    def recover(self) -> None:
        """After a start: what was unfinished when the node went down has failed."""
        for row in self._store.select("tasks", "status IN ('submitted', 'running')"):
            changes = {"status": "failed", "error": _INTERRUPTED, "finished_at": self._clock.wall()}
            happening = Happening("task.interrupted", row["session_id"], row["id"])
            self._store.update("tasks", row["id"], changes, happening)

    # ------------------------------------------------------------------ inside a task

    def wait(self, run: Run, seconds: float) -> bool:
        """See Task.wait."""
        asked = run.stop_asked_at
        if asked is not None and self._clock.now() - asked > _WAIT_GRACE:
            raise Stopped(f"Task {run.name!r} was asked to stop and did not.")
        if self._worker.on_hardware_thread:
            return self._worker.pause(seconds, run.stop.is_set)
        return not self._worker.wait_for(run.stop, seconds)

    def tell(self, run: Run, data: dict[str, Any]) -> None:
        """Show everyone new `data` of a run."""
        run.data = plain(data, "task.data")
        self._bus.publish(TaskChanged(run.id, run.session_id, run.status))

    # ------------------------------------------------------------------ the life of a run

    def _new(
        self, function: TaskFunction[..., Any], call: Callable[[], Any], args: dict[str, Any]
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
            args=plain(args, f"The arguments of task {function.name!r}"),
            submitted_at=self._clock.wall(),
            stop=self._worker.signal(),
            finished=self._worker.signal(),
        )

    def _admit(self, run: Run) -> None:
        """Take a run in, durably; SessionOver or AlreadyRunningError where it may not be.

        What a hook or a task on the hardware thread runs inline is part of it and always may.
        """
        inline = self._worker.on_hardware_thread
        with self._registry.lock:
            if not inline:
                self._registry.check_open(run)
            self._registry.add(run)
        try:
            self._store.insert("tasks", {**run.row(), "status": "submitted"})
        except NotUnique:
            self._registry.drop(run)
            raise AlreadyRunningError(f"Task {run.name!r} is already running.") from None
        except LabnodeError:
            self._registry.drop(run)
            raise
        with self._registry.lock:
            run.status = Status.SUBMITTED
            if inline or self._registry.is_open(run.session_id):
                return
        self.stop(run.id)  # the session ended while the row was written
        self._registry.check_open(run)

    def _refused(self, run: Run, error: LabnodeError) -> Task:
        with self._registry.lock:
            run.outcome = self._failure(error)
            run.status = Status.FAILED
            self._registry.remember(run)
        return Task(self, run.view())

    def _execute(self, run_id: str) -> None:
        """Run what a queue hands out, unless it has outlived its session."""
        with self._registry.lock:
            run = self._registry.unfinished(run_id)
            if run is None or run.status is not Status.SUBMITTED or run.outcome is not None:
                return
            run.begin(self._clock.wall())
        self._work(run)

    def _run_here(self, run: Run) -> tuple[Any, BaseException | None]:
        with self._registry.lock:
            if run.outcome is not None:
                raise SessionOver(f"Task {run.name!r} cannot start: its session is over.")
            run.begin(self._clock.wall())
        ended = self._work(run)
        self._worker.wait_for(run.finished, 30)
        return ended

    def _work(self, run: Run) -> tuple[Any, BaseException | None]:
        """Do the work of a run that has begun: what it returned and what it raised."""
        self._store.update("tasks", run.id, {"status": "running", "started_at": run.started_at})
        self._bus.publish(TaskChanged(run.id, run.session_id, run.status))
        result: Any = None
        failure: BaseException | None = None
        try:
            with context.acting(run.user, Task(self, run.view(), inside=run)):
                result = run.function()
            final = plain(result, f"The result of task {run.name!r}")
            outcome = Outcome(Status.DONE, self._clock.wall(), final)
        except (Exception, SystemExit) as error:
            outcome, failure = self._failure(error), error
            log.info("Task %s failed.", run.name, exc_info=not isinstance(error, Stopped))
        with self._registry.lock:
            run.outcome, run.thread = outcome, None
        self._finish(run)
        return result, failure

    def _failure(self, error: BaseException) -> Outcome:
        return Outcome(Status.FAILED, self._clock.wall(), error=describe_error(error))

    def _finish(self, run: Run) -> None:
        outcome = run.outcome
        assert outcome is not None
        changes = {**vars(outcome), "status": str(outcome.status), "data": run.data}
        happening = Happening(f"task.{outcome.status}", run.session_id, run.id, {"name": run.name})
        self._store.update("tasks", run.id, changes, happening, then=partial(self._durable, run))

    def _durable(self, run: Run) -> None:
        with self._registry.lock:
            run.status = run.outcome.status if run.outcome else Status.FAILED
            self._registry.remember(run)
            joiners = list(run.joiners)
        run.finished.set()
        for joiner in joiners:
            joiner.set()
        self._bus.publish(TaskChanged(run.id, run.session_id, run.status))
        self.on_finished()
