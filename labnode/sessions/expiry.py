"""When sessions end by themselves: the board's rules, the reaper thread, and after a restart."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from labnode.clock import Clock, Turn
from labnode.sessions.session import Reason, Session, State
from labnode.store import Row

log = logging.getLogger(__name__)

_RESUMES = 2  # a session that brings the node down must not do it forever


class SessionRules(Protocol):
    """The `session:` section of a board file; times in seconds, `timeout` 0 or -1 means never."""

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
    """When a session ends by itself (monotonic time) and why, earliest first.

    While it starts, only the end of its slot counts.
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
    elif rules.timeout > 0:
        found.append((session.last_poll + rules.timeout, Reason.INACTIVITY))
    return sorted(found)


def why_over(session: Session, rules: SessionRules, now: float) -> Reason | None:
    """The reason why a session is over by now, or None."""
    return next((reason for at, reason in ends(session, rules) if now >= at), None)


class Reaper:
    """A thread that calls `step` when woken, and after the seconds that `step` returned."""

    def __init__(self, step: Callable[[], float | None], clock: Clock) -> None:
        self._step = step
        self._clock = clock
        self._wake = clock.event()
        self._busy = Turn(clock, "reaper")
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Call `step` soon."""
        self._wake.set()

    def stop(self, timeout: float) -> bool:
        """End the thread; False if it did not end in time."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def fault(self) -> str | None:
        """Why sessions do not end any more, or None; any thread may ask."""
        return self._busy.fault() if self.alive else "the reaper has died"

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            with self._busy:
                try:
                    pause = self._step()
                except Exception:
                    log.exception("A turn of the reaper failed.")
                    pause = 1.0
            if not self._stopping:
                self._wake.wait(pause)


def fates(rows: Sequence[Row], clock: Clock, *, resume: bool, seats: int) -> list[Reason | None]:
    """Why each stored session, oldest first, has to end after a restart; None: it is resumed.

    Only the newest sessions are resumed, at most one per seat, and none unless `resume`.
    """
    found = [_fate(row, clock, resume) for row in rows]
    resumed = [n for n, reason in enumerate(found) if reason is None]
    for n in resumed[:-seats]:
        found[n] = Reason.RESTART
    return found


def _fate(row: Row, clock: Clock, resume: bool) -> Reason | None:
    if row["reason"]:
        return Reason(row["reason"])
    if row["boot_id"] != clock.boot_id or row["deadline"] is None:
        return Reason.RESTART  # after a reboot nobody knows how long the machine was off
    if row["deadline"] <= clock.now():
        return Reason.TIME
    resumes = resume and row["state"] == State.ACTIVE and row["resumed"] < _RESUMES
    return None if resumes else Reason.RESTART
