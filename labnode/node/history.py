"""The last sessions, tasks, events and actions of a node, for its staff."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from labnode.audit import session_tag
from labnode.clock import Clock
from labnode.errors import BadInput
from labnode.sessions import Session
from labnode.store import StoredRows

Row = dict[str, Any]

_MOST = 500  # rows in one answer
_LONGEST = 200  # characters of a text: an answer stays small, whatever a lab has stored
_MOST_DETAILS = 20


class _Rows(Protocol):
    def select(self, table: str, where: str, *args: Any, order: str | None = None) -> list[Row]: ...


class _Sessions(Protocol):
    def live(self) -> list[Session]: ...


class _Timers(Protocol):
    def scheduled(self) -> dict[str, float]: ...
    def periodic(self) -> list[dict[str, Any]]: ...


class _Tasks(Protocol):
    @property
    def timers(self) -> _Timers: ...
    def look(self, task_id: str, /) -> Row | None: ...


class _Runtime(Protocol):
    """What is asked of a runtime."""

    @property
    def store(self) -> _Rows: ...
    @property
    def sessions(self) -> _Sessions: ...
    @property
    def tasks(self) -> _Tasks: ...


class _Owner(Protocol):
    @property
    def runtime(self) -> _Runtime: ...


class StoppedNode:
    """A node that does not run: of all that a runtime knows there is only the database."""

    def __init__(self, database: Path) -> None:
        self.store = StoredRows(database)
        self.runtime = self.sessions = self.tasks = self.timers = self

    def live(self) -> list[Session]:
        return []

    def scheduled(self) -> dict[str, float]:
        return {}

    def periodic(self) -> list[dict[str, Any]]:
        return []

    def look(self, task_id: str) -> Row | None:  # noqa: ARG002
        return None


class History:
    """The last rows of the database, newest last, completed with what only memory has.

    Session ids are hashed as in the logs. With `names` each row has a `student`, None where it
    belongs to no session.
    """

    def __init__(self, owner: _Owner, clock: Clock) -> None:
        self._owner = owner
        self._clock = clock

    def sessions(self, last: int = 20, names: bool = False) -> dict[str, Any]:
        """The last sessions; `time_left` is None once one is over."""
        live = {session.id: session for session in self._owner.runtime.sessions.live()}
        rows = self._last("sessions", "created_at", last)
        return {"sessions": self._answer(rows, lambda r: _session(r, self._left(live, r)), names)}

    def tasks(self, last: int = 20, names: bool = False) -> dict[str, Any]:
        """The last tasks, and all that are scheduled, with the time when they are `due`.

        `percent` is what a task itself reports, or None. `periodic` says when those come next.
        """
        tasks = self._owner.runtime.tasks
        due = tasks.timers.scheduled()
        rows = {row["id"]: self._now(row) for row in self._last("tasks", "submitted_at", last)}
        older = sorted(due.keys() - rows.keys(), key=due.__getitem__)[: _MOST - len(rows)]
        found = [row for task_id in older if (row := tasks.look(task_id)) is not None]
        answer = self._answer([*found, *rows.values()], _task, names)
        for row in answer:
            row["due"] = due.get(row["id"])
        return {"tasks": answer, "periodic": tasks.timers.periodic()}

    def events(self, last: int = 20, names: bool = False) -> dict[str, Any]:
        """The last events."""
        return {"events": self._answer(self._last("events", "id", last), _event, names)}

    def actions(self, last: int = 20, names: bool = False) -> dict[str, Any]:
        """The last actions of students that labs have recorded (`lab.record`)."""
        return {"actions": self._answer(self._last("actions", "id", last), _action, names)}

    def _last(self, table: str, column: str, last: int) -> list[Row]:
        if type(last) is not int or not 1 <= last <= _MOST:
            raise BadInput(f"`last` is a number from 1 to {_MOST}, not {last!r}.")
        newest = f"SELECT rowid FROM {table} ORDER BY {column} DESC, rowid DESC LIMIT ?"
        store = self._owner.runtime.store
        return store.select(table, f"rowid IN ({newest})", last, order=f"{column}, rowid")

    def _answer(self, rows: list[Row], view: Callable[[Row], Row], names: bool) -> list[Row]:
        answer = [view(row) for row in rows]
        students = self._students(row["session"] for row in answer) if names else {}
        for row in answer:
            if names:
                row["student"] = students.get(row["session"])
            row["session"] = row["session"] and session_tag(row["session"])
        return answer

    def _students(self, ids: Iterable[str | None]) -> dict[str | None, str]:
        """Full name and unique login name of the students, by session id."""
        wanted = sorted({session_id for session_id in ids if session_id is not None})
        marks = ", ".join("?" * len(wanted))
        store = self._owner.runtime.store
        rows = store.select("sessions", f"id IN ({marks})", *wanted)
        return {row["id"]: _student(row) for row in rows}

    def _left(self, live: dict[str, Session], row: Row) -> float | None:
        session = live.get(row["id"])
        return None if session is None else round(session.time_left(self._clock.now()), 1)

    def _now(self, row: Row) -> Row:
        """A task as it is now; its progress is stored only when it has ended."""
        if row["status"] in ("submitted", "running"):
            return self._owner.runtime.tasks.look(row["id"]) or row
        return row


def _student(row: Row) -> str:
    name = row["full_name"] or row["username"] or "?"
    return f"{name} <{row['username_unique']}>"[:_LONGEST]


def _session(row: Row, left: float | None) -> Row:
    kept = ("state", "reason", "client", "length", "resumed", "created_at", "ended_at")
    parts = [part for part in (row["experiment_name"], row["category_name"]) if part]
    return {
        "session": row["id"],
        **{name: row[name] for name in kept},
        "experiment": _short("@".join(parts) or None),
        "time_left": left,
    }


def _task(row: Row) -> Row:
    kept = ("id", "name", "status", "submitted_at", "started_at", "finished_at")
    data = row["data"] if isinstance(row["data"], dict) else {}
    percent = data.get("percent")
    return {
        "session": row["session_id"],
        **{name: row[name] for name in kept},
        "error": _short(row["error"]),
        "percent": percent if isinstance(percent, int | float) else None,
        "stopping": bool(row.get("stopping")),
    }


def _event(row: Row) -> Row:
    event = {"session": row["session_id"], "at": row["at"], "kind": row["kind"]}
    return {**event, "detail": _short(row["detail"]), "task": row["task_id"]}


def _action(row: Row) -> Row:
    action = {"session": row["session_id"], "at": row["at"], "action": _short(row["action"])}
    return {**action, "data": _short(row["data"])}


def _short(value: Any) -> Any:
    """JSON data without texts longer than _LONGEST; nested values become texts."""
    if isinstance(value, dict):
        parts = list(value.items())[:_MOST_DETAILS]
        return {key[:_LONGEST]: _short(_flat(part)) for key, part in parts}
    return value[:_LONGEST] if isinstance(value, str) else value


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value
