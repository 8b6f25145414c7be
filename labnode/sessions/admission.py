"""Who may start next: one at a time, in the order of asking, when a seat on the board is free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from labnode.clock import Clock
from labnode.errors import Busy
from labnode.sessions.session import Reason, Session, StartRequest, State
from labnode.sessions.state_machine import Life
from labnode.worker import Signal, Worker

_TURN = 10.0  # seconds for an answer that is due to be given; its thread only has to wake up


@dataclass(eq=False)
class _Ticket:
    """A start that has been asked for and is not answered yet."""

    signal: Signal  # there may be a seat
    answered: Signal
    session: Session | None = None


class Admission:
    """The queue of starts in front of the board; `refuse` raises where no new one may begin."""

    def __init__(
        self, seats: int, life: Life, worker: Worker, clock: Clock, refuse: Callable[[], None]
    ) -> None:
        self._seats = seats
        self._life = life
        self._worker = worker
        self._clock = clock
        self._refuse = refuse
        self._queue: deque[_Ticket] = deque()
        self._unanswered: list[_Ticket] = []  # in the order of asking

    @contextmanager
    def enter(
        self, request: StartRequest, patience: float, create: Callable[[], Session]
    ) -> Iterator[tuple[Session, bool]]:
        """The session for `request` and whether it is new; the end of the block is the answer.

        Waits up to `patience` seconds for the clean-up of the session before; Busy after that, or
        at once where another client holds the board. The block ends after those of all starts that
        came before and whose answer is due: a central server that has replaced a session while it
        started keeps the id that comes last.
        """
        ticket = _Ticket(self._worker.signal(), self._worker.signal())
        with self._life.lock:
            self._queue.append(ticket)
            self._unanswered.append(ticket)
        try:
            try:
                ticket.session, new = self._admit(ticket, request, patience, create)
            finally:
                with self._life.lock:
                    self._queue.remove(ticket)
                self.look_again()
            yield ticket.session, new
        finally:
            for elder in self._due_before(ticket):
                self._worker.wait_for(elder.answered, _TURN)
            with self._life.lock:
                self._unanswered.remove(ticket)
            ticket.answered.set()

    def look_again(self) -> None:
        """A seat has become free, or the first in the queue has left it."""
        with self._life.lock:
            for ticket in self._queue:
                ticket.signal.set()

    def _admit(
        self,
        ticket: _Ticket,
        request: StartRequest,
        patience: float,
        create: Callable[[], Session],
    ) -> tuple[Session, bool]:
        deadline = self._clock.now() + patience
        while True:
            with self._life.lock:
                if (same := self._same_reservation(request)) is not None:
                    return same, False
                self._refuse()
                if self._queue[0] is ticket:
                    live = self._life.live()
                    if len(live) < self._seats:
                        return create(), True
                    self._make_room(request, live)
                ticket.signal = self._worker.signal()
            left = deadline - self._clock.now()
            if left <= 0 or not self._worker.wait_for(ticket.signal, left):
                raise Busy("The board is still being cleaned.", retry_after=5)

    def _same_reservation(self, request: StartRequest) -> Session | None:
        for session in self._life.live():
            asked = session.request
            if (
                request.reservation_id is not None
                and (asked.client, asked.reservation_id) == (request.client, request.reservation_id)
                and session.reason is None
            ):
                return session
        return None

    def _make_room(self, request: StartRequest, live: Collection[Session]) -> None:
        """The scheduler of a client knows best: its new session replaces its old one."""
        for session in live:
            self._life.end_if_over(session)
        if any(session.reason is not None for session in live):
            return  # one of them is ending already: its seat is the next
        mine = [s for s in live if s.request.client == request.client]
        if not mine:
            raise Busy("The board is in use by another central server.", retry_after=30)
        self._life.end(min(mine, key=_last_heard_of), Reason.SUPERSEDED)

    def _due_before(self, ticket: _Ticket) -> list[_Ticket]:
        with self._life.lock:
            elders = self._unanswered[: self._unanswered.index(ticket)]
            return [e for e in elders if e.session is not None and e.session.started.is_set()]


def _last_heard_of(session: Session) -> tuple[bool, float]:
    return session.state is State.STARTING, session.last_status
