"""Schedules: the next time, on every night of the year and whatever the clock has been through."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labnode.clock import ManualClock, WallClock
from labnode.clock.schedules import (
    At,
    Crontab,
    Every,
    Schedule,
    Timetable,
    crontab,
    local_zone,
    wall_seconds,
)

MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86400.0, 365.25 * 86400.0
MADRID, NEW_YORK, LORD_HOWE = "Europe/Madrid", "America/New_York", "Australia/Lord_Howe"

# The nights on which clocks are put forward and back, by zone. Lord Howe does it by half an hour.
NIGHTS = [
    (MADRID, datetime(2026, 3, 29)),
    (MADRID, datetime(2026, 10, 25)),
    (NEW_YORK, datetime(2026, 3, 8)),
    (NEW_YORK, datetime(2026, 11, 1)),
    (LORD_HOWE, datetime(2026, 4, 5)),
    (LORD_HOWE, datetime(2026, 10, 4)),
    (MADRID, datetime(2045, 3, 26)),  # beyond the times that 32 bits have
    ("Asia/Beirut", datetime(2022, 3, 27)),  # at midnight
    ("America/Havana", datetime(2026, 11, 1)),  # back to midnight
    ("Pacific/Apia", datetime(2011, 12, 30)),  # there was no such day
]


@pytest.fixture(autouse=True)
def zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", MADRID)


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ZoneInfo]:
    def enter(name: str) -> ZoneInfo:
        monkeypatch.setenv("TZ", name)
        return ZoneInfo(name)

    return enter


def at(text: str) -> float:
    """ "2026-03-29T03:00+02:00" in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def shown(moment: float) -> str:
    """What the local clock shows at that moment, with its offset."""
    return datetime.fromtimestamp(moment, local_zone()).isoformat(timespec="minutes")


def comings(schedule: Schedule, after: str, number: int) -> list[str]:
    moment, found = at(after), []
    for _ in range(number):
        moment = schedule.next(moment)
        found.append(shown(moment))
    return found


# --- on ordinary days ---


def test_a_time_of_day_comes_once_a_day() -> None:
    assert comings(At("03:00"), "2026-06-01T03:00+02:00", 3) == [
        "2026-06-02T03:00+02:00",
        "2026-06-03T03:00+02:00",
        "2026-06-04T03:00+02:00",
    ]


def test_a_moment_before_a_time_is_followed_by_the_time() -> None:
    assert shown(At("03:00").next(at("2026-06-01T03:00+02:00") - 0.001)) == "2026-06-01T03:00+02:00"


def test_several_times_of_chosen_days_come_in_order() -> None:
    plants = At(["19:30", "7:30"], days="sat-mon")
    assert comings(plants, "2026-06-05T12:00+02:00", 6) == [
        "2026-06-06T07:30+02:00",
        "2026-06-06T19:30+02:00",
        "2026-06-07T07:30+02:00",
        "2026-06-07T19:30+02:00",
        "2026-06-08T07:30+02:00",
        "2026-06-08T19:30+02:00",
    ]
    assert shown(plants.next(at("2026-06-08T19:30+02:00"))) == "2026-06-13T07:30+02:00"


def test_days_are_a_span_a_list_or_one() -> None:
    friday = "2026-06-05T12:00+02:00"
    assert shown(At("03:00", days=["sun", "Tue"]).next(at(friday))) == "2026-06-07T03:00+02:00"
    assert shown(At("03:00", days="sun, tue").next(at(friday))) == "2026-06-07T03:00+02:00"
    assert shown(At("03:00", days="fri").next(at(friday))) == "2026-06-12T03:00+02:00"


def test_a_crontab_comes_at_the_minutes_that_have_all_its_parts() -> None:
    schedule = crontab(minute="*/30", hour="8-9", day="1-7", day_of_week="1")  # first Mondays
    assert comings(schedule, "2026-06-01T09:00+02:00", 3) == [
        "2026-06-01T09:30+02:00",
        "2026-07-06T08:00+02:00",
        "2026-07-06T08:30+02:00",
    ]


def test_a_leap_day_comes_when_it_is_a_monday_even_after_a_century_without() -> None:
    schedule = crontab(0, 12, day=29, month=2, day_of_week=1)
    assert shown(schedule.next(at("2072-03-01T00:00+01:00"))) == "2112-02-29T12:00+01:00"


@pytest.mark.parametrize(
    ("parts", "minutes"),
    [
        ({"minute": 5}, [5]),
        ({"minute": "5,1, 3"}, [1, 3, 5]),
        ({"minute": "10-13"}, [10, 11, 12, 13]),
        ({"minute": "58-1"}, [0, 1, 58, 59]),
        ({"minute": "0-30/10,59"}, [0, 10, 20, 30, 59]),
        ({"minute": "*/25"}, [0, 25, 50]),
    ],
)
def test_parts_have_the_syntax_of_huey(parts: dict[str, str], minutes: list[int]) -> None:
    begin = at("2026-06-01T00:00+02:00")
    found = [int((moment - begin) // MINUTE) for moment in within(Crontab(**parts), begin, HOUR)]
    assert found == minutes


def within(schedule: Schedule, begin: float, seconds: float) -> list[float]:
    """When it comes from `begin` on and before `seconds` have passed."""
    found = [schedule.next(begin - MINUTE)]
    while found[-1] < begin + seconds:
        found.append(schedule.next(found[-1]))
    return [moment for moment in found[:-1] if moment >= begin]


def test_sunday_is_0_and_7_and_sun() -> None:
    begin = at("2026-06-01T00:00+02:00")
    for sunday in ("0", "7", 7, "sun"):
        next_one = crontab(0, 0, day_of_week=sunday).next(begin)
        assert shown(next_one) == "2026-06-07T00:00+02:00"
    assert len(within(crontab(0, 0, day_of_week="5-7"), begin, 7 * DAY)) == 3
    assert len(within(crontab(0, 0, day_of_week="6-1"), begin, 7 * DAY)) == 3


HUEY_PARTS = st.sampled_from(["*", "*/7", "3", "1,5", "2-5", "5-2", "1-6/2", "2-5,6"])


@given(st.lists(HUEY_PARTS, min_size=5, max_size=5), st.integers(0, 366 * 24 * 60 - 1))
def test_a_crontab_has_the_minutes_that_huey_s_has(parts: list[str], minute: int) -> None:
    from huey import crontab as theirs

    if parts[4] == "*/7":  # theirs refuses that for days of the week
        parts[4] = "*"
    local = datetime(2028, 1, 1) + timedelta(minutes=minute)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        moment = local.replace(tzinfo=UTC).timestamp()
        ours = crontab(*parts).next(moment - MINUTE) == moment
    assert ours == theirs(*parts)(local)


# --- on the nights on which clocks are changed ---


def test_a_time_that_does_not_exist_comes_at_the_first_moment_after_the_gap() -> None:
    assert comings(At("02:30"), "2026-03-28T12:00+01:00", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]
    assert comings(crontab("*/20", 2), "2026-03-28T12:00+01:00", 2) == [
        "2026-03-29T03:00+02:00",  # all three at once
        "2026-03-30T02:00+02:00",
    ]


def test_a_time_that_exists_twice_comes_once() -> None:
    assert comings(At("02:30"), "2026-10-24T12:00+02:00", 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_half_an_hour_of_lord_howe_is_a_gap_and_comes_twice(
    in_zone: Callable[[str], ZoneInfo],
) -> None:
    in_zone(LORD_HOWE)
    assert shown(At("02:15").next(at("2026-10-03T12:00+10:30"))) == "2026-10-04T02:30+11:00"
    assert comings(At("01:45"), "2026-04-04T12:00+11:00", 2) == [
        "2026-04-05T01:45+11:00",
        "2026-04-06T01:45+10:30",
    ]


def test_what_comes_every_hour_or_more_often_keeps_its_pace() -> None:
    for schedule, pace in ((crontab("*/10"), 600.0), (crontab(30), 3600.0)):
        for night in ("2026-03-28T22:00+01:00", "2026-10-24T22:00+02:00"):
            moments = within(schedule, at(night), 12 * HOUR)
            assert {b - a for a, b in pairwise(moments)} == {pace}


def test_nothing_comes_45_minutes_early_on_the_night_of_madrid() -> None:
    """Huey stores what `.timestamp()` makes of a naive time of UTC, which Python takes for local.

    Half an hour before the gap, that is a time within it for 01:45 UTC: it came too early.
    """
    due = at("2026-03-29T03:45+02:00")  # 01:45 UTC
    assert wall_seconds(datetime(2026, 3, 29, 3, 45)) == due
    assert wall_seconds(datetime(2026, 3, 29, 1, 45, tzinfo=UTC)) == due
    assert wall_seconds(datetime(2026, 3, 29, 3, 45, tzinfo=timezone(timedelta(hours=2)))) == due
    assert At("03:45").next(at("2026-03-29T01:30+01:00")) == due
    assert wall_seconds(datetime(2026, 3, 29, 2, 45)) == at("2026-03-29T03:00+02:00")


def test_a_time_zone_that_is_changed_counts_from_the_next_question_on(
    in_zone: Callable[[str], ZoneInfo],
) -> None:
    schedule, noon = At("03:00"), at("2026-06-01T12:00+00:00")
    in_zone(NEW_YORK)
    assert schedule.next(noon) == at("2026-06-02T03:00-04:00")
    in_zone(LORD_HOWE)
    assert schedule.next(noon) == at("2026-06-02T03:00+10:30")


def walked(
    zone: ZoneInfo, matches: Callable[[datetime], bool], once: bool, begin: float, end: float
) -> Iterator[float]:
    """Each minute from `begin` to `end` at which it comes, by looking at each of them.

    `once`: a minute that the local clock skips counts at the end of the gap, and one that it shows
    again does not count.
    """
    before = datetime.fromtimestamp(begin - MINUTE, zone).replace(tzinfo=None)
    latest = before
    moment = begin
    while moment < end:
        local = datetime.fromtimestamp(moment, zone).replace(tzinfo=None)
        if once:
            new = int((local - latest) / timedelta(minutes=1))
            passed = [latest + timedelta(minutes=n + 1) for n in range(new)]
            latest = max(latest, local)
        else:
            passed = [local]
        if any(map(matches, passed)):
            yield moment
        moment += MINUTE


@pytest.mark.parametrize(("name", "night"), NIGHTS)
def test_a_crontab_comes_when_a_walk_through_all_minutes_says_so(
    name: str, night: datetime, in_zone: Callable[[str], ZoneInfo]
) -> None:
    zone = in_zone(name)
    chance = random.Random(f"{name} {night}")
    begin = (night - timedelta(days=1)).replace(tzinfo=zone).timestamp() // MINUTE * MINUTE
    for _ in range(12):
        minutes = chance.sample(range(60), chance.choice((1, 2, 30)))
        hours = chance.sample(range(24), chance.choice((1, 3, 12, 23, 24)))
        days = chance.choice(([0, 1, 2, 3, 4, 5, 6], [0, 6], [(night.isoweekday()) % 7]))
        schedule = crontab(*(",".join(map(str, part)) for part in (minutes, hours)), "*", "*",
                           ",".join(map(str, days)))  # fmt: skip

        def matches(local: datetime, parts: tuple[list[int], ...] = (minutes, hours, days)) -> bool:
            fields = (local.minute, local.hour, local.isoweekday() % 7)
            return all(n in part for n, part in zip(fields, parts, strict=True))

        once = len(hours) < 24
        expected = list(walked(zone, matches, once, begin, begin + 3 * DAY))
        assert within(schedule, begin, 3 * DAY) == expected, schedule


@given(
    st.sampled_from(NIGHTS), st.integers(0, 23), st.integers(0, 59), st.floats(-2 * DAY, 2 * DAY)
)
def test_a_time_of_day_is_never_more_than_a_day_and_a_change_away(
    place: tuple[str, datetime], hour: int, minute: int, offset: float
) -> None:
    name, night = place
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", name)
        after = night.replace(tzinfo=ZoneInfo(name)).timestamp() + offset
        moment = At(f"{hour:02}:{minute:02}").next(after)
        assert after < moment <= after + DAY + HOUR
        assert moment == At(f"{hour:02}:{minute:02}").next(moment - 0.5)


# --- zones ---


def test_without_tz_the_zone_is_that_of_the_machine_and_without_any_utc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from labnode.clock import schedules

    monkeypatch.delenv("TZ")
    localtime = tmp_path / "localtime"
    monkeypatch.setattr(schedules, "_LOCALTIME", localtime)
    assert local_zone() is UTC
    summer = datetime(2046, 7, 1, 12)
    for name, offset in ((MADRID, 2), (NEW_YORK, -4)):
        localtime.unlink(missing_ok=True)
        localtime.symlink_to(f"/usr/share/zoneinfo/{name}")
        assert summer.replace(tzinfo=local_zone()).utcoffset() == timedelta(hours=offset)


@pytest.mark.parametrize(
    ("tz", "hours"),
    [
        (f":{MADRID}", 2),
        (f"/usr/share/zoneinfo/{NEW_YORK}", -4),
        ("CET-1CEST,M3.5.0,M10.5.0/3", 2),
        ("UTC", 0),
        ("", 0),
        ("Nowhere/Land", 0),
    ],
)
def test_tz_is_a_name_a_file_or_a_rule_as_for_other_programs(
    tz: str, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", tz)
    summer = datetime(2046, 7, 1, 12, tzinfo=local_zone())
    assert summer.utcoffset() == timedelta(hours=hours)


# --- what never comes, and what is wrong ---


@pytest.mark.parametrize(("day", "month"), [(31, 2), ("30,31", "2"), (31, "2,4,6,9,11")])
def test_a_crontab_that_never_comes_is_told_at_once(day: int | str, month: int | str) -> None:
    with pytest.raises(ValueError, match=r"^a crontab with day='.*' and month='.*' never comes"):
        crontab(0, 3, day=day, month=month)


@pytest.mark.parametrize(
    "parts",
    [{"minute": 60}, {"hour": "24"}, {"day": 0}, {"month": "13"}, {"day_of_week": "8"}]
    + [{"minute": text} for text in ("", "a", "-1", "1-", "1-99", "*/0", "5/2", "1;2", "1.5", "٣")]
    + [{"day_of_week": "sunday"}, {"month": "jan"}, {"hour": True}, {"minute": "9" * 5000}],
)
def test_what_is_no_part_is_told_with_its_name(parts: dict[str, str]) -> None:
    (name,) = parts
    with pytest.raises(ValueError, match=rf"^{name} is .*; expected numbers from"):
        crontab(**parts)


@pytest.mark.parametrize("text", ["24:00", "3", "03:60", "3 pm", "", "03:00:00"])
def test_what_is_no_time_of_day_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a time of day such as 03:00, from 00:00 to"):
        At(["07:00", text])


def test_no_times_and_no_days_are_told() -> None:
    with pytest.raises(ValueError, match="there is none"):
        At([])
    for days in ([], "", "mon-noday", "weekdays"):
        with pytest.raises(ValueError, match=r"^expected days such as mon-fri or"):
            At("03:00", days=days)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_what_is_no_period_is_told(seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Every(seconds)


def test_schedules_say_what_they_are() -> None:
    assert str(Every(600).words) == "every 600 s"
    assert str(At("03:00").words) == "at 03:00"
    twice = At(["7:30", "19:30"], days="mon-fri")
    assert str(twice.words) == "at 07:30, 19:30 on mon, tue, wed, thu, fri"
    assert At("3:00", days="sun, mon") == At(["03:00"], days=["mon", "sun"]) != At("03:00")
    assert crontab(minute=0, hour="*/2").words == "crontab 0 */2 * * *"


# --- a clock that is changed, and a node that was off ---


class Node:
    """Runs what is due, as a node does that looks whenever the clock was set."""

    def __init__(self, schedule: Schedule, now: float, catch_up: bool = False) -> None:
        self.clock = ManualClock(wall=now)
        self.wall = WallClock(self.clock)
        self.timetable = Timetable(schedule, self.clock, self.wall, catch_up=catch_up)
        self.ran: list[str] = []
        self.look()

    def look(self) -> None:
        if self.timetable.due() <= self.clock.now():
            self.ran.append(shown(self.clock.wall()))
            self.timetable.came()

    def let(self, seconds: float) -> None:
        """That time passes."""
        end = self.clock.now() + seconds
        while (due := self.timetable.due()) <= end:
            self.clock.advance(max(0.0, due - self.clock.now()))
            self.look()
        self.clock.advance(end - self.clock.now())

    def jump(self, seconds: float, right: bool = True) -> None:
        self.clock.jump_wall(seconds, right)
        self.look()


NIGHT = "2026-06-01T02:30+02:00"


def test_what_comes_at_night_comes_each_night() -> None:
    node = Node(At("03:00"), at(NIGHT))
    node.let(3 * DAY)
    assert node.ran == [f"2026-06-0{n}T03:00+02:00" for n in (1, 2, 3)]


@pytest.mark.parametrize("catch_up", [False, True])
@pytest.mark.parametrize("jump", [-HOUR, -0.5, 0.5, 30.0, -10 * YEAR, 10 * YEAR])
def test_what_has_come_does_not_come_again_and_comes_the_next_night(
    jump: float, catch_up: bool
) -> None:
    node = Node(At("03:00"), at(NIGHT), catch_up)
    node.let(HOUR)
    assert len(node.ran) == 1
    node.jump(jump)
    ran = len(node.ran)
    assert ran == (2 if catch_up and jump == 10 * YEAR else 1)  # which missed 3,652 nights
    node.let(DAY + HOUR)
    assert len(node.ran) == ran + 1


def test_an_hour_back_just_after_a_time_does_not_have_it_twice() -> None:
    node = Node(At("03:00"), at(NIGHT))
    node.let(HOUR / 2 + 1)
    for _ in range(5):
        node.jump(-HOUR)
        node.let(HOUR)
    assert node.ran == ["2026-06-01T03:00+02:00"]


def test_an_hour_forward_over_a_time_misses_it_unless_it_is_to_be_caught_up() -> None:
    for catch_up, ran in ((False, []), (True, ["2026-06-01T03:30+02:00"])):
        node = Node(At("03:00"), at(NIGHT), catch_up)
        node.jump(HOUR)
        node.let(HOUR)
        assert node.ran == ran


def test_a_few_seconds_forward_over_a_time_miss_nothing() -> None:
    node = Node(At("03:00"), at("2026-06-01T02:59+02:00") + 50)
    node.jump(30)
    assert node.ran == ["2026-06-01T03:00+02:00"]


def test_what_was_waited_for_has_come_however_late_it_is_looked_at() -> None:
    node = Node(At("03:00"), at(NIGHT))
    node.clock.advance(5 * HOUR)  # the machine was busy
    node.look()
    assert node.ran == ["2026-06-01T07:30+02:00"]


def test_what_is_due_stays_due_until_it_has_come() -> None:
    node = Node(At("03:00"), at(NIGHT))
    node.clock.advance(HOUR / 2)
    due = node.timetable.due()
    node.clock.advance(5 * HOUR)
    node.clock.jump_wall(HOUR, right=False)
    assert node.timetable.due() == due == node.clock.now() - 5 * HOUR


def test_while_nobody_knows_what_time_it_is_nothing_is_due() -> None:
    node = Node(At("03:00"), at(NIGHT))
    node.jump(-10 * YEAR, right=False)
    assert node.timetable.due() == float("inf")
    node.let(2 * DAY)
    assert node.ran == []
    node.jump(10 * YEAR)
    node.let(DAY)
    assert node.ran == ["2026-06-03T03:00+02:00"]


def test_a_period_counts_without_the_wall_clock_and_keeps_its_pace() -> None:
    node = Node(Every(600), 0.0)
    began = node.clock.now()
    node.jump(10 * YEAR, right=False)
    node.let(1800)
    node.clock.advance(300)
    assert (len(node.ran), node.timetable.due()) == (3, began + 2400)
    node.clock.advance(5 * HOUR)  # the machine was busy
    node.look()
    assert (len(node.ran), node.timetable.due()) == (4, node.clock.now() + 600)


def test_ten_years_forward_and_back_again_leave_the_nights_as_they_were() -> None:
    node = Node(At("03:00"), at("2026-06-01T12:00+02:00"))
    node.jump(10 * YEAR)
    node.let(DAY)
    assert len(node.ran) == 1
    node.jump(-10 * YEAR)
    node.let(3 * DAY)
    assert node.ran[1:] == [f"2026-06-0{n}T03:00+02:00" for n in (3, 4, 5)]


def test_a_node_that_was_off_for_a_month_catches_up_once() -> None:
    for catch_up, ran in ((False, 0), (True, 1)):
        node = Node(At("03:00"), at(NIGHT), catch_up)
        node.jump(30 * DAY + 2 * HOUR)
        assert len(node.ran) == ran
        node.let(DAY)
        assert len(node.ran) == ran + 1


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=50)
def test_whatever_small_changes_a_clock_goes_through_no_minute_has_it_twice(
    chance: random.Random, catch_up: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", MADRID)
        node = Node(crontab("*/15", "1-4"), at("2026-03-28T23:00+01:00"), catch_up)
        for _ in range(30):
            node.let(chance.uniform(0, HOUR))
            node.jump(chance.uniform(-HOUR, HOUR))
    moments = [at(text) for text in node.ran]
    assert moments == sorted(set(moments))
