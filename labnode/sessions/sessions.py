"""All sessions of the node, for the central server's protocol, the student's side and the node."""

from __future__ import annotations

import math
import secrets
from contextlib import suppress
from typing import Any

from labnode import audit
from labnode.clock import Clock
from labnode.errors import Busy, StartFailed, StorageError
from labnode.events import Bus
from labnode.locale import Message
from labnode.sessions.actions import Actions
from labnode.sessions.admission import Admission, Obstacles
from labnode.sessions.expiry import SessionRules, fates
from labnode.sessions.session import (
    Deletion,
    Reason,
    Session,
    StartRequest,
    State,
    derive,
    legible,
    request_from_row,
)
from labnode.sessions.state_machine import HOOK_LIMIT, StateMachine
from labnode.sessions.users import LabHooks, User
from labnode.store import Happening, Row, Store
from labnode.tasks import Tasks
from labnode.worker import Worker

_GIVE_UP = 3  # times the hook limit: how long a start request waits
_DOUBT = 60.0  # seconds that each start that failed counts against the board
_LONGEST_DOUBT = 600.0
_PATIENCE = 5.0  # seconds that a student's request waits for a session that is being resumed
_LEAVING = 10.0  # seconds after which a page that was closed was not just reloaded


class Sessions:
    """All sessions of the node.

    `secret` derives callback addresses and cookies. `lab` has the hooks around a session, `board`
    says which faults forbid new sessions. A disposed session answers its student for another
    `keep_expired` seconds. on_start and on_dispose, with the board's sequences, may wait for
    `hook_limit` seconds in all.
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
        lab: LabHooks,
        board: Obstacles,
        keep_expired: float = 3600.0,
        hook_limit: float = HOOK_LIMIT,
    ) -> None:
        self.rules = rules
        self.actions = Actions(store, clock)
        self.draining = False
        self._closing = False
        self._failures = 0  # starts that have failed one after the other
        self._failure = ""  # why the last one did
        self._failed_at = float("-inf")
        self._secret = secret
        self._store = store
        self._worker = worker
        self._clock = clock
        self._board = board
        self._give_up = _GIVE_UP * hook_limit
        self._machine = StateMachine(
            rules,
            store=store,
            tasks=tasks,
            worker=worker,
            clock=clock,
            bus=bus,
            lab=lab,
            keep_expired=keep_expired,
            hook_limit=hook_limit,
        )
        self.quarantine = self._machine.quarantine
        self.reaper = self._machine.reaper
        self._admission = Admission(rules.users, self._machine, worker, clock, self)

    def live(self) -> list[Session]:
        """The sessions that are not disposed, oldest first."""
        return self._machine.index.live()

    def user(self, session: Session) -> User:
        """The student of a session."""
        return self._machine.users.of(session)

    def end(self, session: Session, reason: Reason) -> None:
        """End a session; if it is ending already, the first reason stays."""
        self._machine.end(session, reason)

    def step(self) -> float | None:
        """One turn of the reaper; returns the seconds until the next, None for never."""
        return self._machine.step()

    # ------------------------------------------------------------------ the central server

    def start(self, request: StartRequest) -> Session:
        """The session for `request`, once its board is ready.

        StartFailed, after the clean-up, if on_start fails; Busy if the board is not free, in
        quarantine, drained or used by another client.
        """
        arrived = self._clock.now()

        def create() -> Session:
            # No dash: `labnode fake dispose ID` would take one in front for an option.
            session = self._new(secrets.token_hex(24), request, self._clock.wall(), {})
            if request.counts_start:
                session.deadline = arrived + session.length - request.elapsed
            return session

        entrance = self._admission.enter(request, self.rules.start_wait, create)
        with self._worker.slot(), entrance as (session, new):
            if new:
                self._machine.launch(session)
            self._wait_until_started(session)
        return session

    def _wait_until_started(self, session: Session) -> None:
        """StartFailed, after the clean-up, if the session cannot be used."""
        if not self._worker.wait_for(session.started, self._give_up):
            self._machine.fail(session, "The board did not get ready in time.")
        elif session.active and not session.stored:  # a full disk may drop changes silently
            self._machine.fail(session, "The node's database does not keep the session.")
            self._worker.wait_for(session.disposed, self._give_up)
        if session.failure is not None:
            self._failures += 1
            self._failure, self._failed_at = session.failure, self._clock.now()
            raise StartFailed(session.failure)
        if session.active:
            self._failures = 0
        if session.state is State.STARTING and session.reason is None:
            raise Busy("The node is stopping.", retry_after=10)

    def status(self, session_id: str) -> float:
        """The seconds until the central server should ask again; -1: the session is over."""
        session = self._machine.index.get(session_id)
        if session is None or session.state is State.DISPOSED:
            return -1
        now = self._clock.now()
        session.last_status = now
        self._machine.end_if_over(session)
        if not session.active:
            return 2
        if self.rules.poll_interval == 0:
            return 0
        seconds = max(1.0, min(self.rules.poll_interval, session.time_left(now)))
        seconds = math.floor(seconds * 100) / 100  # not past the end
        return int(seconds) if seconds == int(seconds) else seconds

    def delete(self, session_id: str) -> Deletion:
        """End a session; waits up to `dispose_wait` for its clean-up. Never raises Busy."""
        session = self._machine.index.get(session_id)
        if session is None:
            # it may have been disposed before a restart of the node
            return Deletion.DONE if self._was_disposed(session_id) else Deletion.UNKNOWN
        self.end(session, Reason.DELETED)
        with suppress(Busy):  # too many threads wait; an error would count as clean
            self._worker.wait_for(session.disposed, self.rules.dispose_wait)
        return Deletion.DONE if session.state is State.DISPOSED else Deletion.PENDING

    def _was_disposed(self, session_id: str) -> bool:
        """Whether the store knows so; False if it does not answer."""
        with suppress(StorageError):
            return bool(self._store.select("sessions", "id = ? AND state = 'disposed'", session_id))
        return False

    def end_all(self, reason: Reason, timeout: float) -> bool:
        """End all sessions and wait for the clean-up; False if one was not clean in time."""
        end = self._clock.now() + timeout
        sessions = self.live()
        for session in sessions:
            self.end(session, reason)
        return all(s.disposed.wait(max(0.0, end - self._clock.now())) for s in sessions)

    def obstacles(self, *, details: bool = True) -> list[str]:
        """Why no session can start at all, one sentence each; empty if one can.

        Without `details` for strangers: nothing of the devices, and no error of a lab's code.
        """
        reasons = []
        if self.quarantine.why is not None:
            why = f"The board is in quarantine: {self.quarantine.why}"
            reasons.append(why if details else "The board is in quarantine.")
        faults = self._board.obstacles()
        reasons += faults if details or not faults else ["The board has a fault."]
        if self.draining:
            reasons.append("The node takes no new sessions: it is being drained.")
        if self._closing:
            reasons.append("The node is stopping.")
        return reasons

    def failing(self) -> list[str]:
        """A sentence when the last start has failed, and not for want of a free board."""
        if not self._failures:
            return []
        last = "The last start" if self._failures == 1 else f"The last {self._failures} starts"
        return [f"{last} failed: {self._failure}"]

    def doubts(self) -> list[str]:
        """The same, but only for some minutes after a start, the longer the more failed.

        Not for good, because a central server that believes it sends nobody who could prove it.
        """
        doubt = min(self._failures * _DOUBT, _LONGEST_DOUBT)
        return self.failing() if self._clock.now() - self._failed_at < doubt else []

    # ------------------------------------------------------------------ the student

    def by_token(self, token: str) -> Session | None:
        """The session of a callback address, also for a while after its end."""
        return self._machine.index.by_token(token)

    def by_handle(self, handle: str) -> Session | None:
        """The session of a cookie, also for a while after its end."""
        return self._machine.index.by_handle(handle)

    def bind(self, session: Session, cookie: str) -> bool:
        """Whether `cookie` is that of the session's browser; the first cookie becomes it."""
        with self._machine.lock:
            if session.cookie is None:
                session.cookie = cookie
                audit.connected(session.id)
                happening = Happening("session.connected", session.id)
                changes = {"cookie": cookie}
                self._store.update("sessions", session.id, changes, happening, synced=False)
            return secrets.compare_digest(session.cookie, cookie)

    def poll(self, session: Session, *, by_lab: bool = False) -> None:
        """The student is still there; `by_lab`: so the lab says, and nothing came from them."""
        with self._machine.lock:
            now = self._clock.now()
            if not by_lab:
                session.heard_at = now
                if session.leaving_at is not None:  # for a page that may have no WebSocket
                    session.has_websocket = False
            session.last_poll, session.leaving_at = now, None
            first, session.connected = not session.connected, True
        if first:  # from now on inactivity may end it, sooner than `connect_timeout`
            self.reaper.wake()

    def answered(self, session: Session) -> None:
        """The student's page has answered on its WebSocket; this alone keeps no session."""
        session.heard_at, session.has_websocket = self._clock.now(), True

    def leaving(self, session: Session) -> None:
        """The student's page was closed: unless it comes back within 10 s, the session ends."""
        with self._machine.lock:
            session.leaving_at = self._clock.now() + _LEAVING
        self.reaper.wake()

    def ready(self, session: Session) -> bool:
        """Whether the session is active; waits while it is being resumed after a restart.

        Busy if that takes longer than 5 s.
        """
        if session.state is State.STARTING and session.reason is None:
            self._worker.wait_for(session.started, _PATIENCE)
            if session.state is State.STARTING and session.reason is None:
                raise Busy(Message("error.resuming"))
        return session.active

    # ------------------------------------------------------------------ the node

    def recover(self) -> None:
        """After a start of the node: clean up or resume the sessions that were not disposed."""
        stored = self._store.select("sessions", "state != 'disposed'", order="rowid")
        rows = [legible(row) for row in stored]
        # All before a hook runs; and first, so that an emergency stop from now on ends them.
        sessions = [self._recovered(row) for row in rows]
        resume = self.rules.on_restart == "resume" and self.quarantine.why is None
        reasons = fates(rows, self._clock, resume=resume, seats=self.rules.users)
        for session, reason in zip(sessions, reasons, strict=True):
            if reason is not None:
                self._machine.clean_up(session, reason)
        for session, reason in zip(sessions, reasons, strict=True):
            if reason is None:  # it ends at once when an emergency stop has ended it meanwhile
                self._machine.resume(session)

    def close(self) -> None:
        """The node stops: no more starts; active sessions stay stored, to be resumed."""
        self._closing = True
        self._machine.seat_may_be_free()
        self._machine.close()

    def _recovered(self, row: Row) -> Session:
        session = self._new(row["id"], request_from_row(row), row["created_at"], row["data"] or {})
        session.resumed = row["resumed"]
        session.cookie = row["cookie"]
        session.on_board = session.on_start_began = True  # it may have been
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
        self._machine.add(session)
        return session
