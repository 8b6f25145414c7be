"""Timers: what is scheduled goes into its queue when it is due, and periodic tasks do again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import floor, inf
from typing import Any, Protocol

from labnode.clock import Clock, Turn
from labnode.errors import StorageError
from labnode.store import Store
from labnode.tasks.queues import DATED, DELAYED, Queues, When
from labnode.tasks.runs import Moment
from labnode.tasks.schedules import Every, Schedule

log = logging.getLogger(__name__)

_LATE = 60.0  # seconds after which a tick counts as missed
_JUMP = 1.0  # seconds that the wall clock may gain or lose before all is looked at again
_DAY = 86400.0  # a tick that is noted further ahead was noted by a clock that was wrong
_RETRY = 10.0  # seconds until the database is asked again after it failed


class WallClock(Protocol):
    """What is known of the machine's wall clock."""

    def is_right(self) -> bool:
        """Whether it can be believed."""


class Owner(Protocol):
    """The node's tasks, see Tasks."""

    def release(self, messages: list[Any]) -> None: ...
    def released(self) -> None: ...
    def tick(self, name: str, note: Callable[[], None]) -> None: ...


@dataclass(frozen=True)
class Periodic:
    """When a task runs by itself; with `catch_up` once more for all times that were missed."""

    schedule: Schedule
    catch_up: bool = False


class Timers:
    """Waits until something is due, and for nothing else: one thread, `timers`.

    Delays count by the time since boot. Dates and times of day count by the wall clock, once that
    is right; `look_at_clock` has to be called when it may have jumped.
    """

    def __init__(
        self, owner: Owner, store: Store, queues: Queues, clock: Clock, wall_clock: WallClock
    ) -> None:
        self._owner = owner
        self._store = store
        self._queues = queues
        self._clock = clock
        self._wall_clock = wall_clock
        self._due = {DELAYED: inf, DATED: inf}  # written by the store's thread
        self._periodic: dict[str, Periodic] = {}
        self._ticks: dict[str, float] = {}  # when each is due next, by its own clock
        self._known = self._look()
        self._wake = clock.event()
        self._stopping = False
        self._busy = Turn(clock, "timers")
        self.thread = threading.Thread(target=self._run, name="timers", daemon=True)

    def add(self, name: str, periodic: Periodic) -> None:
        """Have a task run periodically."""
        self._periodic[name] = periodic

    def start(self) -> None:
        """Begin; what was due meanwhile is due now."""
        self._store.run(lambda _: self._ask())
        self.thread.start()

    def stop(self) -> None:
        """End the thread, which never waits long; idempotent."""
        self._stopping = True
        self._wake.set()

    def fault(self) -> str | None:
        """Why nothing becomes due any more, or None; any thread may ask."""
        if self.thread.ident is None or self._stopping:
            return None
        return self._busy.fault() if self.thread.is_alive() else "the thread timers has died"

    def look_at_clock(self) -> None:
        """Notice that the wall clock has jumped, or is right now; called every second or so."""
        right, offset = self._look()
        if right != self._known[0] or abs(offset - self._known[1]) > _JUMP:
            self._known = right, offset
            self._ticks = {}
            self._wake.set()

    def next_ticks(self) -> dict[str, float | None]:
        """When each periodic task runs next, in seconds since 1970; None while nobody knows."""
        now, wall, ticks = self._clock.now(), self._clock.wall(), dict(self._ticks)
        return {
            name: None
            if (due := ticks.get(name)) is None
            else wall + due - self._time_of(periodic, now, wall)
            for name, periodic in self._periodic.items()
        }

    def keep(self, message: Any, when: When) -> None:
        """Inside the store's work: schedule a message."""
        due = self._queues.keep(message, when)
        if due < self._due[when.queue]:
            self._due[when.queue] = due  # if this is rolled back, the thread looks once in vain
            self._wake.set()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                with self._busy:
                    seconds = self._turn()
            except StorageError:  # which the store has logged
                seconds = _RETRY
            except Exception:
                log.exception("A turn of the timers failed.")
                seconds = _RETRY
            self._wake.wait(None if seconds == inf else seconds)

    def _turn(self) -> float:
        """Do what is due; returns the seconds until something else is, inf for never."""
        now, wall = self._clock.now(), self._clock.wall()
        clocks = {DELAYED: now, DATED: wall if self._wall_clock.is_right() else -inf}
        for queue, at in clocks.items():
            if self._due[queue] <= at:
                self._store.run(partial(self._release, queue, at))
                self._owner.released()
        left = [self._due[queue] - at for queue, at in clocks.items()]
        for name, periodic in self._periodic.items():
            at = self._time_of(periodic, now, wall)
            if isinstance(periodic.schedule, Every) or self._wall_clock.is_right():
                left.append(self._tick(name, periodic, at) - at)
        return max(0.0, min(left))

    def _release(self, queue: str, now: float, _db: Any) -> None:
        self._owner.release(self._queues.due(queue, now))
        self._ask()

    def _ask(self) -> None:
        for queue in self._due:
            due = self._queues.next_due(queue)
            self._due[queue] = inf if due is None else due

    def _tick(self, name: str, periodic: Periodic, now: float) -> float:
        """Queue a periodic task if it is due; returns when it is due next."""
        if name not in self._ticks:
            self._ticks[name] = self._first(name, periodic, now)
        if (due := self._ticks[name]) <= now:
            if periodic.catch_up or now - due <= _LATE:
                self._owner.tick(name, partial(self._note, name))
            else:
                log.info("The periodic task %s is left out: its time is over.", name)
            self._ticks[name] = _after(periodic.schedule, due, now)
        return self._ticks[name]

    def _first(self, name: str, periodic: Periodic, now: float) -> float:
        """When a periodic task is due, as far as the database knows when it was last queued."""
        found = self._store.run(lambda _: self._queues.last_tick(name))
        last = None if found is None else Moment(*found)
        schedule = periodic.schedule
        if isinstance(schedule, Every):
            if last is None or last.boot_id != self._clock.boot_id:
                return now + schedule.seconds
            due = last.at + schedule.seconds
            return due if periodic.catch_up or due > now else _after(schedule, due, now)
        if last is None:
            if periodic.catch_up:  # what is missed counts from now on
                self._store.run(lambda _: self._note(name))
            return schedule.next(now)
        if now < last.wall < now + _DAY or (last.wall <= now and periodic.catch_up):
            return schedule.next(last.wall)
        return schedule.next(now)

    def _note(self, name: str) -> None:
        self._queues.note_tick(name, Moment.after(self._clock, 0))

    def _time_of(self, periodic: Periodic, now: float, wall: float) -> float:
        """The time by the clock that a schedule counts by."""
        return now if isinstance(periodic.schedule, Every) else wall

    def _look(self) -> tuple[bool, float]:
        return self._wall_clock.is_right(), self._clock.wall() - self._clock.now()


def _after(schedule: Schedule, due: float, now: float) -> float:
    """The first time after `now` of a schedule that was due."""
    if isinstance(schedule, Every):
        return due + (floor((now - due) / schedule.seconds) + 1) * schedule.seconds
    return schedule.next(now)
