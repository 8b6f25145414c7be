"""What becomes, when the node starts, of the sessions that its last run has left behind."""

from __future__ import annotations

from collections.abc import Sequence

from labnode.clock import Clock
from labnode.sessions.session import Reason, State
from labnode.store import Row

_RESUMES = 2  # a session that brings the node down must not do it for ever


def fates(rows: Sequence[Row], clock: Clock, *, resume: bool, seats: int) -> list[Reason | None]:
    """Why each of the stored sessions, oldest first, has to end; None: it goes on.

    At most as many go on as there are seats, the newest ones, and none unless `resume`.
    """
    found = [_fate(row, clock, resume) for row in rows]
    going_on = [n for n, reason in enumerate(found) if reason is None]
    for n in going_on[:-seats]:
        found[n] = Reason.RESTART
    return found


def _fate(row: Row, clock: Clock, resume: bool) -> Reason | None:
    if row["reason"]:
        return Reason(row["reason"])
    if row["boot_id"] != clock.boot_id or row["deadline"] is None:
        return Reason.RESTART  # after a reboot nobody knows how long it was dark
    if row["deadline"] <= clock.now():
        return Reason.TIME
    goes_on = resume and row["state"] == State.ACTIVE and row["resumed"] < _RESUMES
    return None if goes_on else Reason.RESTART
