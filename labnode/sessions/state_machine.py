"""The state machine of sessions: starting, active, disposing, disposed."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from labnode import audit
from labnode.clock import Clock, Event
from labnode.errors import StartFailed
from labnode.events import Bus, SessionChanged, TaskStatusChanged
from labnode.sessions.expiry import Reaper, SessionRules, ends, why_over
from labnode.sessions.quarantine import Quarantine
from labnode.sessions.session import (
    Reason,
    Session,
    SessionIndex,
    State,
)
from labnode.sessions.users import LabHooks, Users
from labnode.store import Happening, Store
from labnode.tasks import Tasks
from labnode.worker import Hook, Worker

log = logging.getLogger(__name__)

HOOK_LIMIT = 120.0  # seconds that on_start or on_dispose may wait in all
_DISK_PATIENCE = 1.0  # seconds that a clean-up waits until its beginning is stored


class StateMachine:
    """Every change of a session's state happens here, under `lock`.

    Any thread may end a session. The hardware thread runs the lab's hooks and reports to the
    reaper, whose turns (`step`) make the changes that are due. `hook_limit` is how many seconds
    on_start or on_dispose may wait in all, `keep_expired` how many a disposed session is kept in
    memory.
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
        lab: LabHooks,
        keep_expired: float,
        hook_limit: float,
    ) -> None:
        self.lock = threading.RLock()
        self.index = SessionIndex()
        self.quarantine = Quarantine(store)
        self.reaper = Reaper(self.step, clock)
        self.users = Users(store, clock, lab, self.reaper)
        self._rules = rules
        self._store = store
        self._tasks = tasks
        self._worker = worker
        self._clock = clock
        self._bus = bus
        self._lab = lab
        self._keep_expired = keep_expired
        self._hook_limit = hook_limit
        self._reports: deque[Callable[[], None]] = deque()  # from the hardware thread
        self._seat_signals: list[Event] = []
        bus.subscribe(TaskStatusChanged, wake=self.reaper.wake, limit=1)

    def add(self, session: Session) -> None:
        self.users.add(session)
        with self.lock:
            self.index.add(session)

    def seat_signal(self) -> Event:
        """A signal that is set the next time a seat on the board may be free."""
        signal = self._worker.signal()
        with self.lock:
            self._seat_signals.append(signal)
        return signal

    def seat_may_be_free(self) -> None:
        """Have all waiting starts look again."""
        with self.lock:
            signals, self._seat_signals = self._seat_signals, []
        for signal in signals:
            signal.set()

    # ------------------------------------------------------------------ starting

    def launch(self, session: Session) -> None:
        """Store a new session and queue its start hook; StartFailed if it cannot be stored."""
        row = session.row(self._clock.boot_id)
        happening = Happening("session.starting", session.id)
        seen = self.users.seen(session.request.username_unique)
        try:
            self._store.insert("sessions", row, happening, also=seen)
        except Exception as error:
            with self.lock:  # neither the board nor the store knows of it
                session.reason = session.reason or Reason.START_FAILED
                session.failure = str(error)
            self._disposed(session)
            self._forget(session)
            raise StartFailed(str(error)) from error
        self._queue_start_hook(session)

    def resume(self, session: Session) -> None:
        """Continue a session that was active when the node went down."""
        session.resumed += 1
        happening = Happening("session.resuming", session.id)
        self._store.update("sessions", session.id, session.progress(), happening, synced=False)
        self._queue_start_hook(session)

    def _queue_start_hook(self, session: Session) -> None:
        log.info("Session %s starts.", session.tag)
        self._tasks.open_session(session.id)
        self._bus.publish(SessionChanged(session.id, session.state))
        with self.lock:
            self._queue_hook(session, self._run_start_hook, self._start_hook_ended)
            if session.reason is not None:
                self._cut_start_short(session)
        self.reaper.wake()

    def _queue_hook(
        self,
        session: Session,
        function: Callable[[Session], None],
        ended: Callable[[Session, Exception | None], None],
    ) -> None:
        """Queue `function` for the hardware thread; the reaper calls `ended` after it."""

        def report(error: Exception | None) -> None:
            self._reports.append(partial(ended, session, error))
            self.reaper.wake()

        session.hook = Hook(partial(function, session), report, self._hook_limit)
        self._worker.hook(session.hook)

    def _run_start_hook(self, session: Session) -> None:
        self.end_if_over(session)
        if session.reason is not None:
            return
        alone = self._is_alone(session)
        self._tasks.wait_until_given_way()
        session.on_board = True
        try:
            self._lab.prepare(self.users.of(session), alone)
        except BaseException:
            self._tasks.close_session(session.id)  # or the tasks that it has queued would begin
            raise

    def _start_hook_ended(self, session: Session, error: Exception | None) -> None:
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
            self._store_state(session, then=partial(self._active, session))

    def _active(self, session: Session) -> None:
        seconds = session.time_left(self._clock.now())
        audit.started(session.id, session.request.client, seconds)
        session.stored = not self._store.behind
        session.started.set()

    # ------------------------------------------------------------------ ending

    def end(self, session: Session, reason: Reason) -> None:
        """End a session; if it is ending already, the first reason stays."""
        with self.lock:
            if session.reason is not None:
                return
            session.reason = reason
            if session.active:
                self._dispose(session)
            elif session.hook is not None:  # else _queue_start_hook() sees the reason
                self._cut_start_short(session)

    def end_if_over(self, session: Session) -> None:
        """End a session whose time is up, or whose student has gone."""
        with self.lock:
            if session.reason is None:
                reason = why_over(session, self._rules, self._clock.now())
                if reason is not None:
                    audit.expired(session.id, reason)
                    self.end(session, reason)

    def fail(self, session: Session, why: str) -> None:
        """End a session because its start failed."""
        with self.lock:
            if session.reason is None:
                session.failure = why
                self.end(session, Reason.START_FAILED)

    def clean_up(self, session: Session, reason: Reason) -> None:
        """Dispose a session that the node's last run did not finish."""
        with self.lock:
            session.reason = reason
            self._tasks.occupy(session.id)
            self._dispose(session)
            self._queue_clean_up(session)  # before others use the board

    def _cut_start_short(self, session: Session) -> None:
        """Stop the start hook and the tasks of a session, and answer its start request."""
        assert session.hook is not None
        session.hook.stopping = True
        self._tasks.close_session(session.id)
        self._worker.wake()
        session.started.set()

    def _dispose(self, session: Session) -> None:
        session.state = State.DISPOSING
        session.clean_by = self._clock.now() + _DISK_PATIENCE
        self._store_state(session, then=partial(self._queue_clean_up, session))
        self._tasks.close_session(session.id)

    def _queue_clean_up(self, session: Session) -> None:
        """Clean up once the state `disposing` is stored, so that a crash in it is noticed.

        A disk that does not answer delays this by `_DISK_PATIENCE`.
        """
        with self.lock:
            if not session.cleaning:
                session.cleaning = True
                self._queue_hook(session, self._run_clean_up, self._clean_up_ended)

    def _run_clean_up(self, session: Session) -> None:
        if session.on_board:
            session.on_board = False
            self._lab.clean(self.users.of(session), self._is_alone(session))

    def _clean_up_ended(self, session: Session, error: Exception | None) -> None:
        if error is not None:
            audit.quarantined(session.id)
            self.quarantine.impose(str(error) or type(error).__name__)
        session.cleaned = True
        self._finish(session)

    def _is_alone(self, session: Session) -> bool:
        return not any(other.on_board for other in self.index.live() if other is not session)

    def _finish(self, session: Session) -> None:
        """Store the end of a session that is clean and whose last task has ended."""
        if not session.cleaned or session.ended_at is not None:
            return
        if self._tasks.of_session(session.id, unfinished=True):
            return
        session.ended_at = self._clock.wall()
        row = {
            **session.progress(),
            "state": str(State.DISPOSED),
            **self.users.changed_data(session),
        }
        happening = Happening("session.disposed", session.id)
        done = partial(self._disposed, session)
        self._store.update("sessions", session.id, row, happening, then=done)

    def _disposed(self, session: Session) -> None:
        with self.lock:
            session.state = State.DISPOSED
            session.over_at = self._clock.now()
            self.index.move_to_over(session)
        self._tasks.vacate(session.id)
        log.info("Session %s is over (%s).", session.tag, session.reason)
        audit.disposed(session.id, session.reason)
        self._bus.publish(SessionChanged(session.id, session.state, session.reason))
        session.disposed.set()
        session.started.set()
        self._shrink(session)
        self.seat_may_be_free()
        self.reaper.wake()

    def _shrink(self, session: Session) -> None:
        """Keep of a session that is over what its student's last pages and a late delete need."""
        if changed := self.users.changed_data(session):  # by a view that ended after the clean-up
            self._store.update("sessions", session.id, changed)
        self.users.forget(session)
        session.shrink()

    def _forget(self, session: Session) -> None:
        with self.lock:
            self.index.forget(session)

    # ------------------------------------------------------------------ the reaper's turn

    def step(self) -> float | None:
        """Do all that is due; returns the seconds until something else is, None for never."""
        while self._reports:
            self._reports.popleft()()
        task_due = self._tasks.overdue.stop()
        now = self._clock.now()
        dues: list[float] = [] if task_due is None else [now + task_due]
        with self.lock:
            for session in self.index.live():
                dues += self._step(session, now)
            while (oldest := self.index.oldest_over()) is not None:
                forget_at = oldest.over_at + self._keep_expired
                if now < forget_at:
                    dues.append(forget_at)
                    break
                self._forget(oldest)
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
                self._queue_clean_up(session)
            self._finish(session)
        if (save_at := self.users.save_if_due(session)) is not None:
            dues.append(save_at)
        return dues

    def _store_state(self, session: Session, then: Callable[[], None]) -> None:
        """Store and publish a session's new state; `then` is called when it is stored.

        It outlives the process. After a power cut no session goes on, so its row and its end, which
        are synced, are enough to clean up once.
        """
        happening = Happening(
            f"session.{session.state}", session.id, detail={"reason": session.reason}
        )
        changes = {**session.progress(), **self.users.changed_data(session)}
        self._store.update("sessions", session.id, changes, happening, then=then, synced=False)
        self._bus.publish(SessionChanged(session.id, session.state, session.reason))
        self.reaper.wake()

    def close(self) -> None:
        """The node stops: end all waits; sessions stay as they are stored."""
        sessions = self.index.live()
        self.users.close(sessions)
        for session in sessions:
            session.started.set()
            session.disposed.set()
