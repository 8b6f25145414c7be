"""Timers: what is scheduled goes into its queue when it is due, and periodic tasks do again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, inf
from typing import Any, Protocol

from labnode.clock import Clock, Turn, WallClock, utc
from labnode.clock.schedules import LATE, Every, Schedule, local_zone, upcoming
from labnode.errors import BadInput, StorageError
from labnode.store import Store
from labnode.tasks.lanes import Lanes
from labnode.tasks.queues import DATED, DELAYED, DueTime, Queues
from labnode.tasks.runs import Moment

log = logging.getLogger(__name__)

_PAST = 1.0  # seconds that a date may be over when a task is scheduled for it
_RETRY = 10.0  # seconds until the database is asked again after it failed


class Owner(Protocol):
    """The node's tasks, see Tasks."""

    def tick(self, name: str, note: Callable[[], None]) -> None: ...


@dataclass(frozen=True)
class Recurrence:
    """When a task runs by itself; with `catch_up` once more for all times that were missed."""

    schedule: Schedule
    catch_up: bool = False


class Timers:
    """Waits until something is due, and for nothing else: one thread, `timers`.

    Delays count by the time since boot. Dates and times of day count by the wall clock, while that
    is trustworthy.
    """

    def __init__(
        self,
        owner: Owner,
        store: Store,
        queues: Queues,
        lanes: Lanes,
        *,
        clock: Clock,
        wall_clock: WallClock,
    ) -> None:
        self._owner = owner
        self._store = store
        self._queues = queues
        self._lanes = lanes
        self._clock = clock
        self._wall_clock = wall_clock
        self._due = {DELAYED: inf, DATED: inf}  # written by the store's thread
        self._periodic: dict[str, Recurrence] = {}
        self._last: dict[str, Moment] = {}  # when each came last, or was first asked for
        self._next: dict[str, float] = {}  # when each comes next, by its own clock
        self._watching = False
        self._wake = clock.event()
        self._stopping = False
        self._busy = Turn(clock, "timers")
        self.thread = threading.Thread(target=self._run, name="timers", daemon=True)

    def add(self, name: str, periodic: Recurrence | None) -> None:
        """Know a task of the board; one that is periodic comes from now on."""
        if periodic is not None:
            self._periodic = {**self._periodic, name: periodic}  # the thread goes through it
            self._wake.set()

    def start(self) -> None:
        """Begin; what was due meanwhile is due now."""
        self._store.run(lambda _: self._ask())
        self.thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread; False when it did not end in time. Idempotent."""
        self._stopping = True
        self._wake.set()
        if self.thread.ident is not None:
            self.thread.join(timeout)
        return not self.thread.is_alive()

    def fault(self) -> str | None:
        """Why nothing becomes due any more, or None; any thread may ask."""
        if self.thread.ident is None or self._stopping:
            return None
        return self._busy.fault() if self.thread.is_alive() else "the thread timers has died"

    def periodic(self) -> list[dict[str, Any]]:
        """The periodic tasks: `name`, `schedule` in English, and when each comes next (`due`).

        That is in seconds since 1970, and None while the wall clock is not trustworthy. `words` is
        the schedule as `Wording.words`.
        """
        times, coming = self._times(), dict(self._next)
        return [
            {
                "name": name,
                "schedule": str(words := periodic.schedule.words),
                "words": words if isinstance(words, str) else words.words,
                "due": times[True] + coming[name] - times[periodic.schedule.wall]
                if name in coming
                else None,
            }
            for name, periodic in self._periodic.items()
        ]

    def scheduled(self) -> dict[str, float]:
        """When each scheduled task is due, in seconds since 1970, by its id."""
        waiting = self._store.run(lambda _: self._queues.waiting())
        return {
            each.message.id: each.message.eta.wall
            if each.queue == DATED
            else self._wall_clock.now() + each.message.eta.left(self._clock)
            for each in waiting
            if each.queue in (DELAYED, DATED) and each.message is not None
        }

    def when(self, name: str, seconds: float | None, date: float | None) -> DueTime:
        """In so many seconds, or at a date (since 1970); BadInput if that is past."""
        if date is None:
            return DueTime(DELAYED, Moment.after(self._clock, seconds or 0.0))
        left = date - self._clock.wall()
        if left < -_PAST and self._wall_clock.trustworthy:
            at = utc(date).astimezone(local_zone())
            raise BadInput(
                f"Task {name!r} cannot be scheduled for {at:%Y-%m-%d %H:%M:%S}: it is past."
            )
        return DueTime(DATED, Moment(self._clock.boot_id, self._clock.now() + left, date))

    def keep(self, message: Any, when: DueTime) -> None:
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
        wall_counts = self._due[DATED] < inf or any(
            p.schedule.wall for p in self._periodic.values()
        )
        if wall_counts and not self._watching:
            self._watching = True
            self._wall_clock.subscribe(self._clock_changed)
        times = self._times()
        if not (wall_counts and self._wall_clock.trustworthy):
            times[True] = -inf
        left, coming = [], self._next  # a new one when the clock changes meanwhile
        for queue, at in ((DELAYED, times[False]), (DATED, times[True])):
            if self._due[queue] <= at:
                self._store.run(partial(self._release, queue, at))
                self._lanes.wake_all()
            left.append(self._due[queue] - at)
        for name, periodic in self._periodic.items():
            if (at := times[periodic.schedule.wall]) > -inf:
                left.append(self._tick(name, periodic, at, coming) - at)
        return max(0.0, min(left))

    def _times(self) -> dict[bool, float]:
        """What the wall clock shows (True), and the time since boot (False)."""
        return {True: self._wall_clock.now(), False: self._clock.now()}

    def _clock_changed(self) -> None:
        """The wall clock was set, or is trustworthy now."""
        self._next = {}
        self._wake.set()

    def _release(self, queue: str, now: float, _db: Any) -> None:
        self._lanes.release(self._queues.due(queue, now))
        self._ask()

    def _ask(self) -> None:
        for queue in self._due:
            due = self._queues.next_due(queue)
            self._due[queue] = inf if due is None else due

    def _tick(self, name: str, periodic: Recurrence, now: float, coming: dict[str, float]) -> float:
        """Queue a periodic task if it is due; returns when it comes next, and notes it."""
        if name not in coming:
            coming[name] = self._coming(name, periodic, now)
        if coming[name] <= now:  # what was waited for is not missed, however late this thread is
            self._last[name] = Moment.after(self._clock, 0)
            self._owner.tick(name, partial(self._note, name))
            coming[name] = self._coming(name, periodic, now)
        return coming[name]

    def _coming(self, name: str, periodic: Recurrence, now: float) -> float:
        """When a periodic task comes next; it is due if that is not later than `now`."""
        last, schedule = self._came_last(name, periodic), periodic.schedule
        if schedule.wall:
            return upcoming(schedule, now, last.wall, catch_up=periodic.catch_up)
        due = schedule.next(last.at)
        if isinstance(schedule, Every) and not periodic.catch_up and due < now - LATE:
            due += ceil((now - LATE - due) / schedule.seconds) * schedule.seconds
        return due

    def _came_last(self, name: str, periodic: Recurrence) -> Moment:
        """When it came last, as far as the database knows; else it is asked for now."""
        if name not in self._last:
            found = self._store.run(lambda _: self._queues.last_tick(name))
            last = Moment.after(self._clock, 0) if found is None else Moment(*found)
            if not periodic.schedule.wall and last.boot_id != self._clock.boot_id:
                last = Moment.after(self._clock, 0)
            self._last[name] = last
            if found is None and periodic.catch_up:  # what is missed counts from now on
                self._store.run(lambda _: self._note(name))
        return self._last[name]

    def _note(self, name: str) -> None:
        self._queues.note_tick(name, self._last[name])
