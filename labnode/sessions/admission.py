"""Admission: which start is next, one at a time in the order of the requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from labnode.clock import Clock, Event
from labnode.errors import Busy
from labnode.sessions.session import Reason, Session, StartRequest, State
from labnode.sessions.state_machine import StateMachine
from labnode.worker import Worker

_ANSWER_WITHIN = 10.0  # seconds until an earlier start is answered; its thread only has to wake up


class Obstacles(Protocol):
    def obstacles(self) -> list[str]:
        """Why no session can start at all, one sentence each; empty if one can."""


@dataclass(eq=False)
class _Ticket:
    """A start request that is not answered yet."""

    answered: Event
    session: Session | None = None


class Admission:
    """The queue of start requests; while there are `obstacles`, all are refused."""

    def __init__(
        self,
        seats: int,
        machine: StateMachine,
        worker: Worker,
        clock: Clock,
        obstacles: Obstacles,
    ) -> None:
        self._seats = seats
        self._machine = machine
        self._worker = worker
        self._clock = clock
        self._obstacles = obstacles
        self._queue: deque[_Ticket] = deque()
        self._unanswered: list[_Ticket] = []  # in the order of the requests

    @contextmanager
    def enter(
        self, request: StartRequest, patience: float, create: Callable[[], Session]
    ) -> Iterator[tuple[Session, bool]]:
        """The session for `request` and whether it is new; answer the request after the block.

        Waits up to `patience` seconds for the clean-up of the session before, then raises Busy; it
        raises Busy at once if another client uses the board. The block ends after those of all
        earlier requests that can be answered: a central server that replaces a session while it
        starts keeps the id of the last answer.
        """
        ticket = _Ticket(self._worker.signal())
        with self._machine.lock:
            self._queue.append(ticket)
            self._unanswered.append(ticket)
        try:
            try:
                ticket.session, new = self._admit(ticket, request, patience, create)
            finally:
                with self._machine.lock:
                    self._queue.remove(ticket)
                self._machine.seat_may_be_free()
            yield ticket.session, new
        finally:
            for earlier in self._due_before(ticket):
                self._worker.wait_for(earlier.answered, _ANSWER_WITHIN)
            with self._machine.lock:
                self._unanswered.remove(ticket)
            ticket.answered.set()

    def _admit(
        self,
        ticket: _Ticket,
        request: StartRequest,
        patience: float,
        create: Callable[[], Session],
    ) -> tuple[Session, bool]:
        deadline = self._clock.now() + patience
        while True:
            with self._machine.lock:
                if (same := self._same_reservation(request)) is not None:
                    return same, False
                if obstacles := self._obstacles.obstacles():
                    raise Busy(" ".join(obstacles), retry_after=30)
                if self._queue[0] is ticket:
                    live = self._machine.index.live()
                    if len(live) < self._seats:
                        return create(), True
                    self._make_room(request, live)
                seat = self._machine.seat_signal()
            left = deadline - self._clock.now()
            if left <= 0 or not self._worker.wait_for(seat, left):
                raise Busy("The board is still being cleaned.", retry_after=5)

    def _same_reservation(self, request: StartRequest) -> Session | None:
        """The session of an earlier request with the same reservation id, unless it is ending."""
        if request.reservation_id is None:
            return None
        wanted = (request.client, request.reservation_id)
        for session in self._machine.index.live():
            same = (session.request.client, session.request.reservation_id) == wanted
            if same and session.reason is None:
                return session
        return None

    def _make_room(self, request: StartRequest, live: Collection[Session]) -> None:
        """End a session of the same client: its scheduler knows which session is current."""
        for session in live:
            self._machine.end_if_over(session)
        if any(session.reason is not None for session in live):
            return  # its seat will be free soon
        mine = [s for s in live if s.request.client == request.client]
        if not mine:
            raise Busy("The board is in use by another central server.", retry_after=30)
        unused = min(mine, key=lambda s: (s.state is State.STARTING, s.last_status))
        self._machine.end(unused, Reason.SUPERSEDED)

    def _due_before(self, ticket: _Ticket) -> list[_Ticket]:
        with self._machine.lock:
            earlier = self._unanswered[: self._unanswered.index(ticket)]
            return [e for e in earlier if e.session is not None and e.session.started.is_set()]
