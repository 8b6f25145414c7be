"""Pruning: old rows of the database are deleted, rarely and in small pieces."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Sized
from typing import Any, Protocol

from labnode.clock import OLDEST, Clock, Turn, WallClock
from labnode.errors import StorageError
from labnode.store.store import Store, Work

log = logging.getLogger(__name__)

_EVERY = 3600.0  # seconds between two rounds
_AT_MOST_LATE = 86400.0  # how long a round waits for a moment without sessions
_PIECE = 100  # rows in one transaction: sessions must not wait for it
_KEY = "pruned_at"  # what the store calls the wall time of the last round that deleted something
_SETTLED = 86400.0  # a wall clock that has not jumped for so long is believed
_OFF = 60 * 86400.0  # the longest that a node is off, as far as its clock is believed at once

_STAMPS = (  # what tells how old a row is, and the key of the row
    ("events", "at", "id"),
    ("actions", "at", "id"),
    ("tasks", "finished_at", "id"),
    ("sessions", "ended_at", "id"),
    ("users", "last_seen", "username_unique"),
)
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


class LiveSessions(Protocol):
    """The sessions of the node."""

    def live(self) -> Sized:
        """Those that are not over."""


class Pruning:
    """Deletes rows and users' folders older than `history` seconds; -1: never.

    Arguments and results of tasks are deleted `task_expires` seconds after the end of their
    session. A round waits, for a while, until no session is live. A clock that has jumped (a Pi
    starts in 1970, or where it was switched off) must delete nothing: there is no round until it
    has not jumped for a day, unless it goes on from the last round. What was written before the
    clock was set counts from the first round after that.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        wall: WallClock,
        sessions: LiveSessions,
        *,
        history: float,
        task_expires: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall = wall
        self._history = history
        self._task_expires = task_expires
        self._sessions = sessions
        # Not at the start, when the clock of a Pi may not be set yet.
        self._due = clock.now() + _EVERY
        self._pruned_at: float | None = store.recall(_KEY)
        self._stopping = clock.event()
        self._busy = Turn(clock, "pruning")
        self._thread: threading.Thread | None = None

    def turn(self) -> None:
        """Start a round on its own thread, if it is time; called every second or so."""
        now = self._clock.now()
        self._wall.look()
        if now < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        if not self._sessions.live() or now > self._due + _AT_MOST_LATE:
            self._due = now + _EVERY
            self._thread = threading.Thread(target=self._round, name="pruning", daemon=True)
            self._thread.start()

    def _knows_age(self) -> bool:
        """Whether the wall clock can tell how old a row is.

        A clock that has just jumped cannot, even if it is right now: the rows may be of before.
        """
        if self._wall.steady_for >= _SETTLED:
            return True
        last = self._pruned_at
        return last is not None and last <= self._wall.now() <= last + _OFF

    def stop(self, timeout: float) -> bool:
        """End a running round; False when it did not end in time."""
        self._stopping.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def fault(self) -> str | None:
        """Why nothing is pruned any more, or None; any thread may ask."""
        return self._busy.fault()

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
        """Do one round now, if the clock is right; returns the number of deleted rows."""
        now = self._wall.now()
        if not self._knows_age():
            return 0
        if now >= OLDEST:
            for table, stamp, key in _STAMPS:
                self._repeat(
                    f"UPDATE {table} SET {stamp} = :now WHERE {key} IN "
                    f"(SELECT {key} FROM {table} WHERE {stamp} < :unset LIMIT :piece)",
                    now=now,
                    unset=OLDEST,
                )
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
        while gone := self._piece(
            lambda db: db.execute(_GONE, {"old": old, "piece": _PIECE}).fetchall()
        ):
            for (folder,) in gone:
                shutil.rmtree(self._store.path.parent / "users" / folder, ignore_errors=True)
            number += len(gone)
        if number:  # else it would be the only thing that an idle node writes
            self._pruned_at = now
            self._store.remember_soon(_KEY, now)
        return number

    def _repeat(self, statement: str, **values: float) -> int:
        """Run a statement that changes one piece at a time until it changes nothing."""
        values["piece"] = _PIECE
        total = 0
        while changed := self._piece(lambda db: db.execute(statement, values).rowcount) or 0:
            total += int(changed)
        return total

    def _piece(self, work: Work[Any]) -> Any:
        """The result of `work`, None when the node stops."""
        if self._stopping.is_set():
            return None
        with self._busy:
            return self._store.run(work)
