"""Tasks for later: scheduled, tried again, ordered, expired, periodic; by the right clock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labnode import context
from labnode.clock.schedules import Every, crontab
from labnode.errors import BadInput
from labnode.tasks.timers import Recurrence
from tests.kit.rig import TasksRig, as_user
from tests.kit.waiting import PATIENCE, eventually

DAY = 86400.0


def later(rig: TasksRig, seconds: float) -> None:
    """Let time pass when every thread waits for it, and what is due then happen."""
    quiet(rig)
    rig.manual.advance(seconds)
    quiet(rig)


def quiet(rig: TasksRig) -> None:
    """Return when neither the timers nor the hardware thread nor the store has anything to do."""
    for _ in range(2):
        rig.stored()
        rig.manual.until_waits(rig.tasks.timers.thread)
        rig.rests()


class Diary:
    """A task that notes what it was called with, and when."""

    def __init__(self, rig: TasksRig, **options: Any) -> None:
        self.rig = rig
        self.lines: list[Any] = []
        self.task = rig.task(self.write, unique="global", **options)

    def write(self, line: Any = "ran") -> None:
        self.lines.append(line)


def test_a_scheduled_task_begins_when_its_delay_is_over(rig: TasksRig) -> None:
    diary = Diary(rig)
    task = diary.task.schedule(("first",), delay=60)
    assert task.submitted
    later(rig, 59)
    assert diary.lines == []
    later(rig, 1)
    assert task.join().done
    assert diary.lines == ["first"]
    assert rig.waiting() == []


def test_what_is_scheduled_keeps_its_uniqueness_and_can_be_waited_for(rig: TasksRig) -> None:
    diary = Diary(rig)
    task = diary.task.schedule(delay=timedelta(minutes=1))
    error = diary.task.delay().error
    assert error is not None
    assert error["code"] == "already-running"
    waiting = rig.ask(task.join).waits()
    later(rig, 60)
    assert waiting.result().done
    assert diary.task.delay().join().done


def test_a_cancelled_one_never_begins_and_leaves_no_message(rig: TasksRig) -> None:
    diary = Diary(rig)
    task = diary.task.schedule(delay=60)
    task.stop()
    assert task.join().failed
    assert rig.waiting() == []
    later(rig, 100)
    assert diary.lines == []


def test_a_delay_counts_by_the_time_since_boot_whatever_the_wall_clock_does(rig: TasksRig) -> None:
    diary = Diary(rig)
    task = diary.task.schedule(delay=60)
    rig.manual.jump_wall(10 * 365 * DAY, right=False)
    later(rig, 59)
    assert diary.lines == []
    later(rig, 1)
    assert task.join().done


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_date_counts_by_the_wall_clock(rig: TasksRig, jump: float) -> None:
    diary = Diary(rig)
    at = rig.clock.wall() + 2 * 3600
    task = diary.task.schedule(eta=datetime.fromtimestamp(at, UTC))
    quiet(rig)
    rig.manual.jump_wall(jump)
    later(rig, at - rig.clock.wall() - 1)
    assert diary.lines == []
    later(rig, 1)
    assert task.join().done


def test_a_date_waits_until_the_wall_clock_is_right(rig: TasksRig) -> None:
    rig.manual.jump_wall(-30 * DAY, right=False)
    diary = Diary(rig)
    at = rig.clock.wall() + 60
    task = diary.task.schedule(eta=datetime.fromtimestamp(at, UTC))
    later(rig, 120)
    assert diary.lines == []
    rig.manual.jump_wall(30 * DAY)
    assert task.join().done


def test_a_date_without_a_time_zone_is_local(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    diary = Diary(rig)
    at = rig.clock.wall() + 600  # in January
    local = datetime.fromtimestamp(at, UTC).replace(tzinfo=None) + timedelta(hours=1)
    task = diary.task.schedule(eta=local)
    later(rig, 599)
    assert diary.lines == []
    later(rig, 1)
    assert task.join().done


def test_no_date_is_past_for_a_wall_clock_that_nobody_confirms(rig: TasksRig) -> None:
    rig.manual.jump_wall(10 * 365 * DAY, right=False)
    diary = Diary(rig)
    tomorrow = datetime.fromtimestamp(rig.manual.wall() - 10 * 365 * DAY + DAY, UTC)
    task = diary.task.schedule(eta=tomorrow)
    assert task.submitted
    rig.manual.jump_wall(-10 * 365 * DAY)
    later(rig, DAY - 1)
    assert diary.lines == []
    later(rig, 1)
    assert task.join().done


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "either delay= or eta="),
        ({"delay": 1, "eta": datetime(2200, 1, 1)}, "either delay= or eta="),
        ({"delay": -1}, "delay is a number of seconds from 0"),
        ({"delay": float("nan")}, "delay is a number of seconds from 0"),
        ({"delay": "soon"}, "delay is a number of seconds from 0"),
        ({"delay": True}, "delay is a number of seconds from 0"),
        ({"eta": "tomorrow"}, "eta is a datetime"),
        ({"eta": datetime.min}, "is past|a time of our days"),
        ({"eta": datetime(2020, 1, 1, 3)}, "cannot be scheduled for 2020-01-01"),
        ({"delay": 1, "args": ({1},)}, "must be JSON data"),
        ({"delay": 1, "args": (1, 2, 3)}, "too many positional arguments"),
    ],
)
def test_what_cannot_be_scheduled_is_a_sentence(
    rig: TasksRig, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        Diary(rig).task.schedule(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": 1.5},
        {"retries": True},
        {"retry_delay": -1},
        {"priority": "high"},
        {"expires": 0},
    ],
)
def test_an_option_that_makes_no_sense_is_refused_when_the_task_is_declared(
    rig: TasksRig, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        rig.task(lambda: None, **options)


def test_there_is_a_most_that_can_wait(rig: TasksRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labnode.tasks.runs._MOST_UNFINISHED", 3)
    work = rig.task(lambda: 1)
    tasks = [work.schedule(delay=60) for _ in range(3)]
    error = work.schedule(delay=60).error
    assert error is not None
    assert error["message"] == "3 tasks wait or run already; that is too many."
    tasks[0].stop()
    tasks[0].join()
    assert work.schedule(delay=60).submitted


def test_a_full_disk_refuses_what_is_scheduled_with_a_sentence(rig: TasksRig) -> None:
    diary = Diary(rig)
    with rig.full_disk():
        task = diary.task.schedule(delay=60)
        error = task.error
        assert error is not None
        assert error["code"] == "storage"
        assert "disk is full" in error["message"]
    assert rig.waiting() == []
    assert diary.task.delay().join().done


# ---------------------------------------------------------------------- retries


class Trouble:
    """A task that fails the first few times."""

    def __init__(self, rig: TasksRig, times: int, **options: Any) -> None:
        self.tries = 0
        self.times = times
        self.task = rig.task(self.work, **options)

    def work(self) -> int:
        self.tries += 1
        if self.tries <= self.times:
            raise SystemExit(f"try {self.tries}")
        return self.tries


@pytest.mark.parametrize("unique", [None, "global"])
def test_a_task_that_fails_is_tried_again_as_often_as_it_says(rig: TasksRig, unique: Any) -> None:
    assert Trouble(rig, 2, retries=2, unique=unique).task.delay().join().result == 3
    trouble = Trouble(rig, 5, retries=2, unique=unique)
    task = trouble.task.delay().join()
    assert (task.error or {})["message"] == "try 3"
    assert trouble.tries == 3
    assert rig.waiting() == []


def test_between_two_tries_it_is_submitted_and_unique_and_join_waits(rig: TasksRig) -> None:
    trouble = Trouble(rig, 1, retries=1, retry_delay=30, unique="global")
    task = trouble.task.delay()
    eventually(lambda: trouble.tries == 1 and task.retrieve().submitted)
    refused = trouble.task.delay().error
    assert refused is not None
    assert refused["code"] == "already-running"
    waiting = rig.ask(task.join).waits()
    assert rig.row(task)["status"] == "submitted"
    later(rig, 30)
    assert waiting.result().result == 2
    kinds = [row["kind"] for row in rig.store.select("events", "task_id = ?", task.task_id)]
    assert kinds == ["task.retried", "task.done"]


def test_a_stopped_task_is_not_tried_again(rig: TasksRig) -> None:
    begun = threading.Event()

    @rig.task(retries=5)
    def work() -> None:
        begun.set()
        context.current_task.get().wait(1000)
        raise RuntimeError("stopped")

    task = work.delay()
    assert begun.wait(PATIENCE)
    task.stop()
    assert task.join().failed


def test_a_try_that_waits_can_be_cancelled(rig: TasksRig) -> None:
    trouble = Trouble(rig, 1, retries=1, retry_delay=30)
    task = trouble.task.delay()
    eventually(lambda: trouble.tries == 1 and task.retrieve().submitted)
    task.stop()
    assert task.join().failed
    assert rig.waiting() == []
    later(rig, 60)
    assert trouble.tries == 1


def test_no_try_is_made_in_the_next_session(rig: TasksRig) -> None:
    trouble = Trouble(rig, 1, retries=1, retry_delay=30)
    rig.tasks.open_session("ada")
    with as_user("ada"):
        task = trouble.task.delay()
    eventually(lambda: trouble.tries == 1 and task.retrieve().submitted)
    rig.tasks.close_session("ada")
    rig.tasks.open_session("bob")
    assert task.join().failed
    later(rig, 60)
    assert trouble.tries == 1
    assert rig.waiting() == []


# ---------------------------------------------------------------------- order and expiry


def test_the_higher_priority_is_the_first_and_among_equals_the_older(rig: TasksRig) -> None:
    gate = rig.gate()
    order: list[str] = []
    block = rig.task(lambda: gate.wait(PATIENCE), unique="global").delay()
    low = rig.task(order.append, unique="user", priority=-1)
    tasks = [low.delay("low")]
    for priority in (0, 5):
        for number in "ab":
            work = rig.task(order.append, unique="user", priority=priority)
            tasks.append(work.delay(f"{priority}{number}"))
    gate.set()
    for task in (block, *tasks):
        assert task.join().done
    assert order == ["5a", "5b", "0a", "0b", "low"]


def test_a_task_that_does_not_begin_in_time_expires(rig: TasksRig) -> None:
    gate = rig.gate()
    block = rig.task(lambda: gate.wait(PATIENCE), unique="global").delay()
    diary = Diary(rig, expires=10)
    task = diary.task.delay()
    rig.stored()
    rig.manual.advance(11)
    gate.set()
    block.join()
    error = task.join().error
    assert error is not None
    assert "did not begin before it expired" in error["message"]
    assert diary.lines == []


def test_the_time_until_it_is_due_does_not_count_as_expired(rig: TasksRig) -> None:
    diary = Diary(rig, expires=10)
    task = diary.task.schedule(delay=100)
    later(rig, 100)
    assert task.join().done


# ---------------------------------------------------------------------- periodic


def test_a_task_comes_every_so_many_seconds_by_the_time_since_boot(rig: TasksRig) -> None:
    rig.manual.jump_wall(-30 * DAY, right=False)
    diary = Diary(rig, periodic=Recurrence(Every(60)))
    later(rig, 59)
    assert diary.lines == []
    for number in range(1, 4):
        later(rig, 1 if number == 1 else 60)
        assert len(diary.lines) == number


def test_a_crontab_comes_by_the_local_clock_when_that_is_right(
    rig: TasksRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    rig.manual.jump_wall(0, right=False)
    diary = Diary(rig, periodic=Recurrence(crontab(minute="0", hour="3")))
    later(rig, 2 * DAY)
    assert diary.lines == []
    rig.manual.confirm_wall()
    quiet(rig)
    (due,) = [each["due"] for each in rig.tasks.timers.periodic()]
    assert datetime.fromtimestamp(due, UTC).hour == 2
    later(rig, due - rig.clock.wall())
    assert len(diary.lines) == 1
    rig.manual.jump_wall(-3600)
    later(rig, 2 * 3600)
    assert len(diary.lines) == 1, "a clock that is set back makes no tick come twice"
    later(rig, DAY - 3600)
    assert len(diary.lines) == 2


@pytest.mark.parametrize("jump", [10 * 365 * DAY, -10 * 365 * DAY])
def test_ticks_go_on_after_a_clock_that_was_wrong_by_ten_years(rig: TasksRig, jump: float) -> None:
    diary = Diary(rig, periodic=Recurrence(crontab(minute="0")))
    later(rig, 3600)
    before = len(diary.lines)
    rig.manual.jump_wall(jump)
    quiet(rig)
    for _ in range(3):
        later(rig, 3600)
    assert len(diary.lines) in (before + 3, before + 4)


def test_a_tick_is_left_out_while_the_one_before_waits(rig: TasksRig) -> None:
    gate = rig.gate()
    block = rig.task(lambda: gate.wait(PATIENCE), unique="global").delay()
    diary = Diary(rig, periodic=Recurrence(Every(60)))
    for _ in range(5):
        rig.stored()
        rig.manual.until_waits(rig.tasks.timers.thread)
        rig.manual.advance(60)
    rig.stored()
    rig.manual.until_waits(rig.tasks.timers.thread)
    gate.set()
    block.join()
    quiet(rig)
    assert diary.lines == ["ran"]


def test_what_waits_wakes_nobody_before_it_is_due(rig: TasksRig) -> None:
    Diary(rig).task.schedule(delay=3600)
    quiet(rig)
    turns: list[float] = []
    turn = rig.tasks.timers._turn
    rig.tasks.timers._turn = lambda: (turns.append(rig.clock.now()), turn())[1]  # type: ignore[method-assign]
    later(rig, 3599)
    assert turns == []
    later(rig, 1)
    assert len(turns) == 1
