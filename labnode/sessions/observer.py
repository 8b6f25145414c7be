"""The observer: somebody, usually a teacher, who may look at one session and do nothing in it."""

from __future__ import annotations

from labnode.errors import Forbidden
from labnode.sessions.session import Session
from labnode.sessions.user import AnonymousUser


class Observer(AnonymousUser):
    """Sees a session as long as it is active; for whatever is not meant for observers, nobody."""

    read_only = True

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def active(self) -> bool:  # type: ignore[override]  # of nobody it is always the same
        """May the session still be looked at?"""
        return self.session.user.active

    @property
    def session_id(self) -> str:  # type: ignore[override]
        return self.session.id

    @property
    def time_left(self) -> float:  # type: ignore[override]
        """Seconds, 0 when the session is over."""
        return self.session.user.time_left

    def check_may_act(self, *, in_task: bool) -> None:  # noqa: ARG002 - a User's needs it
        raise Forbidden("Whoever observes a session can do nothing in it.")

    def __str__(self) -> str:
        return f"observer of session {self.session.tag}"
