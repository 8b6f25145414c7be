"""One selector loop for every socket of a web server: requests, WebSockets and streams."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from labnode.clock import Clock, Turn
from labnode.threads import Waker

logger = logging.getLogger(__name__)

_GRACE = 0.5  # seconds for the reactor to come to it


class Participant:
    """A socket, and what to do when it can be read or written.

    The reactor's thread calls the methods, one at a time; none of them may wait. What they raise
    goes to `failed`. `deadline` is when `tick` is due. One that is `over` is closed.
    """

    over = False

    def __init__(
        self, sock: socket.socket, reactor: Reactor, group: Group[Any] | None = None
    ) -> None:
        self.socket = sock
        self.reactor = reactor
        self.group = group

    def wake(self) -> bool:
        """Have `woken` called soon; False once the reactor has ended. Any thread."""
        return self.reactor.wake(self)

    @property
    def interest(self) -> int:
        """The selector's events to watch the socket for; 0: none."""
        return selectors.EVENT_READ

    @property
    def deadline(self) -> float | None:
        return None

    def ready(self, events: int) -> None:
        """The socket can be read or written."""

    def woken(self) -> None:
        """Somebody has called `wake`, or the reactor has just adopted it."""

    def tick(self) -> None:
        self.over = True

    def failed(self, error: Exception) -> None:
        if not isinstance(error, OSError):
            logger.error("A connection is closed because of a fault in the server", exc_info=error)
        self.over = True

    def stop(self) -> None:
        """The reactor stops. Called every turn until the participant is over."""
        self.over = True

    def close(self) -> None:
        """Close the socket, for good; idempotent. Any thread."""
        self.socket.close()
        if self.group is not None:
            self.group.discard(self)


P = TypeVar("P", bound=Participant)


class Group(Generic[P]):
    """Participants that are counted, woken and stopped together. Any thread.

    They are members from before they are adopted until they are closed.
    """

    def __init__(self) -> None:
        self.members: frozenset[P] = frozenset()  # replaced as a whole
        self.stop_by: float | None = None  # None: it goes on
        self._now = Clock().now
        self._changed = threading.Condition()

    def add(self, member: P) -> None:
        with self._changed:
            self.members |= {member}

    def discard(self, member: P) -> None:
        with self._changed:
            self.members -= {member}
            self._changed.notify_all()

    def wake(self) -> None:
        """Wake all members: something has changed that may matter to them."""
        for member in self.members:
            member.wake()

    def stop(self, timeout: float) -> None:
        """Wake all members, which end by `stop_by`, `timeout` seconds from now; wait for that."""
        self.stop_by = self._now() + timeout
        self.wake()
        with self._changed:
            self._changed.wait_for(lambda: not self.members, timeout + _GRACE)


class Reactor:
    """Calls its participants when they have something to do, and sleeps while none has.

    `run`, on the thread `name`, ends after `stop` when all participants are over, and after
    `abandon` at once. `busy` is how long a turn takes, in which nothing waits.
    """

    def __init__(self, name: str = "http") -> None:
        self.name = name
        self.busy = Turn(Clock(), name)
        self.stopping = False
        self.abandoned = False
        self._now = Clock().now
        self._participants: set[Participant] = set()
        self._watched: dict[Participant, int] = {}  # for what; a selector is slow to say
        self._waker = Waker()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._waker.descriptor, selectors.EVENT_READ)
        self._lock = threading.Lock()  # of what follows
        self._woken: dict[Participant, None] = {}
        self._ended = False

    def run(self) -> None:
        try:
            while not self.abandoned and not (self.stopping and not self._participants):
                try:
                    self.turn()
                except Exception:
                    logger.exception("A turn of the web server's reactor failed")
        finally:
            self._end()

    # Any thread.

    def wake(self, participant: Participant) -> bool:
        """See `Participant.wake`."""
        with self._lock:
            if self._ended:
                return False
            self._woken[participant] = None
        self._waker.wake()
        return True

    def stop(self) -> None:
        self.stopping = True
        self._waker.wake()

    def abandon(self) -> None:
        self.stopping = self.abandoned = True
        self._waker.wake()

    # The reactor's thread.

    def adopt(self, participant: Participant) -> None:
        """Own it from now on."""
        self._participants.add(participant)
        self._call(participant, participant.woken)

    def replace(self, old: Participant, new: Participant) -> None:
        """Go on with another participant that has the same socket."""
        self._participants.discard(old)
        self._unwatch(old)
        self.adopt(new)

    def discard(self, participant: Participant) -> None:
        """Close it."""
        self._participants.discard(participant)
        self._unwatch(participant)
        participant.close()

    def turn(self) -> None:
        """Wait until something happens, and call the participants that it concerns."""
        happened = self._selector.select(self._timeout())
        with self.busy:
            self._serve(happened)

    def _serve(self, happened: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, events in happened:
            if key.data is None:
                self._waker.heard()
            else:
                self._call(key.data, key.data.ready, events)
        for participant in self._take_woken():
            self._call(participant, participant.woken)
        if self.stopping:
            for participant in list(self._participants):
                self._call(participant, participant.stop)
        now = self._now()
        for participant in list(self._participants):
            if (deadline := participant.deadline) is not None and deadline <= now:
                self._call(participant, participant.tick)

    def _timeout(self) -> float | None:
        deadlines = [d for p in self._participants if (d := p.deadline) is not None]
        return max(0.0, min(deadlines) - self._now()) if deadlines else None

    def _take_woken(self) -> list[Participant]:
        with self._lock:
            woken, self._woken = self._woken, {}
        return list(woken)

    def _call(self, participant: Participant, step: Callable[..., None], *events: int) -> None:
        """Take a step, whose failure is that participant's and never the reactor's."""
        if participant not in self._participants:
            return
        try:
            step(*events)
            self._settle(participant)
        except Exception as error:  # noqa: BLE001 - `failed` says what it is
            self._fail(participant, error)

    def _fail(self, participant: Participant, error: Exception) -> None:
        try:
            participant.failed(error)
            self._settle(participant)
        except Exception:
            logger.exception("A connection that has failed is cut off")
            self.discard(participant)

    def _settle(self, participant: Participant) -> None:
        """Close it if it is over, else watch its socket for what it waits for."""
        if participant not in self._participants:
            return
        if participant.over:
            self.discard(participant)
            return
        interest, watched = participant.interest, self._watched.get(participant, 0)
        if interest == watched:
            return
        if not interest:
            self._unwatch(participant)
            return
        change = self._selector.modify if watched else self._selector.register
        change(participant.socket, interest, participant)
        self._watched[participant] = interest

    def _unwatch(self, participant: Participant) -> None:
        if self._watched.pop(participant, 0):
            with suppress(KeyError, ValueError):  # it is closed
                self._selector.unregister(participant.socket)

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            self._woken.clear()
        for participant in self._participants:
            try:
                participant.close()
            except Exception:
                logger.exception("A connection was not closed in order")
        self._selector.close()
        self._waker.close()
