"""Who has switched an output on, and until when they count as present: for its dead man."""

from __future__ import annotations

from labnode import context
from labnode.clock import Clock
from labnode.drivers.framework.services import Operator
from labnode.lab.sequences import SequenceRun
from labnode.sessions import Session, State, User
from labnode.sessions.expiry import SessionRules
from labnode.store import Happening, Store
from labnode.tasks.runs import Run


class Operators:
    """Finds the operator of a command by its context, as a board asks for them."""

    def __init__(self, rules: SessionRules, clock: Clock, store: Store) -> None:
        self._timeout = rules.timeout
        self._clock = clock
        self._store = store

    def current(self) -> Operator:
        """The task that commands, else the sequence, else the student, else nobody."""
        user, sequence = context.current_user.get(), context.current_sequence.get()
        session = user.session if isinstance(user, User) else None
        operator: Operator = self._of_session(session)
        if sequence is not None:
            operator = SequenceOperator(sequence, self._of_session(sequence.session), self._clock)
        task = context.current_task.get()
        for run in reversed(task.inside.whole() if task is not None else []):
            operator = TaskOperator(run, operator, self._clock)
        return operator

    def _of_session(self, session: Session | None) -> SessionOperator:
        return SessionOperator(session, self._timeout, self._clock, self._store)


class SessionOperator:
    """The student of a session, or a hook that prepares or cleans the board for them.

    Without a session it is somebody whom nothing can be heard of: a program, the admin page.
    """

    def __init__(self, session: Session | None, timeout: float, clock: Clock, store: Store) -> None:
        self._session = session
        self._state = None if session is None else session.state
        self._timeout = timeout
        self._clock = clock
        self._store = store

    def heard_until(self, patience: float) -> float:
        session = self._session
        if session is None:
            return float("-inf")
        in_hook = session.state is self._state and session.state is not State.ACTIVE
        if in_hook or (session.active and not session.connected):
            return self._clock.now() + patience  # other limits end a hook, and the wait for a page
        if session.has_websocket:
            return session.heard_at + patience
        # Such a page asks now and then, and its session ends when it has not for so long.
        timeout = self._timeout if self._timeout > 0 else float("inf")
        return session.heard_at + max(patience, timeout)

    def was_lost(self, device: str) -> None:
        session_id = None if self._session is None else self._session.id
        self._store.note_soon(Happening("deadman", session_id, detail={"device": device}))


class TaskOperator:
    """A task while it runs, which shows by its waits that it does not hang; then `behind` it."""

    def __init__(self, run: Run, behind: Operator, clock: Clock) -> None:
        self._run = run
        self._behind = behind
        self._clock = clock

    def heard_until(self, patience: float) -> float:
        run = self._run
        until = (self._clock.now() if run.waits_now else run.waited_at) + patience
        return until if run.outcome is None else max(until, self._behind.heard_until(patience))

    def was_lost(self, device: str) -> None:
        self._behind.was_lost(device)


class SequenceOperator:
    """A sequence while it runs; then the student of its session."""

    def __init__(self, run: SequenceRun, behind: Operator, clock: Clock) -> None:
        self._run = run
        self._behind = behind
        self._clock = clock

    def heard_until(self, patience: float) -> float:
        if self._run.running:  # on the hardware thread, where it lets others in or is hung
            return self._clock.now() + patience
        return self._behind.heard_until(patience)

    def was_lost(self, device: str) -> None:
        self._behind.was_lost(device)
