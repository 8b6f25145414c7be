"""The only reader of time: monotonic for durations, wall time for people, manual for tests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HUNG_AFTER = 30.0  # seconds that a thread of the node may be at one thing
OLDEST = 1_735_689_600.0  # 2025, before labnode existed: a clock that says less was not set
_JUMP = 600.0  # seconds that the wall clock may gain or lose against the time that passes
_ASK_AGAIN = 60.0  # seconds until a wall clock that nobody confirms is looked at again
_REAL_LIMIT = 30.0  # seconds a wait under a manual clock may really take before it is a bug


class Event(threading.Event):
    """A flag that threads wait for; `on_set` is called after each `set`, on its thread."""

    def __init__(self, on_set: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._on_set = on_set

    def set(self) -> None:
        super().set()
        if self._on_set is not None:
            self._on_set()


Look = Callable[[bool], float | None]
"""Looks at the wall clock, told whether it was just set; says in how many seconds to call again."""


class Watch(Protocol):
    """Calls a `Look` whenever it should."""

    def stop(self, timeout: float) -> bool:
        """Call it no more; False when that did not end within `timeout` seconds."""

    @property
    def works(self) -> bool:
        """Whether it is still called; any thread may ask."""


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
        """Seconds since 1970 by the wall clock, which jumps when NTP arrives; see WallClock."""
        return time.time()

    def is_right(self) -> bool:
        """Whether NTP or a clock with a battery confirms the wall clock.

        A battery clock does so by saying the same; one whose battery is empty begins long ago.
        """
        from labnode.clock.machine import battery_clocks, ntp_confirms  # noqa: PLC0415 - ctypes

        wall = self.wall()
        return ntp_confirms() or any(
            says >= OLDEST and abs(says - wall) <= _JUMP for says in battery_clocks()
        )

    def watch_wall(self, look: Look) -> Watch:
        """Call `look` from now on, when the wall clock is set and when it asks for it."""
        from labnode.clock.machine import ClockThread  # noqa: PLC0415

        return ClockThread(look)

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


class WallClock:
    """The wall clock as far as it can be trusted; any thread may ask.

    It is `trustworthy` once NTP, or a clock with a battery, has confirmed it, and as long as it
    does not jump: then it has to be confirmed again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._offset = clock.wall() - clock.now()
        self._steady_since = clock.now()
        self._confirmed = False
        self._wakes: list[Callable[[], None]] = []
        self._busy = Turn(clock, "wall-clock")
        self._watch: Watch | None = None

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.wall()

    @property
    def trustworthy(self) -> bool:
        """Whether it tells the right time of day."""
        self.look()
        return self._confirmed

    @property
    def doubt(self) -> str | None:
        """Why those who wait for a time of day go on waiting, in a sentence, or None."""
        if not self._wakes or self.trustworthy:
            return None
        return (
            "The clock of this machine is not set, so what is planned for a time of day waits: no "
            "time server (NTP) has answered, and no battery clock has the same time."
        )

    @property
    def steady_for(self) -> float:
        """For how many seconds, known to this process, it has not jumped."""
        self.look()
        return self._clock.now() - self._steady_since

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake`, on any thread, when the clock was set or becomes trustworthy; until `stop`.

        What is slewed to the right time without being set is found within a minute.
        """
        with self._lock:
            self._wakes.append(wake)
        if self._watch is None:
            self._watch = self._clock.watch_wall(self._turn)

    def stop(self, timeout: float) -> bool:
        """Wake nobody any more; False when the thread did not end in time."""
        with self._lock:
            self._wakes.clear()
            watch, self._watch = self._watch, None
        return watch is None or watch.stop(timeout)

    def fault(self) -> str | None:
        """Why nobody is woken any more, or None; any thread may ask."""
        watch = self._watch
        if watch is None:
            return None
        return self._busy.fault() if watch.works else "the thread wall-clock has died"

    def look(self, was_set: bool = False) -> float | None:
        """Notice what has happened to it; in how many seconds to look again, None: when it is set.

        Whoever keeps its history calls this every few seconds: smaller jumps may add up.
        """
        with self._lock:
            now = self._clock.now()
            offset = self._clock.wall() - now
            jumped = abs(offset - self._offset) > _JUMP
            if jumped:
                self._steady_since, self._offset, self._confirmed = now, offset, False
            before = self._confirmed
            self._confirmed = before or self._clock.is_right()
            news = was_set or jumped or self._confirmed != before
            wakes = self._wakes[:] if news else []
        for wake in wakes:
            wake()
        return None if self._confirmed else _ASK_AGAIN

    def _turn(self, was_set: bool) -> float | None:
        with self._busy:
            return self.look(was_set)


class ManualClock(Clock):
    """A clock that stands still until a test advances it; its wall clock is `right` or not."""

    def __init__(
        self, now: float = 1000.0, wall: float = 1_800_000_000.0, right: bool = True
    ) -> None:
        self.boot_id = "manual-boot"
        self._right = right
        self._looks: list[Look] = []
        self._now = now
        self._wall = wall
        self._lock = threading.Lock()
        self._waiting: list[_ManualEvent] = []

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._wall

    def event(self, on_set: Callable[[], None] | None = None) -> _ManualEvent:
        return _ManualEvent(self, on_set)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; everything that waited until then wakes up."""
        with self._lock:
            self._now += seconds
            self._wall += seconds
            waiting = self._waiting[:]
        for event in waiting:
            event.tick()

    @contextlib.contextmanager
    def ticking(self, event: _ManualEvent) -> Iterator[None]:
        """Tell this event meanwhile that time goes on."""
        with self._lock:
            self._waiting.append(event)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.remove(event)

    def jump_wall(self, seconds: float, right: bool = True) -> None:
        """Move the wall clock alone: to the right time as NTP does, or as a person may."""
        self._wall += seconds
        self._right = right
        for look in self._looks[:]:
            look(True)

    def is_right(self) -> bool:
        return self._right

    def watch_wall(self, look: Look) -> Watch:
        self._looks.append(look)
        look(False)
        return _ManualWatch(self._looks, look)

    def confirm_wall(self) -> None:
        """The time is found to be right as it is."""
        self._right = True
        for look in self._looks[:]:
            look(False)


class _ManualWatch:
    def __init__(self, looks: list[Look], look: Look) -> None:
        self._looks = looks
        self._own = look

    def stop(self, timeout: float) -> bool:  # noqa: ARG002
        if self._own in self._looks:
            self._looks.remove(self._own)
        return True

    @property
    def works(self) -> bool:
        return True


class _ManualEvent(Event):
    def __init__(self, clock: ManualClock, on_set: Callable[[], None] | None) -> None:
        super().__init__(on_set)
        self._clock = clock
        self._changed = threading.Condition()

    def set(self) -> None:
        super().set()
        self.tick()

    def tick(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        return self.wait_until(None if timeout is None else self._clock.now() + timeout)

    def wait_until(self, deadline: float | None) -> bool:
        if deadline is None:
            return super().wait()
        with self._clock.ticking(self), self._changed:
            if not self._changed.wait_for(
                lambda: self.is_set() or self._clock.now() >= deadline, _REAL_LIMIT
            ):
                raise AssertionError("a wait under the manual clock was never ended by the test")
            return self.is_set()


def utc(wall: float) -> datetime:
    """The moment of a reading of the wall clock.

    `datetime.fromtimestamp` ends in 2038 on a 32-bit system.
    """
    return _EPOCH + timedelta(seconds=wall)


def local(wall: float) -> datetime:
    """The same in the machine's time zone; in UTC where the system does not know it after 2038."""
    try:
        return utc(wall).astimezone()
    except OverflowError:
        return utc(wall)


def earliest(*times: float | None) -> float | None:
    """The first of these times; None when there is none."""
    first = None  # min() of a generator takes longer, and this runs all the time
    for each in times:
        if each is not None and (first is None or each < first):
            first = each
    return first


@cache  # every connection has a clock
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: a boot that nothing can resume from
        return f"unknown-{time.monotonic_ns()}"
