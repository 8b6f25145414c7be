"""What labs write down about a session: stored soon, but not so often that it wears out a card."""

from __future__ import annotations

from typing import Any

from labnode.clock import Clock
from labnode.sessions.session import Session
from labnode.store import Store

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
