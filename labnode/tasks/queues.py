"""Huey inside the node's database: queues and schedule of tasks, and messages that are JSON."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from huey import Huey
from huey.api import Task
from huey.constants import EmptyData
from huey.registry import Message
from huey.serializer import Serializer
from huey.storage import SqliteStorage

from labnode.clock import utc
from labnode.store import Store
from labnode.tasks.runs import Moment

log = logging.getLogger(__name__)

logging.getLogger("huey").setLevel(logging.WARNING)  # or it logs each task twice

DELAYED = "delayed"  # due by the time since boot
DATED = "dated"  # due by the wall clock, in seconds since 1970
BEGUN = "begun"  # the next tries of tasks that run, for a node that ends meanwhile
_MOMENTS = ("eta", "expires")
_TICKS = "ticks"  # of periodic tasks, in Huey's keys and values


class Messages(Serializer):  # type: ignore[misc]
    """A message of Huey's as a JSON object, its id first; nothing is ever unpickled."""

    def _serialize(self, data: Message) -> bytes:
        fields = {key: value for key, value in data._asdict().items() if value is not None}
        return json.dumps(fields, separators=(",", ":")).encode()

    def _deserialize(self, data: bytes) -> Message:
        message = Message(**json.loads(bytes(data)))
        texts = isinstance(message.id, str) and isinstance(message.name, str)
        if not texts or not isinstance(message.kwargs, dict):
            raise ValueError("it says neither which task nor with which arguments")
        moments = {key: Moment(*value) for key in _MOMENTS if (value := getattr(message, key))}
        return message._replace(**moments)


class _Message(Task):  # type: ignore[misc]
    """A message as Huey has it in memory. When it expires is not Huey's to say: see Moment."""

    def resolve_expires(self, utc: bool = True) -> None:
        """Leave `expires` as it is."""


class Storage(SqliteStorage):  # type: ignore[misc]
    """Huey's storage in the transaction that is open on the store's thread, and nowhere else.

    It keeps several queues: `name` is the one in use. Without locks and revocations, so that
    nothing is asked of it while a task runs.
    """

    def __init__(self, name: str, store: Store) -> None:
        super().__init__(name, create_tables=False)
        self._store = store

    @contextmanager
    def db(self, commit: bool = False, close: bool = False) -> Iterator[sqlite3.Cursor]:  # noqa: ARG002
        """A cursor; the store commits, and closes."""
        cursor = self._store.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def peek_many(self, keys: Any) -> dict[str, bytes]:  # noqa: ARG002
        """Nothing: no task is revoked."""
        return {}

    def delete_data(self, key: str) -> bool:  # noqa: ARG002
        """Nothing to delete, see peek_many()."""
        return False

    def remove(self, task_id: str) -> None:
        """Delete the messages of a task, wherever they wait."""
        start = f'{{"id":{json.dumps(task_id)},'.encode()
        for table in ("task", "schedule"):
            self.sql(
                f"delete from {table} where substr(data, 1, ?) = ?",
                (len(start), start),
                commit=True,
            )

    def next_due(self) -> float | None:
        """When the first message of the schedule in use is due."""
        due: float | None = self.sql(
            "select min(timestamp) from schedule where queue = ?", (self.name,), results=True
        )[0][0]
        return due


@dataclass(frozen=True)
class TaskEnd:
    """How a call of a task's function ended."""

    result: Any = None
    error: BaseException | None = None


class DueTime(NamedTuple):
    """Until when a message is kept, by the clock of DELAYED or DATED."""

    queue: str
    due: Moment


@dataclass(frozen=True)
class Waiting:
    """A message in one of the queues, or in the schedule.

    `message` is None where nothing can be made of it, `task_id` where not even that can be read.
    """

    task_id: str | None
    message: Any
    queue: str
    table: str
    row: int


def ended(function: Callable[[], Any]) -> TaskEnd:
    """Call a task's function; sys.exit() ends the task and not its thread."""
    try:
        return TaskEnd(function())
    except BaseException as error:  # noqa: BLE001 - it is the task's outcome
        return TaskEnd(error=error)


class Queues:
    """The node's Huey: what waits, until when, and how many tries are left.

    All but `register`, `message` and `execute` is called inside a piece of work of the store.
    """

    def __init__(self, store: Store) -> None:
        self._storage = Storage("", store)
        self._huey = Huey(
            "labnode", results=False, serializer=Messages(), storage_class=lambda _: self._storage
        )
        self._wrappers: dict[str, Any] = {}

    def register(self, name: str, call: Callable[[dict[str, Any]], Any]) -> None:
        """Have messages for the task `name` call `call(arguments)`."""

        def body(**arguments: Any) -> TaskEnd:
            return ended(lambda: call(arguments))

        body.__module__ = "lab"  # what Huey calls the task: lab.NAME
        if name in self._wrappers:
            self._wrappers[name].unregister()
        self._wrappers[name] = self._huey.task(name=name, task_base=_Message)(body)

    def message(self, name: str, task_id: str, arguments: dict[str, Any], **options: Any) -> Any:
        """A new message; `options` are Huey's retries, retry_delay and priority."""
        return self._wrappers[name].task_class(kwargs=arguments, id=task_id, **options)

    def execute(self, message: Any) -> TaskEnd:
        """Have Huey execute a message."""
        outcome = self._huey.execute(message)
        assert isinstance(outcome, TaskEnd)
        return outcome

    # ------------------------------------------------------------------ inside the store's work

    def put(self, queue: str, message: Any) -> None:
        """Append a message to a queue."""
        message.eta = None
        self._storage.name = queue
        self._huey.enqueue(message)

    def take(self, queue: str) -> Any:
        """The first message of a queue, by priority and age; None when it is empty.

        Those that cannot be read are dropped.
        """
        self._storage.name = queue
        while (data := self._storage.dequeue()) is not None:
            if (message := self._read(data)[1]) is not None:
                return message
        return None

    def keep(self, message: Any, when: DueTime) -> float:
        """Schedule a message; returns when it is due by the clock of its queue."""
        message.eta = when.due
        due = when.due.at if when.queue == DELAYED else when.due.wall
        self._storage.name = when.queue
        self._storage.add_to_schedule(self._huey.serialize_task(message), utc(due))
        return due

    def due(self, queue: str, now: float) -> list[Any]:
        """The messages of DELAYED or DATED that are due, taken out of the schedule."""
        self._storage.name = queue
        read = map(self._read, self._storage.read_schedule(utc(now)))
        return [message for _, message in read if message is not None]

    def next_due(self, queue: str) -> float | None:
        """When the first message of DELAYED or DATED is due."""
        self._storage.name = queue
        return self._storage.next_due()

    def remove(self, task_id: str) -> None:
        """Drop the messages of a task."""
        self._storage.remove(task_id)

    def waiting(self) -> list[Waiting]:
        """Every message, the oldest of each queue first."""
        found = []
        for table, order in (("task", "priority desc, id"), ("schedule", "timestamp, id")):
            rows = self._storage.sql(
                f"select data, queue, id from {table} order by queue, {order}", results=True
            )
            for data, queue, row in rows:
                task_id, message = self._read(data)
                if table == "schedule" and message is not None and message.eta is None:
                    log.error(
                        "The message of the task %s does not say when, and is dropped.", task_id
                    )
                    message = None
                found.append(Waiting(task_id, message, queue, table, row))
        return found

    def drop(self, messages: Iterable[Waiting]) -> None:
        """Delete messages."""
        for each in messages:
            self._storage.sql(f"delete from {each.table} where id = ?", (each.row,), commit=True)

    def last_tick(self, name: str) -> Any:
        """What was noted of a periodic task last, or None."""
        self._storage.name = _TICKS
        data = self._storage.peek_data(name)
        return None if data is EmptyData else json.loads(bytes(data))

    def note_tick(self, name: str, tick: Any) -> None:
        """Note that a periodic task was queued."""
        self._storage.name = _TICKS
        self._storage.put_data(name, json.dumps(tick).encode())

    def _read(self, data: bytes) -> tuple[str | None, Any]:
        """The id and the message, as far as they can be read."""
        try:
            message = self._huey.deserialize_task(data)
        except Exception as error:  # noqa: BLE001 - whatever is in it must not end the store's work
            log.error("A message of a task cannot be used, and is dropped: %s", error)
            with suppress(Exception):
                return self._huey.serializer.deserialize(data).id, None
            return None, None
        return message.id, message
