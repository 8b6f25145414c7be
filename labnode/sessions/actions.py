"""Actions: what labs record about what their users do."""

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
from labnode.store import Row, Store

log = logging.getLogger(__name__)

_MOST_NAME = 100  # characters
_MOST_DATA = 4096  # bytes of JSON
_MOST_WAITING = 2000  # actions that are not stored yet
_PAGE = 500  # rows per query, so that others get their turn at the database

_INSERT = """
INSERT INTO actions (session_id, username_unique, at, action, data) VALUES (?, ?, ?, ?, ?)
"""


class Actions:
    """The table `actions`; those recorded in quick succession are stored together."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._batch: list[tuple[Any, ...]] = []  # not stored yet
        self._lost = 0

    def record(
        self,
        session_id: str | None,
        username_unique: str | None,
        action: str,
        data: dict[str, Any],
    ) -> None:
        """Store an action soon; BadInput if the name or the JSON data is invalid or too long.

        If the disk does not keep up, actions are lost and the log says so: even with a full disk a
        lab must be able to clean its board.
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
        db.executemany(_INSERT, batch)
