"""Pruning: what the database need not keep any longer is deleted, rarely and in small pieces."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from typing import Any

from labnode.clock import Clock
from labnode.errors import StorageError
from labnode.store.store import Store, Work

log = logging.getLogger(__name__)

_EVERY = 3600.0  # seconds between two rounds
_AT_MOST_LATE = 86400.0  # for so long a round waits for a moment without sessions
_PIECE = 100  # rows in one transaction: a session's end must not wait for it

# Everything but `users`, whose folders go as well. A session that has not ended is not history.
_OLD = {
    "events": "at < :old",
    "actions": "at < :old",
    "tasks": "finished_at < :old",
    "sessions": "state = 'disposed' AND coalesce(ended_at, created_at) < :old",
}
_EXPIRED = """
UPDATE tasks SET args = NULL, result = NULL, data = NULL WHERE rowid IN (
    SELECT tasks.rowid FROM tasks LEFT JOIN sessions ON sessions.id = tasks.session_id
    WHERE tasks.args IS NOT NULL AND tasks.finished_at IS NOT NULL
        AND (sessions.id IS NULL OR sessions.state = 'disposed')
        AND coalesce(sessions.ended_at, tasks.finished_at) < :expired
    LIMIT :piece)
"""
_GONE = """
DELETE FROM users WHERE username_unique IN (
    SELECT username_unique FROM users WHERE last_seen < :old LIMIT :piece)
RETURNING folder
"""


class Pruning:
    """Deletes what is older than `history` seconds, with folders of users; -1: never.

    What tasks were given and gave is forgotten `task_expires` seconds after the end of their
    session. `idle` says whether no session is live: then a round disturbs nobody.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        history: float,
        task_expires: float,
        idle: Callable[[], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._history = history
        self._task_expires = task_expires
        self._idle = idle
        # Not at the start, when a Pi has not heard yet how late it is.
        self._due = clock.now() + _EVERY
        self._stopping = clock.event()
        self._thread: threading.Thread | None = None

    def turn(self) -> None:
        """Begin a round on a thread of its own, if it is time; called every second or so."""
        now = self._clock.now()
        if now < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        if self._idle() or now > self._due + _AT_MOST_LATE:
            self._due = now + _EVERY
            self._thread = threading.Thread(target=self._round, name="pruning", daemon=True)
            self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End a round that has begun; False when it did not end in time."""
        self._stopping.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _round(self) -> None:
        try:
            number = self.prune()
        except StorageError as error:
            log.warning("The history could not be pruned: %s", error)
        except Exception:
            log.exception("The history could not be pruned.")
        else:
            if number:
                log.info("%d rows of the history were old and are pruned.", number)

    def prune(self) -> int:
        """Do one round here; how many rows were deleted."""
        now = self._clock.wall()
        self._repeat(_EXPIRED, expired=now - self._task_expires)
        if self._history < 0:
            return 0
        old = now - self._history
        number = 0
        for table, condition in _OLD.items():
            number += self._repeat(
                f"DELETE FROM {table} WHERE rowid IN "
                f"(SELECT rowid FROM {table} WHERE {condition} LIMIT :piece)",
                old=old,
            )
        while folders := self._piece(_folders_of_gone(old)):
            for folder in folders:
                shutil.rmtree(self._store.path.parent / "users" / folder, ignore_errors=True)
            number += len(folders)
        return number

    def _repeat(self, statement: str, **values: float) -> int:
        """Run a statement that changes one piece at a time until nothing is left to change."""

        def work(db: Any) -> int:
            return int(db.conn.execute(statement, {**values, "piece": _PIECE}).rowcount)

        total = 0
        while changed := self._piece(work) or 0:
            total += changed
        return total

    def _piece(self, work: Work[Any]) -> Any:
        """What `work` returns, None when the node stops."""
        return None if self._stopping.is_set() else self._store.run(work)


def _folders_of_gone(old: float) -> Work[list[str]]:
    def work(db: Any) -> list[str]:
        rows = db.conn.execute(_GONE, {"old": old, "piece": _PIECE}).fetchall()
        return [row[0] for row in rows]

    return work
