"""Actions: what labs write down of what their users do."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from labnode.clock import Clock
from labnode.errors import BadInput
from labnode.jsondata import plain
from labnode.sessions.session import Session
from labnode.store import Row, Store

log = logging.getLogger(__name__)

_MOST_NAME = 100  # characters
_MOST_DATA = 4096  # bytes of JSON
_MOST_WAITING = 2000  # actions that the disk has not taken yet
_PAGE = 500  # rows that are read at once: others want the database, too

_INSERT = """
INSERT INTO actions (session_id, username_unique, at, action, data) VALUES (?, ?, ?, ?, ?)
"""


class Actions:
    """The table `actions`; what comes in quick succession is written together."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._batch: list[tuple[Any, ...]] = []  # not given to the disk yet
        self._lost = 0

    def record(
        self,
        session_id: str | None,
        username_unique: str | None,
        action: str,
        data: dict[str, Any],
    ) -> None:
        """Write an action down soon; BadInput for no name, no JSON data, or too much of it.

        Where the disk does not keep up, it is lost, and the log says so: not even a full disk may
        keep a lab from cleaning its board.
        """
        if not isinstance(action, str) or not action.isprintable() or not action:
            raise BadInput(f"An action has a name of printable characters, not {action!r}.")
        if len(action) > _MOST_NAME:
            raise BadInput(f"The name of an action has at most {_MOST_NAME} characters.")
        text = json.dumps(plain(data, f"The data of action {action!r}"))
        if len(text) > _MOST_DATA:
            raise BadInput(
                f"The data of action {action!r} is {len(text)} bytes of JSON; "
                f"{_MOST_DATA} are the most."
            )
        with self._lock:
            if len(self._batch) >= _MOST_WAITING:
                self._lost += 1
                return
            self._batch.append((session_id, username_unique, self._clock.wall(), action, text))
            if len(self._batch) == 1:
                self._store.later(partial(self._write, self._batch))

    def find(
        self, session_id: str | None = None, username_unique: str | None = None
    ) -> Iterator[Row]:
        """The actions of one session or user, or of all, oldest first."""
        where, values = "id > ?", []
        for column, value in (("session_id", session_id), ("username_unique", username_unique)):
            if value is not None:
                where += f" AND {column} = ?"
                values.append(value)
        last = 0
        while page := self._store.select(
            "actions", where, last, *values, order=f"id LIMIT {_PAGE}"
        ):
            for row in page:
                last = row.pop("id")
                yield row

    def _write(self, batch: list[tuple[Any, ...]], db: Any) -> None:
        with self._lock:
            if self._batch is batch:
                self._batch = []
            if self._lost:
                log.error("%d actions were lost: the disk did not keep up.", self._lost)
                self._lost = 0
        db.conn.executemany(_INSERT, batch)


_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two writes; each doubles the pause


class UserData:
    """Keeps `session.data` in the store; after `close()`, at once."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._closed = False

    def written(self, session: Session) -> None:
        """The lab has written something; `save_if_due` should be called soon."""
        session.unsaved = True
        if self._closed:
            self._save(session)

    def save_if_due(self, session: Session) -> float | None:
        """Store what is due; returns when something will be (monotonic)."""
        if not session.unsaved:
            return None
        now = self._clock.now()
        due = session.saved_at + session.save_pause
        if now < due:
            return due
        calm = now >= due + session.save_pause
        session.save_pause = _FIRST_PAUSE if calm else min(2 * session.save_pause, _LONGEST_PAUSE)
        self._save(session)
        return None

    def news(self, session: Session) -> dict[str, Any]:
        """The column `data` where it has changed, for whoever is storing other columns anyway."""
        return self._column(session) if session.unsaved else {}

    def close(self, sessions: list[Session]) -> None:
        """The node stops: what was written is stored now, what will be as it is written."""
        self._closed = True
        for session in sessions:
            if session.unsaved:
                self._save(session)

    def _save(self, session: Session) -> None:
        self._store.update("sessions", session.id, self._column(session))

    def _column(self, session: Session) -> dict[str, Any]:
        session.unsaved, session.saved_at = False, self._clock.now()
        return {"data": dict(session.data)}
