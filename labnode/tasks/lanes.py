"""Lanes: how the threads that run tasks get the next one, without ever waiting for the disk."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Container
from functools import partial
from typing import Any, NamedTuple

from labnode.clock import Clock
from labnode.errors import NotFound, StorageError
from labnode.store import Happening, Row, Store
from labnode.tasks.queues import BEGUN, DATED, DELAYED, DueTime, Queues, Waiting
from labnode.tasks.runs import Lane, Moment, Registry, Run, TaskQueue, Whose, describe_error
from labnode.worker import Worker

_WAITS = "UPDATE tasks SET status = 'submitted', started_at = NULL, args = NULL WHERE id = ?"
_BEGIN = "UPDATE tasks SET status = 'running', started_at = ?, args = ? WHERE id = ?"
_LINES = {lane: [TaskQueue(lane, whose) for whose in Whose] for lane in Lane}  # the first first
_INTERRUPTED = {
    "code": "interrupted",
    "class": "Interrupted",
    "message": "The node was restarted while the task was waiting or running.",
}


class Taken(NamedTuple):
    """A run whose message was taken out of its queue, and that is stored as running."""

    run: Run
    message: Any


class Lanes:
    """The queued runs on their way to the threads that run them.

    A thread that is free asks, or is seen to be free when a run is queued. The store's thread takes
    the message out of Huey's queue, writes that the run begins, hands it over and wakes the thread.
    Tasks of the lab wait for `begin`, the patient ones until no session occupies the board.
    """

    def __init__(
        self, store: Store, queues: Queues, registry: Registry, worker: Worker, clock: Clock
    ) -> None:
        self._store = store
        self._queues = queues
        self._registry = registry
        self._worker = worker
        self._clock = clock
        self._lock = threading.Lock()
        self._handed: dict[Lane, deque[Taken]] = {lane: deque() for lane in Lane}
        self._asking: set[Lane] = set()
        self._refused: set[Lane] = set()  # the disk did not let a message be taken
        self._waiting = Counter[TaskQueue]()  # messages, or too many; written by the store's thread
        self._begun = False
        self._closed = False

    # ------------------------------------------------------------------ threads that run tasks

    def next(self, lane: Lane) -> Taken | None:
        """The next run, if one was handed over; else one is asked for, if one waits.

        StorageError when the disk refused it: it is asked for again at the next call.
        """
        with self._lock:
            if self._closed:
                return None
            if self._handed[lane]:
                return self._handed[lane].popleft()
            if lane in self._refused:
                self._refused.discard(lane)
                raise StorageError("A task cannot be taken out of its queue.")
            line = next(
                (line for line in _LINES[lane] if self._waiting[line] and self.may_begin(line)),
                None,
            )
            if line is None or lane in self._asking:
                return None
            self._asking.add(lane)
        # What a session has begun is over after a power cut; what the lab has begun is remembered.
        synced = line.whose is not Whose.SESSION
        self._store.soon(partial(self.take, line), partial(self._answer, line), synced=synced)
        return None

    def may_begin(self, line: TaskQueue) -> bool:
        """Whether runs of a line may begin now."""
        if line.whose is Whose.SESSION:
            return True
        return self._begun and not (line.whose is Whose.PATIENT and self._registry.occupied)

    def begin(self) -> None:
        """From now on the lab's tasks may begin."""
        self._begun = True
        self.wake_all()

    def close(self) -> None:
        """Hand over no more, and put back what no thread had time for."""
        with self._lock:
            self._closed = True
            left = [taken for handed in self._handed.values() for taken in handed]
        for taken in left:
            self.give_back(*taken)

    def wake_all(self) -> None:
        """Have the threads of all lanes look for what may begin."""
        for lane in Lane:
            self.wake(lane)

    # ------------------------------------------------------------------ inside the store's work

    def put(self, run: Run, message: Any) -> None:
        """Queue a run; its time until it expires begins."""
        if run.expires is not None and message.expires is None:
            message.expires = Moment.after(self._clock, run.expires)
        self._queues.put(run.line.queue, message)
        self._waiting[run.line] += 1  # if this is rolled back, a thread looks once in vain

    def release(self, messages: list[Any]) -> None:
        """Queue scheduled runs, which are due."""
        for message in messages:
            with self._registry.lock:
                run = self._registry.unfinished(message.id)
            if run is not None and run.outcome is None:
                self.put(run, message)

    def take_for(self, run: Run, db: Any) -> list[Taken]:
        """The next of the line of a run that was just queued, if a thread is free for it."""
        lane = run.lane
        worker = self._worker
        free = worker.free_hardware if lane is Lane.HARDWARE else worker.free_background
        busy = len(self._handed[lane]) + (lane in self._asking)
        return self.take(run.line, db) if free > busy and self.may_begin(run.line) else []

    def take(self, line: TaskQueue, db: Any) -> list[Taken]:
        """The next of a line, out of Huey's queue and stored as running; empty if there is none."""
        while (message := self._queues.take(line.queue)) is not None:
            with self._registry.lock:
                run = self._registry.unfinished(message.id)
            if run is None or run.outcome is not None:  # cancelled
                continue
            db.execute(_BEGIN, (self._clock.wall(), json.dumps(run.args), run.id))
            if run.idempotent and message.retries:
                message.retries -= 1
                self._queues.keep(message, DueTime(BEGUN, Moment.after(self._clock, 0)))
                message.retries, message.eta = message.retries + 1, None
            return [Taken(run, message)]
        return []

    # ------------------------------------------------------------------ after the store's work

    def _answer(self, line: TaskQueue, taken: list[Taken] | None) -> None:
        with self._lock:
            self._asking.discard(line.lane)
            if taken is None:
                self._refused.add(line.lane)
        if taken == []:
            self._waiting[line] = 0
        self.hand_over(line.lane, taken or [])

    def hand_over(self, lane: Lane, taken: list[Taken]) -> None:
        """Give what was taken to the threads of a lane, and wake them."""
        for each in taken:
            self._waiting[each.run.line] -= 1
            with self._lock:
                if not self._closed:
                    self._handed[lane].append(each)
            if self._closed:
                self.give_back(*each)
        self.wake(lane)

    def give_back(self, run: Run, message: Any) -> None:
        """Put what was taken back into its queue: it may not begin now."""

        def queue(db: Any) -> None:
            if run.outcome is None:
                if run.idempotent:
                    self._queues.remove(run.id)
                db.execute(_WAITS, (run.id,))
                self.put(run, message)

        self._store.later(queue, matters=True)

    def wake(self, lane: Lane) -> None:
        if lane is Lane.HARDWARE:
            self._worker.wake()
        else:
            self._worker.wake_background()

    # ------------------------------------------------------------------ after a start

    def recover(
        self, known: Container[str], restored: Callable[[Row, dict[str, Any]], Run]
    ) -> None:
        """Let the history and what waits in Huey's tables agree again.

        Tasks of the lab that had not begun go on waiting, and those that may be repeated are. All
        others that were unfinished when the node went down have failed. `known` are the names of
        the board's tasks; `restored` makes a run of a row and its arguments.
        """
        waiting = self._store.run(lambda _: self._queues.waiting())
        found = {each.task_id: each for each in waiting}
        rows = self._store.select("tasks", "status IN ('submitted', 'running')", order="rowid")
        going_on: list[tuple[Run, Waiting]] = []
        for row in rows:
            each = found.get(row["id"])
            if (error := _interrupted(row, each, known)) is not None:
                happening = Happening("task.interrupted", row["session_id"], row["id"])
                changes = {**error, "finished_at": self._clock.wall()}
                self._store.update("tasks", row["id"], changes, happening)
                continue
            assert each is not None
            run = restored(row, each.message.kwargs)
            with self._registry.lock:
                self._registry.add(run)
            going_on.append((run, each))
        kept = {(each.table, each.row) for _, each in going_on}
        needless = [each for each in waiting if (each.table, each.row) not in kept]

        def agree(db: Any) -> None:  # in one transaction, however many wait
            for run, each in going_on:
                self._restore(run, each, db)
            self._queues.drop(needless)

        self._store.later(agree, self.wake_all, matters=True)

    def _restore(self, run: Run, found: Waiting, db: Any) -> None:
        """Inside the store's work: have a run wait where it belongs."""
        message = found.message
        if found.queue == DATED or (
            found.queue == DELAYED and message.eta.boot_id == self._clock.boot_id
        ):
            return
        if found.queue == run.line.queue:
            self._waiting[run.line] += 1
            return
        self._queues.drop([found])
        if found.queue == DELAYED:  # the time since that boot is unknown
            self._queues.keep(message, DueTime(DATED, message.eta))
        else:
            db.execute(_WAITS, (run.id,))
            self.put(run, message)


def _interrupted(row: Row, found: Waiting | None, known: Container[str]) -> dict[str, Any] | None:
    """The changes to a task that was unfinished when the node went down; None if it goes on.

    `found` is its message, `known` are the names of the board's tasks.
    """
    error = _INTERRUPTED
    message = None if found is None else found.message
    if row["session_id"] is None and found is not None:
        if message is not None and row["name"] in known:
            return None
        error = describe_error(NotFound(f"The board has no task {row['name']!r} any more."))
    arguments = {} if message is None else message.kwargs
    return {"status": "failed", "error": error, "args": row["args"] or arguments}
