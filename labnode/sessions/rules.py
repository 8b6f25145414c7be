"""The rules of a board's sessions, and when they end a session by themselves."""

from __future__ import annotations

from typing import Protocol

from labnode.sessions.session import Reason, Session


class SessionRules(Protocol):
    """The `session:` section of a board file; seconds, `timeout` -1 meaning never."""

    @property
    def users(self) -> int: ...
    @property
    def max_time(self) -> float: ...
    @property
    def connect_timeout(self) -> float: ...
    @property
    def timeout(self) -> float: ...
    @property
    def poll_interval(self) -> float: ...
    @property
    def start_wait(self) -> float: ...
    @property
    def dispose_wait(self) -> float: ...
    @property
    def on_restart(self) -> str: ...


def ends(session: Session, rules: SessionRules) -> list[tuple[float, Reason]]:
    """When a session ends by itself (monotonic), and why; the earliest first.

    One that is still starting ends with its slot alone.
    """
    found = []
    if session.deadline is not None:
        found.append((session.deadline, Reason.TIME))
    if not session.active:
        return found
    if session.leaving_at is not None:
        found.append((session.leaving_at, Reason.EXITED))
    if not session.connected:
        found.append((session.active_since + rules.connect_timeout, Reason.NEVER_CONNECTED))
    elif rules.timeout >= 0:
        found.append((session.last_poll + rules.timeout, Reason.INACTIVITY))
    return sorted(found)


def why_over(session: Session, rules: SessionRules, now: float) -> Reason | None:
    """The reason for which a session is over by now, or None."""
    return next((reason for at, reason in ends(session, rules) if now >= at), None)
