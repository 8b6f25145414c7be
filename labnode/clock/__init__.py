"""The only reader of time: monotonic for durations, wall time for people, manual for tests."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

HUNG_AFTER = 30.0  # seconds that a thread of the node may be at one thing
_REAL_LIMIT = 30.0  # seconds a wait under a manual clock may really take before it is a bug


class Event:
    """A flag that threads wait for; `threading.Event` as far as labnode needs it.

    `on_set` is called after each `set`, on its thread.
    """

    def __init__(self, on_set: Callable[[], None] | None = None) -> None:
        self._on_set = on_set
        self._condition = threading.Condition()
        self._flag = False

    def is_set(self) -> bool:
        return self._flag

    def set(self) -> None:
        with self._condition:
            self._flag = True
            self._condition.notify_all()
        if self._on_set is not None:
            self._on_set()

    def clear(self) -> None:
        with self._condition:
            self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """True as soon as the flag is set, False when `timeout` seconds have passed without."""
        limit = None if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        with self._condition:
            return self._condition.wait_for(self.is_set, limit)


class Clock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self.boot_id = _boot_id()

    def now(self) -> float:
        """Seconds since boot, suspend included (CLOCK_BOOTTIME).

        Never jumps; two readings are comparable only under the same `boot_id`.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        """Seconds since 1970 by the wall clock, which jumps when NTP arrives: for people only."""
        return time.time()

    def event(self, on_set: Callable[[], None] | None = None) -> Event:
        """An event whose timeouts follow this clock."""
        return Event(on_set)


class Turn:
    """Since when a thread is at one thing, for those who watch over it.

    The thread does the thing in a `with` block, and waits for the next one outside of it. A limit
    of its own is for a thread whose waits for others take longer.
    """

    def __init__(self, clock: Clock, thread: str, limit: float | None = None) -> None:
        self._clock = clock
        self._thread = thread
        self._limit = HUNG_AFTER if limit is None else limit
        self._began: float | None = None

    def __enter__(self) -> None:
        self._began = self._clock.now()

    def __exit__(self, *_error: object) -> None:
        self._began = None

    def fault(self) -> str | None:
        """A sentence when the thing takes longer than the limit; any thread may ask."""
        began = self._began
        if began is None or self._clock.now() - began <= self._limit:
            return None
        return f"the thread {self._thread} has been at one thing for {self._limit:g} s"


class ManualClock(Clock):
    """A clock that stands still until a test advances it."""

    def __init__(self, now: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self.boot_id = "manual-boot"
        self._now = now
        self._wall = wall
        self._lock = threading.Lock()
        self._events: weakref.WeakSet[_ManualEvent] = weakref.WeakSet()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._wall

    def event(self, on_set: Callable[[], None] | None = None) -> Event:
        event = _ManualEvent(self, on_set)
        with self._lock:
            self._events.add(event)
        return event

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; everything that waited until then wakes up."""
        with self._lock:
            self._now += seconds
            self._wall += seconds
            events = list(self._events)
        for event in events:
            event.tick()

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as NTP does."""
        self._wall += seconds


class _ManualEvent(Event):
    def __init__(self, clock: ManualClock, on_set: Callable[[], None] | None) -> None:
        super().__init__(on_set)
        self._clock = clock

    def tick(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        deadline = None if timeout is None else self._clock.now() + timeout

        def over() -> bool:
            return self._flag or (deadline is not None and self._clock.now() >= deadline)

        with self._condition:
            if not self._condition.wait_for(over, None if timeout is None else _REAL_LIMIT):
                raise AssertionError("a wait under the manual clock was never ended by the test")
            return self._flag


def earliest(*times: float | None) -> float | None:
    """The first of these times; None when there is none."""
    return min((time for time in times if time is not None), default=None)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: a boot that nothing can resume from
        return f"unknown-{time.monotonic_ns()}"
