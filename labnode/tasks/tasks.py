"""The node's tasks: submitted, run, stopped, and finished once their end is stored."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from labnode import context
from labnode.clock import Clock, WallClock
from labnode.errors import (
    AlreadyRunningError,
    BadInput,
    LabnodeError,
    NotFound,
    SessionOver,
    Stopped,
    TooLate,
)
from labnode.events import Bus, TaskChanged, TaskStatusChanged
from labnode.jsondata import plain
from labnode.locale import Message
from labnode.store import Happening, NotUnique, Row, Store
from labnode.tasks.api import Invocation, Task, TaskFunction
from labnode.tasks.lanes import Lanes, Taken
from labnode.tasks.queues import DELAYED, DueTime, Queues, TaskEnd, ended
from labnode.tasks.runs import (
    Lane,
    Moment,
    Outcome,
    Registry,
    Run,
    Status,
    Whose,
    describe_error,
)
from labnode.tasks.timers import Timers
from labnode.tasks.waits import Overdue, Until, Waits, own_run
from labnode.worker import Job, Worker, harmless

log = logging.getLogger(__name__)


class Tasks:
    """All tasks of the node; the unfinished ones are in memory, all are in the store.

    Every change is published as TaskChanged, the end of a task once it is stored.
    """

    def __init__(
        self, store: Store, worker: Worker, clock: Clock, bus: Bus, wall_clock: WallClock
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._bus = bus
        self._queues = Queues(store)
        self._registry = Registry()
        self._waits = Waits(self._registry, worker, clock)
        self.overdue = Overdue(self, self._registry, clock)
        self._functions: dict[str, TaskFunction[..., Any]] = {}
        self._lanes = Lanes(store, self._queues, self._registry, worker, clock)
        self.timers = Timers(
            self, store, self._queues, self._lanes, clock=clock, wall_clock=wall_clock
        )

    def register(self, function: TaskFunction[..., Any]) -> None:
        """Have Huey know a task function, as `lab.NAME`."""
        self._functions[function.name] = function
        self._queues.register(function.name, function.call)
        self.timers.add(function.name, function.periodic)

    def recover(self) -> None:
        """After a start: let what waits in Huey's tables and the history agree; see Lanes."""
        self._lanes.recover(self._functions, self._restored)

    def _restored(self, row: Row, arguments: dict[str, Any]) -> Run:
        run = self._new(self._functions[row["name"]], arguments, row)
        run.status = Status.SUBMITTED
        return run

    def begin(self) -> None:
        """From now on tasks of the lab may begin, and scheduled ones when they are due."""
        self._lanes.begin()
        self.timers.start()

    # ------------------------------------------------------------------ running

    def submit(
        self,
        invocation: Invocation,
        when: DueTime | None = None,
        *,
        also: Callable[[], None] = lambda: None,
    ) -> Task:
        """Queue or schedule a run, see TaskFunction.delay and schedule.

        `also` is done in the transaction that stores it.
        """
        function = invocation.function
        run = self._new(function, invocation.arguments)
        message = self._queues.message(run.name, run.id, run.args, **function.of_message)
        story = []
        if when is not None:
            detail = {"name": run.name, "due": when.due.wall}
            story.append(Happening("task.scheduled", run.session_id, run.id, detail))

        def queue(db: Any) -> list[Taken]:
            also()
            if when is None:
                self._lanes.put(run, message)
                return self._lanes.take_for(run, db)
            self.timers.keep(message, when)
            return []

        def queued(taken: list[Taken]) -> None:  # on the store's thread
            with self._registry.lock:
                if self._registry.is_open(run.session_id):
                    run.status = Status.SUBMITTED
                    self._publish_status(run)  # under the lock: before its end is published
            self._lanes.hand_over(run.lane, taken)

        try:
            function.check_time_left(run.user)
            with self._registry.lock:
                self._registry.check_open(run)
                self._registry.add(run)
            begun = {"status": "submitted", "args": None}  # Huey has its arguments
            self._insert(run, begun, *story, also=queue, then=queued)
            if run.status is Status.NEW:  # the session has ended while the row was written
                run.status = Status.SUBMITTED
                over = SessionOver(Message("error.task-session-over", name=run.name))
                self._fail(run, over)
                raise over
        except LabnodeError as error:
            return self._refused(run, error)
        return self._task(run)

    def tick(self, name: str, note: Callable[[], None]) -> None:
        """Queue a periodic task and `note` that, unless the one before is unfinished."""
        with self._registry.lock:
            if self._registry.has_unfinished(name):
                log.info("The periodic task %s is left out: the one before is unfinished.", name)
                return
        self.submit(self._functions[name].invocation(), also=note)

    def run_directly(self, invocation: Invocation) -> Any:
        """The result of a run in this thread; what it raises is raised."""
        run = self._new(invocation.function, invocation.arguments, parent=own_run())
        with self._worker.slot():
            self._admit(run, invocation)
            end = self._run_here(run, invocation)
        if end.error is not None:
            raise harmless(end.error)
        return end.result

    def run_sync(self, invocation: Invocation, timeout: float | None) -> Task:
        """See TaskFunction.run_sync."""
        if not self._worker.on_worker_thread:
            with self._worker.slot():
                return self.submit(invocation).join(timeout, error_on_timeout=False)
        run = self._new(invocation.function, invocation.arguments, parent=own_run())
        try:
            self._admit(run, invocation)
        except LabnodeError as error:
            return self._refused(run, error)
        self._run_here(run, invocation)
        return self._task(run)

    def next_job(self, lane: Lane) -> Job | None:
        """The next queued run of `lane` as a job; if there is None, the lane is woken for it."""
        taken = self._lanes.next(lane)
        return None if taken is None else partial(self._execute, *taken)

    def _new(
        self,
        function: TaskFunction[..., Any],
        arguments: dict[str, Any],
        row: Row | None = None,
        parent: Run | None = None,
    ) -> Run:
        """A new run of the current user, or the lab's one of a `row` that is found at a start."""
        user = context.current_user.get()
        session_id: str | None = getattr(user, "session_id", None)
        unique_key = {None: None, "global": function.name, "user": f"{function.name}@{session_id}"}
        whose = Whose.LAB if function.during_sessions else Whose.PATIENT
        return Run(
            id=secrets.token_urlsafe(16) if row is None else row["id"],
            name=function.name,
            lane=function.lane,
            unique_key=unique_key[function.unique],
            session_id=session_id,
            user=user,
            whose=whose if session_id is None else Whose.SESSION,
            args=arguments,
            submitted_at=self._clock.wall() if row is None else row["submitted_at"],
            stop=self._worker.signal(),
            finished=self._worker.signal(),
            parent=parent,
            max_runtime=inf if function.max_runtime is None else function.max_runtime,
            expires=function.expires,
            idempotent=function.idempotent and session_id is None,
        )

    def _admit(self, run: Run, invocation: Invocation) -> None:
        """Store a new run that begins at once, in this thread.

        SessionOver, AlreadyRunningError or TooLittleTime if it is not allowed, StorageError if it
        cannot be stored. What a hook or a task runs is a part of it and always allowed.
        """
        invocation.function.check_time_left(run.user)
        is_part = self._worker.on_worker_thread
        with self._registry.lock:
            if not is_part:
                self._registry.check_open(run)
            self._registry.add(run)
        self._insert(run, {"status": "running", "started_at": self._clock.wall()})
        try:
            with self._registry.lock:
                run.status = Status.SUBMITTED
                if not is_part:
                    self._registry.check_open(run)  # it may have ended while the row was written
                self._registry.begin(run, self._clock)
                if run.parent is not None and run.parent.stop_asked_at is not None:
                    self._ask_to_stop(run)
                self._publish_status(run)  # under the lock: before its end is published
        except SessionOver as error:
            self._fail(run, error)
            raise

    def _insert(self, run: Run, begun: Row, *happenings: Happening, **also: Any) -> None:
        """Store the row of a run, or drop the run; see Store.insert."""
        try:
            self._store.insert("tasks", {**run.row(), **begun}, *happenings, **also)
        except BaseException as error:
            self._registry.drop(run)
            if isinstance(error, NotUnique):
                raise AlreadyRunningError(Message("error.task-running", name=run.name)) from None
            raise

    def _refused(self, run: Run, error: LabnodeError) -> Task:
        """The failed task of a run that was not admitted."""
        with self._registry.lock:
            run.outcome = run.outcome or self._failure(error)
            run.finish()
            self._registry.remember(run)
        return self._task(run)

    def _execute(self, run: Run, message: Any) -> None:
        """Run a queued run, unless its session is over or a student has come meanwhile."""
        expired = message.expires is not None and Moment(*message.expires).left(self._clock) < 0
        with self._registry.lock:
            if not run.may_begin:
                return
            early = not self._lanes.may_begin(run.line)
            if self._registry.is_open(run.session_id) and not early and not expired:
                self._registry.begin(run, self._clock)
        if run.working:
            self._publish_status(run)
            self._work(run, partial(self._queues.execute, message), message)
        elif expired:
            self._fail(run, TooLate(Message("error.task-expired", name=run.name)))
        elif early:
            self._lanes.give_back(run, message)
        else:
            self.stop(run.id)

    def _run_here(self, run: Run, invocation: Invocation) -> TaskEnd:
        """Run a run that was admitted to begin here; its end is stored on return."""
        end = self._work(run, partial(ended, invocation.call))
        if not self._worker.wait_for(run.finished, 30):
            run.finished.wait(1)  # a stopping node ends waits before the last writes
        return end

    def _work(self, run: Run, call: Callable[[], TaskEnd], message: Any = None) -> TaskEnd:
        """Call the function of a run that has begun; a failed one may be queued once more."""
        with context.acting(run.user, Task(self, run.view(), inside=run)):
            try:
                end = call()
            except Exception as error:
                log.exception("Huey could not execute task %s.", run.name)
                end = TaskEnd(error=error)
        final = None
        try:
            final = plain(end.result, f"The result of task {run.name!r}")
        except BadInput as error:
            end = TaskEnd(end.result, error)
        outcome = Outcome(Status.DONE, self._clock.wall(), final)
        if end.error is not None:
            outcome = self._failure(end.error)
            trace = None if isinstance(end.error, Stopped) else end.error
            log.info("Task %s failed.", run.name, exc_info=trace)
        with self._registry.lock:
            self._registry.rest(run)
            if end.error is not None and message is not None and self._may_repeat(run, message):
                self._repeat(run, message, outcome)
                return end
            run.outcome = outcome
        self._finish(run)
        return end

    def _may_repeat(self, run: Run, message: Any) -> bool:
        """Whether a run that failed has another try; if it was asked to stop, only by a student."""
        asked = run.stop_asked_at is not None and not (run.gave_way and run.idempotent)
        return message.retries > 0 and not asked and self._registry.is_open(run.session_id)

    def _repeat(self, run: Run, message: Any, outcome: Outcome) -> None:
        """Queue the next try, under the lock: a stop must come after it in the database, too."""
        message.retries -= 1
        delay = 0.0 if run.gave_way else message.retry_delay
        when = DueTime(DELAYED, Moment.after(self._clock, delay)) if delay else None
        run.repeat()

        def queue(_: Any) -> None:
            if run.idempotent:
                self._queues.remove(run.id)
            if when is None:
                self._lanes.put(run, message)
                self._lanes.wake(run.lane)
            else:
                self.timers.keep(message, when)

        detail = {"name": run.name, "error": outcome.error and outcome.error["message"]}
        happening = Happening("task.retried", run.session_id, run.id, detail)
        changes = {"status": "submitted", "started_at": None, "args": None}
        self._store.update("tasks", run.id, changes, happening, also=queue)
        self._publish_status(run)
        self._worker.wake()  # a start may wait for it to give way

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
            "args": run.args,
            "data": run.data,
        }
        happening = Happening(f"task.{outcome.status}", run.session_id, run.id, {"name": run.name})
        may_wait = run.started_at is None or run.idempotent  # in one of Huey's tables
        self._store.update(
            "tasks",
            run.id,
            changes,
            happening,
            also=(lambda _: self._queues.remove(run.id)) if may_wait else None,
            then=partial(self._stored, run),
        )

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

    def occupy(self, session_id: str) -> None:
        """The board is a session's from now on: tasks of the lab give way, and wait."""
        for run in self._registry.occupy(session_id):
            log.info("Task %s gives way to a student.", run.name)
            run.gave_way = True
            self.stop(run.id)

    def wait_until_given_way(self) -> None:
        """On the hardware thread, return when no task of the lab works that has to give way."""
        with self._registry.lock:
            runs = self._registry.patient()
        for run in runs:
            self._worker.pause(None, lambda run=run: not run.working)  # type: ignore[misc]

    def vacate(self, session_id: str) -> None:
        """The session is over and cleaned up: tasks of the lab may begin again."""
        self._registry.vacate(session_id)
        self._lanes.wake_all()

    def open_session(self, session_id: str) -> None:
        """Allow tasks in a session, which occupies the board."""
        self._registry.open_session(session_id)
        self.occupy(session_id)

    def close_session(self, session_id: str) -> None:
        """Allow no more tasks in a session; cancel the queued ones and stop the others."""
        for run in self._registry.close_session(session_id):
            self.stop(run.id)

    def stop_all(self) -> None:
        """The node stops: allow no more tasks and ask all to stop; the lab's go on waiting."""
        self.timers.stop(0.5)
        for run in self._registry.close():
            if run.whose is Whose.SESSION or not run.may_begin:
                self.stop(run.id)
        self._lanes.close()

    def stop(self, task_id: str) -> None:
        """Ask a task and its parts to stop; if it has not begun, it is cancelled."""
        with self._registry.lock:
            run = self._registry.unfinished(task_id)
            if run is None or run.status is Status.NEW or run.outcome is not None:
                return
            self._ask_to_stop(run)
            if cancelled := run.may_begin:
                run.outcome = self._failure(Stopped(Message("error.task-cancelled")))
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

    # ------------------------------------------------------------------ asking and waiting

    def get(self, task_id: str) -> Task:
        """The task with this id; NotFound."""
        row = self.look(task_id)
        if row is None or row["args"] is None:  # pruned
            raise NotFound(f"There is no task {task_id!r}.")
        return Task(self, row)

    def unfinished(self, beginning: str) -> Task:
        """The unfinished task whose id begins so; NotFound, or BadInput if there are several."""
        with self._registry.lock:
            return Task(self, self._registry.beginning(beginning).view())

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
        """Task.report of the current task; without one this does nothing."""
        task: Task | None = context.current_task.get()
        if task is not None:
            task.report(percent, line)

    def set_data(self, run: Run, data: dict[str, Any]) -> None:
        """Publish new `data` of a run; TypeError if it has ended."""
        fresh = plain(data, "task.data")
        with self._registry.lock:
            if run.outcome is not None:
                raise TypeError("The task has ended; its data can only be read.")
            run.data = fresh
        self._bus.publish(TaskChanged(run.id, run.session_id, run.status))
