"""The life of sessions: how each goes from state to state and is cleaned up exactly once."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from labnode.clock import Clock
from labnode.errors import LabnodeError, StartFailed
from labnode.events import Bus, SessionChanged
from labnode.sessions.quarantine import Quarantine
from labnode.sessions.rules import SessionRules, ends, why_over
from labnode.sessions.session import Reason, Session, State
from labnode.store import Happening, Store
from labnode.tasks import Tasks
from labnode.worker import Hook, Worker

log = logging.getLogger(__name__)

HOOK_LIMIT = 120.0  # seconds that on_start or on_dispose may wait in all
_SAVE_EVERY = 1.0  # seconds between two writes of a session's data

OnBoard = Callable[[Session, bool], None]


class Life:
    """Every change of a session's state happens here, under `lock`.

    starting -> active -> disposing -> disposed. Ending is only ever marked by those who want it;
    the hardware thread prepares and cleans, and `step()` (the reaper) draws the consequences.
    `prepare` and `clean` get the session and whether it is alone on the board.
    """

    def __init__(
        self,
        rules: SessionRules,
        *,
        store: Store,
        tasks: Tasks,
        worker: Worker,
        clock: Clock,
        bus: Bus,
        prepare: OnBoard,
        clean: OnBoard,
        keep_expired: float,
    ) -> None:
        self.lock = threading.RLock()
        self.sessions: dict[str, Session] = {}
        self.quarantine = Quarantine(store)
        self.wake_reaper: Callable[[], None] = lambda: None
        self.seat_is_free: Callable[[], None] = lambda: None
        self._rules = rules
        self._store = store
        self._tasks = tasks
        self._worker = worker
        self._clock = clock
        self._bus = bus
        self._prepare = prepare
        self._clean = clean
        self._keep_expired = keep_expired
        self._on_board: set[str] = set()  # the hardware thread's
        self._happened: deque[Callable[[], None]] = deque()

    def live(self) -> list[Session]:
        """The sessions that are not disposed, oldest first."""
        return [s for s in list(self.sessions.values()) if s.state is not State.DISPOSED]

    # ------------------------------------------------------------------ starting

    def launch(self, session: Session, *, stored: bool) -> None:
        """Have the board made ready for a session in `starting`; StartFailed if it is not kept."""
        self._tasks.open_session(session.id)
        if not stored:
            row = session.row(self._clock.boot_id)
            try:
                self._store.insert("sessions", row, Happening("session.starting", session.id))
            except LabnodeError as error:
                session.failure = error.message
                self._over(session)
                self._forget(session)
                raise StartFailed(error.message) from error
        log.info("Session %s starts.", session.tag)
        self._bus.publish(SessionChanged(session.id, session.state))
        with self.lock:
            session.hook = self._hook(session, self._run_prepare, self._prepared)
            session.hook.stopping = session.reason is not None
        self._worker.hook(session.hook)

    def _run_prepare(self, session: Session) -> None:
        if session.reason is None:  # else it has ended before it began
            alone = not self._on_board
            self._on_board.add(session.id)
            self._prepare(session, alone)

    def _prepared(self, session: Session, error: Exception | None) -> None:
        with self.lock:
            if session.reason is None and error is not None:
                session.failure = str(error) or type(error).__name__
                session.reason = Reason.START_FAILED
            if session.reason is not None:
                self._dispose(session, then=None if session.failure else session.started.set)
                return
            now = self._clock.now()
            session.state = State.ACTIVE
            if session.deadline is None:
                session.deadline = now + min(session.request.length, self._rules.max_time)
            session.active_since = session.last_poll = session.last_status = now
            self._changed(session, then=session.started.set)

    # ------------------------------------------------------------------ ending

    def end(self, session: Session, reason: Reason) -> None:
        """Have a session end; the first reason counts."""
        with self.lock:
            if session.reason is not None or session.state is State.DISPOSED:
                return
            session.reason = reason
            if session.state is State.ACTIVE:
                self._dispose(session)
                return
            if session.hook is not None:
                session.hook.stopping = True
        self._worker.wake()

    def clean_up(self, session: Session, reason: Reason) -> None:
        """Dispose a session that the last run of the node has left behind."""
        with self.lock:
            session.reason = reason
            self._dispose(session)

    def _dispose(self, session: Session, then: Callable[[], None] | None = None) -> None:
        session.state = State.DISPOSING
        self._changed(session, then)
        self._tasks.close_session(session.id)
        session.hook = self._hook(session, self._run_clean, self._cleaned)
        self._worker.hook(session.hook)

    def _run_clean(self, session: Session) -> None:
        self._on_board.discard(session.id)
        self._clean(session, not self._on_board)

    def _cleaned(self, session: Session, error: Exception | None) -> None:
        if error is not None:
            self.quarantine.impose(str(error) or type(error).__name__)
        session.cleaned = True
        self._settle(session)

    def _settle(self, session: Session) -> None:
        """A board is free when it is clean and the last task of its session has ended."""
        if not session.cleaned or session.ended_at is not None:
            return
        if self._tasks.of_session(session.id, unfinished=True):
            return
        session.ended_at = self._clock.wall()
        row = {**session.progress(), "state": str(State.DISPOSED), "data": dict(session.data)}
        happening = Happening("session.disposed", session.id)
        done = partial(self._over, session)
        self._store.update("sessions", session.id, row, happening, then=done)

    def _over(self, session: Session) -> None:
        with self.lock:
            session.state = State.DISPOSED
            session.over_at = self._clock.now()
        log.info("Session %s is over (%s).", session.tag, session.reason)
        self._bus.publish(SessionChanged(session.id, session.state, session.reason))
        session.disposed.set()
        session.started.set()
        self.seat_is_free()
        self.wake_reaper()

    def _forget(self, session: Session) -> None:
        with self.lock:
            self.sessions.pop(session.id, None)

    # ------------------------------------------------------------------ the reaper's turn

    def step(self) -> float | None:
        """Do all that is due; returns the seconds until something else is, None for never."""
        while self._happened:
            self._happened.popleft()()
        now = self._clock.now()
        dues: list[float] = []
        for session in list(self.sessions.values()):
            with self.lock:
                dues += self._step(session, now)
        return max(0.0, min(dues) - now) if dues else None

    def _step(self, session: Session, now: float) -> list[float]:
        """Do what is due for one session; returns when something else will be."""
        dues = []
        if session.active:
            if (reason := why_over(session, self._rules, now)) is not None:
                self.end(session, reason)
            else:
                dues.append(ends(session, self._rules)[0][0])
        if session.state is State.DISPOSING:
            self._settle(session)
        if session.state is State.DISPOSED:
            forget_at = session.over_at + self._keep_expired
            if now >= forget_at:
                self._forget(session)
                return []
            dues.append(forget_at)
        if session.unsaved:
            save_at = session.saved_at + _SAVE_EVERY
            if now >= save_at:
                session.unsaved, session.saved_at = False, now
                self._store.update("sessions", session.id, {"data": dict(session.data)})
            else:
                dues.append(save_at)
        return dues

    # ------------------------------------------------------------------ in between

    def data_written(self, session: Session) -> None:
        """The lab has written to the session's data; it is stored soon, and not too often."""
        session.unsaved = True
        self.wake_reaper()

    def resuming(self, session: Session) -> None:
        """Keep that a session is started again."""
        happening = Happening("session.resuming", session.id)
        self._store.update("sessions", session.id, session.progress(), happening)

    def _hook(
        self,
        session: Session,
        work: Callable[[Session], None],
        then: Callable[[Session, Exception | None], None],
    ) -> Hook:
        """Work for the hardware thread whose outcome the reaper looks after."""

        def finished(error: Exception | None) -> None:
            self._happened.append(lambda: then(session, error))
            self.wake_reaper()

        return Hook(partial(work, session), finished, HOOK_LIMIT)

    def _changed(self, session: Session, then: Callable[[], None] | None = None) -> None:
        """Tell everyone, and the store, of a session's new state."""
        detail: dict[str, Any] = {"reason": session.reason}
        happening = Happening(f"session.{session.state}", session.id, detail=detail)
        self._store.update("sessions", session.id, session.progress(), happening, then=then)
        self._bus.publish(SessionChanged(session.id, session.state, session.reason))
        self.wake_reaper()
