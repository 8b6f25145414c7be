"""A clock that only a test advances, and what is asked on a thread of its own under it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeVar

from labnode.clock import Clock, Event, ManualClock
from labnode.errors import LabnodeError
from labnode.sessions import Session
from tests.kit.waiting import PATIENCE

T = TypeVar("T")


class WatchedClock(ManualClock):
    """Knows which threads rest, that is, wait for something that has not come yet.

    Under `watch`, `moves` counts the waits and the questions that have ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moves = 0
        self.watch = threading.Condition()
        self._resting: dict[int, tuple[Event, float | None]] = {}

    def event(self, on_set: Callable[[], None] | None = None) -> Event:
        event = super().event(on_set)

        def watched(timeout: float | None = None) -> bool:
            me = threading.get_ident()
            until = None if timeout is None else self.now() + timeout
            with self.watch:
                self._resting[me] = event, until
                self.watch.notify_all()
            try:
                return event.wait_until(until)  # even if a test lets time pass just now
            finally:
                with self.watch:
                    del self._resting[me]
                    self.moves += 1

        event.wait = watched  # type: ignore[method-assign]
        return event

    def rests(self, thread: int | None) -> bool:
        """Under `watch`; `thread` is an identity."""
        event, until = self._resting.get(thread or 0, (None, None))
        return event is not None and not event.is_set() and (until is None or self.now() < until)

    def until_waits(self, thread: threading.Thread) -> None:
        """Return when `thread` waits: until somebody does something, or until its time is over."""
        with self.watch:
            rests = self.watch.wait_for(lambda: self.rests(thread.ident), PATIENCE)
            assert rests, f"{thread.name} never waited"

    @contextmanager
    def move(self) -> Iterator[int]:
        """Count what is done in the block as one move; gives its number."""
        with self.watch:
            yield self.moves
            self.moves += 1
            self.watch.notify_all()


@contextmanager
def passing(clock: Clock) -> Iterator[None]:
    """In the block a manual clock goes on by itself, as real ones do, only quicker."""
    over = threading.Event()

    def go_on() -> None:
        assert isinstance(clock, ManualClock)
        while not over.wait(0.005):
            clock.advance(0.5)

    thread = threading.Thread(target=go_on, name="passing", daemon=True)
    if isinstance(clock, ManualClock):
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join(PATIENCE)


class Asked(Generic[T]):
    """A function that runs on a thread of its own, as a request does."""

    def __init__(self, clock: Clock, function: Callable[[], T], name: str = "asked") -> None:
        self._clock = clock
        self._function = function
        self._answer: Any = None
        self._error: BaseException | None = None
        self.answered = False
        self.number = 0  # the place of its answer among all answers
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._function()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self._error = error
        watched = isinstance(self._clock, WatchedClock)
        with self._clock.move() if watched else nullcontext(0) as self.number:  # type: ignore[attr-defined]
            self.answered = True

    def waits(self) -> Asked[T]:
        """Itself, once it waits for something."""
        assert isinstance(self._clock, WatchedClock)
        self._clock.until_waits(self.thread)
        return self

    def ends(self) -> Asked[T]:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), f"{self.thread.name} hangs"
        return self

    def result(self) -> T:
        """What the function returned, when it has; what it raised is raised."""
        self.ends()
        if self._error is not None:
            raise self._error
        answer: T = self._answer
        return answer

    def raises(self, kind: type[BaseException]) -> BaseException:
        """What the function raised, when it has, which has to be a `kind`."""
        self.ends()
        assert self._error is not None, repr(self._answer)
        assert type(self._error) is kind, repr(self._error)
        return self._error

    @property
    def answer(self) -> Any:
        """What was returned, or the exception."""
        assert self.answered, "not answered yet"
        return self._answer if self._error is None else self._error

    @property
    def session(self) -> Session:
        assert isinstance(self.answer, Session), self.answer
        return self.answer

    @property
    def error(self) -> LabnodeError:
        assert isinstance(self.answer, LabnodeError), self.answer
        return self.answer


class ImpatientClock(ManualClock):
    """Nobody waits: each wait is over at once, and takes a second of this clock."""

    def event(self, on_set: Callable[[], None] | None = None) -> Event:
        self.advance(1)
        event = super().event(on_set)
        event.set()
        return event
