"""Schedules: when something that comes again and again comes next."""

from __future__ import annotations

import os
import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from io import BytesIO
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Protocol

from labnode.clock import Clock, WallClock, utc
from labnode.locale import Message, Wording

LATE = 60.0  # seconds; what is later than this was missed

_DAY = timedelta(days=1)
_TURNED_BACK = 86400.0  # seconds; a clock turned back further was wrong before
_LOCALTIME = Path("/etc/localtime")

_PIECE = re.compile(
    r"(?:\*(?:/(?P<each>[1-9][0-9]?))?|(?P<low>\w{1,3})(?:-(?P<high>\w{1,3})(?:/(?P<step>[1-9][0-9]?))?)?)",
    re.ASCII,
)
_WEEKDAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}  # days; the others have 31
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


class Schedule(Protocol):
    """When something comes."""

    wall: ClassVar[bool]
    """Whether `next` counts in seconds since 1970, by the wall clock; else as `Clock.now` does."""

    @property
    def words(self) -> str | Wording:
        """When it comes, for people: "every 5 s"."""

    def next(self, after: float) -> float:
        """When it comes first after `after`, in seconds."""


@dataclass(frozen=True)
class Every:
    """Every so many seconds, whatever the wall clock does: `Every(3600)`.

    ValueError unless `seconds` is above 0.
    """

    seconds: float
    wall: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.seconds < inf:
            raise ValueError(Message("board.every-above-0", value=str(self.seconds)))

    def next(self, after: float) -> float:
        return after + self.seconds

    @property
    def words(self) -> Message:
        """When it comes, for people."""
        return Message("board.every", seconds=f"{self.seconds:g}")


class At:
    """At times of day, in local time: `At("03:00")`, `At(["7:30", "19:30"], days="mon-fri")`.

    When summer time begins, a time that does not exist comes at the first moment after it. When it
    ends, a time that exists twice comes at the first of the two. ValueError for what is no time or
    no day.
    """

    wall: ClassVar[bool] = True

    def __init__(self, times: str | Iterable[str], days: str | Iterable[str] | None = None) -> None:
        """Every day without `days`. ValueError says in a sentence what is no time or no day."""
        self._times = _times_of_day(times)
        self._weekdays = frozenset(range(7)) if days is None else _weekdays(days)

    def next(self, after: float) -> float:
        return _first_after(after, _Days(weekdays=self._weekdays), self._times, local_zone())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, At) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(self._weekdays)

    @property
    def words(self) -> Message:
        """When it comes, for people."""
        times = ", ".join(f"{time:%H:%M}" for time in self._times)
        if len(self._weekdays) == 7:
            return Message("board.at", times=times)
        days = ", ".join(name for name, n in _WEEKDAYS.items() if n in self._weekdays)
        return Message("board.at-on", times=times, days=days)


class Crontab:
    """The minutes of local time that match all parts; `crontab` is another name of it.

    The syntax is that of Huey's `crontab`: a part is a number, `*` (each), `*/n` (each n-th),
    `a-b`, `a-b/n` or several of these with commas; 0 and 7 are Sunday, which may also be `sun`.
    With hours, a minute comes once a day as in `At`. With `hour="*"` it comes whenever the local
    clock shows such a minute: not at all in an hour that does not exist, and twice in one that
    exists twice. ValueError for what is no part, and for a date that does not exist.
    """

    wall: ClassVar[bool] = True

    def __init__(
        self,
        minute: str | int = "*",
        hour: str | int = "*",
        day: str | int = "*",
        month: str | int = "*",
        day_of_week: str | int = "*",
    ) -> None:
        """ValueError says in a sentence what is not a part, or that the crontab never comes."""
        self._text = f"{minute} {hour} {day} {month} {day_of_week}"
        self._minutes = _part("minute", minute, range(60))
        hours = _part("hour", hour, range(24))
        self._each_hour = len(hours) == 24
        self._times = [time(h, m) for h in sorted(hours) for m in sorted(self._minutes)]
        self._days = _Days(
            _part("month", month, range(1, 13)),
            _part("day", day, range(1, 32)),
            frozenset(n % 7 for n in _part("day_of_week", day_of_week, range(8), _WEEKDAYS)),
        )
        if all(min(self._days.days) > _LONGEST_MONTHS.get(n, 31) for n in self._days.months):
            raise ValueError(Message("board.no-date", day=repr(str(day)), month=repr(str(month))))

    def next(self, after: float) -> float:
        zone = local_zone()
        if not self._each_hour:
            return _first_after(after, self._days, self._times, zone)
        moment = (after // 60 + 1) * 60
        while True:
            local = _local(moment, zone)
            today = local.date()
            first = next(self._days.since(today))
            if first > today:
                moment = _moment(datetime.combine(first, time()), zone)
            elif local.minute in self._minutes:
                return moment
            else:
                moment += 60

    @property
    def words(self) -> str:
        """What it was made of."""
        return f"crontab {self._text}"

    def __repr__(self) -> str:
        return f"<Crontab {self._text}>"


crontab = Crontab  # as Huey's is called


class Timetable:
    """When what has a schedule is due, and since when, whatever becomes of the wall clock.

    `last` is when it came last in seconds since 1970, as it was remembered; by default it has never
    been missed until now. What was missed by more than a minute, because the node was off or the
    clock was put forward, comes once with `catch_up` and not at all without. What has come does
    not come again when the clock is turned back by up to a day.
    """

    def __init__(
        self,
        schedule: Schedule,
        clock: Clock,
        wall: WallClock,
        *,
        last: float | None = None,
        catch_up: bool = False,
    ) -> None:
        self.last = last
        self._schedule = schedule
        self._catch_up = catch_up
        self._clock = clock
        self._wall = wall
        self._offset = 0.0  # of the wall clock, when `_due` was computed
        self._due = inf if schedule.wall else schedule.next(clock.now())
        self._is_due = False

    def due(self) -> float:
        """When it is due, as `Clock.now` counts; inf while nobody knows what time it is.

        Once it is due it stays so until `came`. To be asked again when the wall clock was set.
        """
        now = self._clock.now()
        if not self._is_due:
            if self._schedule.wall:
                self._compute(now, self._wall.now() - now)
            self._is_due = self._due <= now
        return self._due

    def came(self) -> None:
        """What was due is done with: from now on the next one is."""
        now = self._clock.now()
        self._is_due = False
        if self._schedule.wall:
            self.last = self._wall.now()
            self._due = inf
        else:
            following = self._schedule.next(self._due)
            self._due = following if following > now else self._schedule.next(now)

    def _compute(self, now: float, offset: float) -> None:
        if self._due <= now and abs(offset - self._offset) <= LATE:
            return  # it has come, however late this is asked
        if not self._wall.trustworthy:
            self._due = inf
            return
        if self.last is None:
            self.last = now + offset
        due = upcoming(self._schedule, now + offset, self.last, catch_up=self._catch_up)
        self._due, self._offset = due - offset, offset


def upcoming(schedule: Schedule, now: float, last: float, *, catch_up: bool) -> float:
    """When a schedule of wall times comes next after it came `last`; at `now` or before: now.

    All in seconds since 1970. See Timetable, which knows what was waited for.
    """
    if last > now + _TURNED_BACK:
        last = now - LATE
    due = schedule.next(last)
    return due if catch_up or due >= now - LATE else schedule.next(now - LATE)


def wall_seconds(when: datetime) -> float:
    """A date and time as seconds since 1970: local, as in `At`, unless it has a time zone."""
    return _moment(when, local_zone()) if when.tzinfo is None else _seconds(when)


# `labnode safe` loads this, and has little time for zoneinfo: so that is loaded where it is used.


def local_zone() -> tzinfo:
    """The local time zone: that of TZ, else of /etc/localtime as it is now, else UTC.

    Not from the C library, whose times end in 2038 on some 32-bit systems.
    """
    name = os.environ.get("TZ")
    if name is not None:
        return _zone_named(name.removeprefix(":"))
    try:
        status = _LOCALTIME.stat()
        return _zone_in(_LOCALTIME, (status.st_ino, status.st_mtime_ns))
    except (OSError, ValueError):
        return UTC


@lru_cache(maxsize=1)
def _zone_in(path: Path, _version: object) -> tzinfo:
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    with path.open("rb") as file:
        return ZoneInfo.from_file(file)


@lru_cache(maxsize=1)
def _zone_named(name: str) -> tzinfo:
    """A zone by its name, its file or its rule in POSIX ("CET-1CEST,M3.5.0,M10.5.0/3")."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    try:
        return _zone_in(Path(name), None) if name.startswith("/") else ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # LookupError: no such name
        pass
    # A zone file (RFC 8536) with one type and no transition: its rule is for all times.
    head = b"TZif2" + bytes(15)
    types = struct.pack(">6L", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
    file = BytesIO(head + bytes(24) + head + types + f"\n{name}\n".encode())
    try:
        return ZoneInfo.from_file(file)
    except ValueError:
        return UTC  # as the C library has it


# ---------------------------------------------------------------------- reading


def _times_of_day(times: str | Iterable[str]) -> list[time]:
    found = set()
    for text in _texts(times):
        match = _TIME.fullmatch(text)
        if match is None:
            expected = Message("board.time-of-day")
            raise ValueError(Message("yaml.unlike", expected=expected, value=repr(text)))
        found.add(time(int(match[1]), int(match[2])))
    if not found:
        raise ValueError(Message("board.no-time-of-day"))
    return sorted(found)


def _weekdays(days: str | Iterable[str]) -> frozenset[int]:
    text = ",".join(_texts(days))
    try:
        return _part("days", text, range(7), _WEEKDAYS)
    except ValueError:
        expected = Message("board.days")
        raise ValueError(Message("yaml.unlike", expected=expected, value=repr(text))) from None


def _texts(texts: str | Iterable[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def _part(
    name: str, text: str | int, known: range, names: Mapping[str, int] = MappingProxyType({})
) -> frozenset[int]:
    """The numbers that one part of a crontab stands for."""
    last = 6 if names else known[-1]  # 7 is Sunday too, but 6-1 has it once

    def numbers(piece: str) -> Sequence[int]:
        match = _PIECE.fullmatch(piece.strip())
        if match is None:
            raise ValueError
        low, high = (names.get(word, word) for word in match.group("low", "high"))
        step = int(match["each"] or match["step"] or 1)
        if low is None:
            return known[::step]
        low, high = int(low), int(low if high is None else high)
        if low not in known or high not in known:
            raise ValueError
        turn = () if low <= high else range(known[0], high + 1)
        return [*range(low, (last if turn else high) + 1), *turn][::step]

    try:
        return frozenset(n for piece in str(text).lower().split(",") for n in numbers(piece))
    except ValueError:
        value, low, high = repr(str(text)), known[0], known[-1]
        raise ValueError(
            Message("board.crontab-part", name=name, value=value, low=low, high=high)
        ) from None


# ---------------------------------------------------------------------- counting


@dataclass(frozen=True)
class _Days:
    """Days that are in one of the months, and have one of the dates and of the weekdays."""

    months: frozenset[int] = frozenset(range(1, 13))
    days: frozenset[int] = frozenset(range(1, 32))
    weekdays: frozenset[int] = frozenset(range(7))

    def since(self, day: date) -> Iterator[date]:
        """All of them in order, `day` if it is one."""
        while True:
            if day.month not in self.months:
                day = (day.replace(day=1) + 31 * _DAY).replace(day=1)
                continue
            if day.day in self.days and day.isoweekday() % 7 in self.weekdays:
                yield day
            day += _DAY


def _first_after(after: float, days: _Days, times: Sequence[time], zone: tzinfo) -> float:
    """When one of the `times` in order comes first on one of the `days`, each once a day."""
    for day in days.since(_local(after, zone).date()):

        def moment(time: time, day: date = day) -> float:
            return _moment(datetime.combine(day, time), zone)

        index = bisect_right(times, after, key=moment)
        if index < len(times):
            return moment(times[index])
    raise AssertionError("there is always one more day")


def _moment(local: datetime, zone: tzinfo) -> float:
    """A local date and time in seconds since 1970.

    If it comes twice the first, if it never comes the first moment after the gap.
    """
    late = _seconds(local.replace(tzinfo=zone, fold=0))
    early = _seconds(local.replace(tzinfo=zone, fold=1))
    if early >= late:
        return late
    while late - early > 1:  # the gap ends in between
        middle = (early + late) // 2
        if _local(middle, zone).replace(tzinfo=None) < local:
            early = middle
        else:
            late = middle
    return late


def _local(moment: float, zone: tzinfo) -> datetime:
    """What the local clock shows; in whole seconds it is exact for all times."""
    return utc(moment).astimezone(zone)


def _seconds(when: datetime) -> float:
    return when.timestamp()  # of one with a zone, which is arithmetic alone
