"""Returning users: what the node keeps for a student from one session to the next."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labnode.clock import Clock
from labnode.errors import LabnodeError, StorageError
from labnode.store import Store, Work

_SEEN = """
INSERT INTO users (username_unique, first_seen, last_seen, secret, folder)
VALUES (:username_unique, :now, :now, :secret, :folder)
ON CONFLICT (username_unique) DO UPDATE SET last_seen = excluded.last_seen
"""


@dataclass(frozen=True)
class Belongings:
    """What is one student's own."""

    secret: str
    path: Path

    def folder(self) -> Path:
        """The directory, made if it is not there; StorageError when it cannot be."""
        try:
            for directory in (self.path.parent, self.path):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"A user's folder cannot be made: {error}.") from error
        return self.path


class ReturningUsers:
    """The table `users`, by `username_unique`, and the directory `users` beside the database."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._folders = store.path.parent / "users"

    def seen(self, username_unique: str) -> Work[None] | None:
        """The change of the database when a session of this user starts; None without a name."""
        if not username_unique:
            return None
        values = {
            "username_unique": username_unique,
            "now": self._clock.wall(),
            "secret": secrets.token_urlsafe(32),
            "folder": secrets.token_hex(16),  # no name in a path: it may be "../../etc"
        }

        def change(db: Any) -> None:
            db.execute(_SEEN, values)

        return change

    def find(self, username_unique: str) -> Belongings:
        """What is this user's own; LabnodeError without a name."""
        change = self.seen(username_unique)
        if change is None:
            raise LabnodeError(
                "The central server sent no unique name of this user (request.username.unique), so "
                "nothing can be kept for them."
            )
        rows = self._store.select("users", "username_unique = ?", username_unique)
        if not rows:  # the session was started by a labnode that did not keep users yet
            self._store.run(change)
            rows = self._store.select("users", "username_unique = ?", username_unique)
        return Belongings(rows[0]["secret"], self._folders / rows[0]["folder"])
