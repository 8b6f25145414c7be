"""What the central server and the student's side can ask of the node's sessions."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from labnode import audit
from labnode.clock import Clock
from labnode.errors import Busy, StartFailed, StorageError
from labnode.events import Bus
from labnode.sessions.actions import Actions
from labnode.sessions.admission import Admission
from labnode.sessions.expiry import Reaper, SessionRules, fates
from labnode.sessions.session import (
    Deletion,
    Reason,
    Session,
    StartRequest,
    State,
    derive,
    request_from_row,
)
from labnode.sessions.state_machine import HOOK_LIMIT, BoardWork, Life, Work
from labnode.sessions.users import ReturningUsers, User
from labnode.store import Happening, Row, Store
from labnode.tasks import Tasks
from labnode.worker import Worker

_GIVE_UP = 3  # times the hook limit: after that a start is not waited for any more
_PATIENCE = 5.0  # seconds that a student's request waits for a session that is being resumed
_LEAVING = 10.0  # seconds between the page's last word and its leaving; a reload says it as well


class Sessions:
    """All sessions of the node.

    `secret` is what callback addresses and cookies are derived with. `prepare` and `clean` run on
    the hardware thread; where `clean` raises, the board goes into quarantine. `keep_expired` is how
    many seconds a session that is over still answers to its student; `faults` says what of the
    board itself is against new sessions. `hook_limit` is how many seconds on_start or on_dispose,
    with the board's sequences, may wait in all.
    """

    def __init__(
        self,
        rules: SessionRules,
        secret: bytes,
        *,
        store: Store,
        tasks: Tasks,
        worker: Worker,
        clock: Clock,
        bus: Bus,
        prepare: Work,
        clean: Work,
        load_user: Callable[[str], Any] = lambda _: None,
        keep_expired: float = 3600.0,
        faults: Callable[[], list[str]] = list,
        hook_limit: float = HOOK_LIMIT,
    ) -> None:
        self.rules = rules
        self.actions = Actions(store, clock)
        self.draining = False
        self._closing = False
        self._secret = secret
        self._store = store
        self._worker = worker
        self._clock = clock
        self._load_user = load_user
        self._faults = faults
        self._give_up = _GIVE_UP * hook_limit
        self._returning = ReturningUsers(store, clock)
        self._life = Life(
            rules,
            store=store,
            tasks=tasks,
            worker=worker,
            clock=clock,
            bus=bus,
            work=BoardWork(prepare, clean, hook_limit),
            returning=self._returning,
            keep_expired=keep_expired,
        )
        self._admission = Admission(rules.users, self._life, worker, clock, self._refuse)
        self.quarantine = self._life.quarantine
        self.live = self._life.live
        self.end = self._life.end
        self.step = self._life.step
        self.reaper = Reaper(self.step, clock)
        self._life.wake_reaper = self.reaper.wake
        tasks.on_finished = tasks.on_limited = self.reaper.wake
        self._life.seat_is_free = self._admission.look_again

    # ------------------------------------------------------------------ the central server

    def start(self, request: StartRequest) -> Session:
        """The session for `request`, its board ready; waits for that.

        StartFailed, after the clean-up, when on_start fails; Busy when the board is not free, in
        quarantine, drained or held by another client.
        """
        arrived = self._clock.now()

        def create() -> Session:
            session = self._new(secrets.token_hex(24), request, self._clock.wall(), {})
            if request.counts_start:
                session.deadline = arrived + session.length - request.elapsed
            return session

        entrance = self._admission.enter(request, self.rules.start_wait, create)
        with self._worker.seat(), entrance as (session, new):
            if new:
                self._life.launch(session)
            self._wait_until_started(session)
        return session

    def _wait_until_started(self, session: Session) -> None:
        """StartFailed when the session is not going to be used, its clean-up done."""
        if not self._worker.wait_for(session.started, self._give_up):
            self._life.fail(session, "The board did not get ready in time.")
        elif session.active and not self._is_kept(session):
            self._life.fail(session, "The node's database does not keep the session.")
            self._worker.wait_for(session.disposed, self._give_up)
        if session.failure is not None:
            raise StartFailed(session.failure)
        if session.state is State.STARTING and session.reason is None:
            raise Busy("The node is stopping.", retry_after=10)

    def _is_kept(self, session: Session) -> bool:
        """Is it in the store that the session is active? A full disk takes changes silently."""
        try:
            kept = self._store.select("sessions", "id = ? AND state != 'starting'", session.id)
        except StorageError:
            return False
        return bool(kept)

    def status(self, session_id: str) -> float:
        """When the central server should ask again, in seconds; -1: the session is over."""
        session = self._life.sessions.get(session_id)
        if session is None or session.state is State.DISPOSED:
            return -1
        now = self._clock.now()
        session.last_status = now
        self._life.end_if_over(session)
        if not session.active:
            return 2
        if self.rules.poll_interval == 0:
            return 0
        seconds = max(1.0, min(self.rules.poll_interval, session.time_left(now)))
        seconds = math.floor(seconds * 100) / 100  # down, so as not to be past the end
        return int(seconds) if seconds == int(seconds) else seconds

    def delete(self, session_id: str) -> Deletion:
        """End a session; waits up to `dispose_wait` for its clean-up, and never raises Busy."""
        session = self._life.sessions.get(session_id)
        if session is None:
            return Deletion.DONE if self._was_disposed(session_id) else Deletion.UNKNOWN
        self.end(session, Reason.DELETED)
        with suppress(Busy):  # too many wait already; an error would count as clean
            self._worker.wait_for(session.disposed, self.rules.dispose_wait)
        return Deletion.DONE if session.state is State.DISPOSED else Deletion.PENDING

    def _was_disposed(self, session_id: str) -> bool:
        """Was it one of ours, that has been cleaned up before the node was restarted?"""
        with suppress(StorageError):
            return bool(self._store.select("sessions", "id = ? AND state = 'disposed'", session_id))
        return False

    def end_all(self, reason: Reason, timeout: float) -> bool:
        """End all and wait for their clean-up; False when one was not clean in time."""
        end = self._clock.now() + timeout
        sessions = self.live()
        for session in sessions:
            self.end(session, reason)
        return all(s.disposed.wait(max(0.0, end - self._clock.now())) for s in sessions)

    def obstacles(self) -> list[str]:
        """Why no new session can start at all; empty when one could."""
        reasons = []
        if self.quarantine.why is not None:
            reasons.append(f"The board is in quarantine: {self.quarantine.why}")
        reasons += self._faults()
        if self.draining:
            reasons.append("The node takes no new sessions: it is being drained.")
        if self._closing:
            reasons.append("The node is stopping.")
        return reasons

    def _refuse(self) -> None:
        if obstacles := self.obstacles():
            raise Busy(" ".join(obstacles), retry_after=30)

    # ------------------------------------------------------------------ the student

    def by_token(self, token: str) -> Session | None:
        """The session that a callback address names, also for a while after its end."""
        return next((s for s in list(self._life.sessions.values()) if s.token == token), None)

    def by_handle(self, handle: str) -> Session | None:
        """The session that a cookie names, also for a while after its end."""
        return next((s for s in list(self._life.sessions.values()) if s.handle == handle), None)

    def bind(self, session: Session, cookie: str) -> bool:
        """True when `cookie` is that of the one browser the session belongs to, or becomes it."""
        with self._life.lock:
            if session.cookie is None:
                session.cookie = cookie
                audit.connected(session.id)
                happening = Happening("session.connected", session.id)
                self._store.update("sessions", session.id, {"cookie": cookie}, happening)
            return secrets.compare_digest(session.cookie, cookie)

    def poll(self, session: Session) -> None:
        """The student is there."""
        with self._life.lock:
            session.last_poll, session.leaving_at = self._clock.now(), None
            first, session.connected = not session.connected, True
        if first:  # silence ends it sooner now than never coming did
            self.reaper.wake()

    def leaving(self, session: Session) -> None:
        """The student's page closes; it has 10 s to be a reload."""
        with self._life.lock:
            session.leaving_at = self._clock.now() + _LEAVING
        self.reaper.wake()

    def ready(self, session: Session) -> bool:
        """Is it active? One that is being resumed after a restart is waited for.

        Busy when that takes longer than 5 s.
        """
        if session.state is State.STARTING and session.reason is None:
            self._worker.wait_for(session.started, _PATIENCE)
            if session.state is State.STARTING and session.reason is None:
                raise Busy("The board is being made ready again after a restart of the node.")
        return session.active

    # ------------------------------------------------------------------ the node

    def recover(self) -> None:
        """After a start of the node: clean up after what was not finished, or resume it."""
        rows = self._store.select("sessions", "state != 'disposed'", order="rowid")
        resume = self.rules.on_restart == "resume" and self.quarantine.why is None
        reasons = fates(rows, self._clock, resume=resume, seats=self.rules.users)
        sessions = [self._recovered(row) for row in rows]  # all, before the first has the board
        for session, reason in zip(sessions, reasons, strict=True):
            if reason is not None:
                self._life.clean_up(session, reason)
        for session in sessions:
            if session.reason is None:
                self._life.resume(session)

    def close(self) -> None:
        """The node stops: no more starts; active sessions stay as they are, to be resumed."""
        self._closing = True
        self._admission.look_again()
        self._life.close()

    def _recovered(self, row: Row) -> Session:
        session = self._new(row["id"], request_from_row(row), row["created_at"], row["data"] or {})
        session.resumed = row["resumed"]
        session.cookie = row["cookie"]
        session.on_board = True  # as far as anybody knows
        if row["boot_id"] == self._clock.boot_id:
            session.deadline = row["deadline"]
        return session

    def _new(
        self, session_id: str, request: StartRequest, created_at: float, data: dict[str, Any]
    ) -> Session:
        session = Session(
            id=session_id,
            token=derive(self._secret, "callback", session_id),
            handle=derive(self._secret, "cookie", session_id)[:22],
            request=request,
            length=min(request.length, self.rules.max_time),
            created_at=created_at,
            last_poll=self._clock.now(),
            started=self._worker.signal(),
            disposed=self._worker.signal(),
            data=data,
        )
        session.user = User(
            session, self._clock, self._life.data_written, self._load_user, self._returning
        )
        self._life.sessions[session_id] = session
        return session
