"""The life of sessions: how each goes from state to state and is cleaned up exactly once."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from labnode import audit
from labnode.clock import Clock
from labnode.errors import StartFailed
from labnode.events import Bus, SessionChanged
from labnode.sessions.actions import UserData
from labnode.sessions.expiry import SessionRules, ends, why_over
from labnode.sessions.quarantine import Quarantine
from labnode.sessions.session import Reason, Session, State
from labnode.sessions.users import ReturningUsers
from labnode.store import Happening, Store
from labnode.tasks import Tasks
from labnode.worker import Hook, Worker

HOOK_LIMIT = 120.0  # seconds that on_start or on_dispose may wait in all

Work = Callable[[Session, bool], None]
Finished = Callable[[Session, Exception | None], None]


@dataclass(frozen=True)
class BoardWork:
    """What is done around a session, `limit` seconds of waiting at most.

    Both functions get the session and whether it is alone on the board.
    """

    prepare: Work
    clean: Work
    limit: float = HOOK_LIMIT


class OnBoard:
    """Queues the work before and after sessions.

    `live` gives the sessions that are not disposed, `end_if_over` ends one whose time is up.
    """

    def __init__(
        self,
        worker: Worker,
        tasks: Tasks,
        work: BoardWork,
        *,
        live: Callable[[], list[Session]],
        end_if_over: Callable[[Session], None],
    ) -> None:
        self._worker = worker
        self._tasks = tasks
        self._work = work
        self._live = live
        self._end_if_over = end_if_over

    def have_prepared(self, session: Session, finished: Finished) -> None:
        """Have the board made ready; `finished` is called on the hardware thread."""
        self._queue(session, self._run_prepare, finished)

    def have_cleaned(self, session: Session, finished: Finished) -> None:
        """Have the board cleaned; `finished` is called on the hardware thread."""
        self._queue(session, self._run_clean, finished)

    def cut_short(self, session: Session) -> None:
        """Ask the hook and the tasks of a session that starts to come to their end."""
        assert session.hook is not None
        session.hook.stopping = True
        self._tasks.close_session(session.id)
        self._worker.wake()

    def _queue(self, session: Session, work: Callable[[Session], None], finished: Finished) -> None:
        session.hook = Hook(partial(work, session), partial(finished, session), self._work.limit)
        self._worker.hook(session.hook)

    def _run_prepare(self, session: Session) -> None:
        self._end_if_over(session)
        if session.reason is not None:  # it has ended before it began
            return
        alone = self._is_alone(session)
        session.on_board = True
        try:
            self._work.prepare(session, alone)
        except BaseException:
            self._tasks.close_session(session.id)  # or what it has queued would begin now
            raise

    def _run_clean(self, session: Session) -> None:
        if session.on_board:  # a lab's on_dispose relies on what its on_start has done
            session.on_board = False
            self._work.clean(session, self._is_alone(session))

    def _is_alone(self, session: Session) -> bool:
        return not any(other.on_board for other in self._live() if other is not session)


log = logging.getLogger(__name__)

_DISK_PATIENCE = 1.0  # seconds that a clean-up waits for the disk to take note of its beginning


class Life:
    """Every change of a session's state happens here, under `lock`.

    starting -> active -> disposing -> disposed. Ending is only ever marked by those who want it;
    the hardware thread prepares and cleans, and `step()` (the reaper) draws the consequences.
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
        work: BoardWork,
        returning: ReturningUsers,
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
        self._clock = clock
        self._bus = bus
        self._board = OnBoard(
            worker,
            tasks,
            work,
            live=self.live,
            end_if_over=self.end_if_over,
        )
        self._returning = returning
        self._keep_expired = keep_expired
        self._userdata = UserData(store, clock)
        self._happened: deque[Callable[[], None]] = deque()

    def live(self) -> list[Session]:
        """The sessions that are not disposed, oldest first."""
        return [s for s in list(self.sessions.values()) if s.state is not State.DISPOSED]

    # ------------------------------------------------------------------ starting

    def launch(self, session: Session) -> None:
        """Store a new session and have the board made ready for it; StartFailed if it is lost."""
        row = session.row(self._clock.boot_id)
        happening = Happening("session.starting", session.id)
        seen = self._returning.seen(session.request.username_unique)
        try:
            self._store.insert("sessions", row, happening, also=seen)
        except Exception as error:
            self._abandon(session, str(error))
            raise StartFailed(str(error)) from error
        self._have_prepared(session)

    def resume(self, session: Session) -> None:
        """Take a session up again that was active when the node went down."""
        session.resumed += 1
        happening = Happening("session.resuming", session.id)
        self._store.update("sessions", session.id, session.progress(), happening)
        self._have_prepared(session)

    def _have_prepared(self, session: Session) -> None:
        log.info("Session %s starts.", session.tag)
        self._tasks.open_session(session.id)
        self._bus.publish(SessionChanged(session.id, session.state))
        with self.lock:
            self._board.have_prepared(session, self._heard(self._prepared))
            if session.reason is not None:
                self._cut_short(session)
        self.wake_reaper()

    def _abandon(self, session: Session, why: str) -> None:
        """Give up a session that nothing knows of yet, the board least of all."""
        with self.lock:
            session.reason = session.reason or Reason.START_FAILED
            session.failure = why
        self._over(session)
        self._forget(session)

    def _prepared(self, session: Session, error: Exception | None) -> None:
        with self.lock:
            if session.reason is None and error is not None:
                log.warning("Session %s does not start.", session.tag, exc_info=error)
                session.failure = str(error) or type(error).__name__
                session.reason = Reason.START_FAILED
            if session.reason is not None:
                self._dispose(session)
                return
            now = self._clock.now()
            session.state = State.ACTIVE
            if session.deadline is None:
                session.deadline = now + session.length
            session.active_since = session.last_poll = session.last_status = now
            self._changed(session, then=partial(self._active, session))

    def _active(self, session: Session) -> None:
        seconds = session.time_left(self._clock.now())
        audit.started(session.id, session.request.client, seconds)
        session.started.set()

    # ------------------------------------------------------------------ ending

    def end(self, session: Session, reason: Reason) -> None:
        """Have a session end; the first reason counts."""
        with self.lock:
            if session.reason is not None:
                return
            session.reason = reason
            if session.active:
                self._dispose(session)
            elif session.hook is not None:  # else launch() is about to see to it
                self._cut_short(session)

    def end_if_over(self, session: Session) -> None:
        """Have a session end whose time is up, or whose student has gone."""
        with self.lock:
            if session.reason is None:
                reason = why_over(session, self._rules, self._clock.now())
                if reason is not None:
                    audit.expired(session.id, reason)
                    self.end(session, reason)

    def fail(self, session: Session, why: str) -> None:
        """Have a session end because it did not start as it should."""
        with self.lock:
            if session.reason is None:
                session.failure = why
                self.end(session, Reason.START_FAILED)

    def clean_up(self, session: Session, reason: Reason) -> None:
        """Dispose a session that the last run of the node has left behind."""
        with self.lock:
            session.reason = reason
            self._dispose(session)
            self._clean(session)  # at once, before others go on; a crash leaves it to be cleaned

    def _cut_short(self, session: Session) -> None:
        """Ask a start to come to its end, and answer it: it has its id and is over."""
        self._board.cut_short(session)
        session.started.set()

    def _dispose(self, session: Session) -> None:
        session.state = State.DISPOSING
        session.clean_by = self._clock.now() + _DISK_PATIENCE
        self._changed(session, then=partial(self._clean, session))
        self._tasks.close_session(session.id)

    def _clean(self, session: Session) -> None:
        """Begin the clean-up once its beginning is stored: a crash in it must be made good.

        A disk that does not answer holds it up for a second and no longer.
        """
        with self.lock:
            if not session.cleaning:
                session.cleaning = True
                self._board.have_cleaned(session, self._heard(self._cleaned))

    def _cleaned(self, session: Session, error: Exception | None) -> None:
        if error is not None:
            audit.quarantined(session.id)
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
        row = {**session.progress(), "state": str(State.DISPOSED), **self._userdata.news(session)}
        happening = Happening("session.disposed", session.id)
        done = partial(self._over, session)
        self._store.update("sessions", session.id, row, happening, then=done)

    def _over(self, session: Session) -> None:
        with self.lock:
            session.state = State.DISPOSED
            session.over_at = self._clock.now()
        log.info("Session %s is over (%s).", session.tag, session.reason)
        audit.disposed(session.id, session.reason)
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
        task_due = self._tasks.stop_overdue()
        now = self._clock.now()
        dues: list[float] = [] if task_due is None else [now + task_due]
        for session in list(self.sessions.values()):
            with self.lock:
                dues += self._step(session, now)
        return max(0.0, min(dues) - now) if dues else None

    def _step(self, session: Session, now: float) -> list[float]:
        """Do what is due for one session; returns when something else will be."""
        dues = []
        self.end_if_over(session)
        if session.reason is None:
            dues += [at for at, _ in ends(session, self._rules)[:1]]
        if session.state is State.DISPOSING:
            if not session.cleaning and now < session.clean_by:
                dues.append(session.clean_by)
            else:
                self._clean(session)
            self._settle(session)
        if session.state is State.DISPOSED:
            forget_at = session.over_at + self._keep_expired
            if now >= forget_at:
                self._forget(session)
                return []
            dues.append(forget_at)
        if (save_at := self._userdata.save_if_due(session)) is not None:
            dues.append(save_at)
        return dues

    # ------------------------------------------------------------------ in between

    def data_written(self, session: Session) -> None:
        """The lab has written to the session's data."""
        self._userdata.written(session)
        self.wake_reaper()

    def close(self) -> None:
        """The node stops: whoever waits is answered, and sessions stay as they are stored."""
        with self.lock:
            sessions = list(self.sessions.values())
        self._userdata.close(sessions)
        for session in sessions:
            session.started.set()
            session.disposed.set()

    def _heard(self, then: Finished) -> Finished:
        """For the hardware thread: its news are looked after by the reaper."""

        def finished(session: Session, error: Exception | None) -> None:
            self._happened.append(lambda: then(session, error))
            self.wake_reaper()

        return finished

    def _changed(self, session: Session, then: Callable[[], None] | None = None) -> None:
        """Tell everyone, and the store, of a session's new state."""
        detail: dict[str, Any] = {"reason": session.reason}
        happening = Happening(f"session.{session.state}", session.id, detail=detail)
        changes = {**session.progress(), **self._userdata.news(session)}
        self._store.update("sessions", session.id, changes, happening, then=then)
        self._bus.publish(SessionChanged(session.id, session.state, session.reason))
        self.wake_reaper()
