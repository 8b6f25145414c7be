"""The wall clock: who confirms it, what a jump does to it, and who is told."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode import clock as ground
from labnode.clock import Clock, ManualClock, WallClock, machine
from labnode.clock.machine import ClockThread, battery_clocks
from tests.kit.waiting import PATIENCE

HOUR, YEAR = 3600.0, 365.25 * 86400.0
NOW = 1_800_000_000.0
SYNCHRONISED, INSERTS_A_LEAP_SECOND, UNSYNCHRONISED = 0, 1, 5  # what adjtimex(2) answers


class Kernel:
    """The C library's functions that are asked; its timer is the end of a pipe."""

    def __init__(self) -> None:
        self.answer = UNSYNCHRONISED
        self.timer = -1
        self.has_timers = self.arms = True
        self._end = -1
        self._ends = False

    def adjtimex(self, _timex: Any) -> int:
        return self.answer

    def timerfd_create(self, _clock: int, _flags: int) -> int:
        if self.has_timers:
            self.timer, self._end = os.pipe()
        return self.timer

    def timerfd_settime(self, *_arguments: Any) -> int:
        return 0 if self.arms else -1

    def read(self, timer: int, _buffer: Any, size: int) -> int:
        os.read(timer, size)
        return size if self._ends else -1

    def set_clock(self) -> None:
        os.write(self._end, bytes(8))

    def end_timer(self) -> None:
        self._ends = True
        self.set_clock()

    def close(self) -> None:
        if self._end >= 0:
            os.close(self._end)
            with pytest.raises(OSError) as closed:  # noqa: PT011 - by its number
                os.fstat(self.timer)
            assert closed.value.errno == errno.EBADF


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Its timer has to be closed in the end."""
    kernel = Kernel()
    monkeypatch.setattr(machine, "_libc", kernel)
    yield kernel
    kernel.close()


class Wakes:
    """Counts what it is woken for."""

    def __init__(self) -> None:
        self.number = 0
        self._woken = threading.Semaphore(0)

    def __call__(self) -> None:
        self.number += 1
        self._woken.release()

    def woken(self) -> bool:
        return self._woken.acquire(timeout=PATIENCE)


# --- who confirms it ---


@pytest.fixture
def rtcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the machine's battery clocks, of which there is none."""
    monkeypatch.setattr(machine, "battery_clocks", lambda: battery_clocks(tmp_path / "rtc"))
    return tmp_path / "rtc"


@pytest.mark.parametrize("answer", [SYNCHRONISED, INSERTS_A_LEAP_SECOND])
def test_a_clock_that_ntp_has_set_is_right(kernel: Kernel, rtcs: Path, answer: int) -> None:
    kernel.answer = answer
    assert Clock().is_right()


@pytest.mark.parametrize("answer", [UNSYNCHRONISED, -1])
def test_a_clock_that_nobody_has_set_is_not(kernel: Kernel, rtcs: Path, answer: int) -> None:
    kernel.answer = answer
    assert not Clock().is_right()
    rtcs.mkdir()
    assert not Clock().is_right()


class Shows(Clock):
    """A machine whose wall clock shows one time."""

    def __init__(self, wall: float) -> None:
        super().__init__()
        self._wall = wall

    def wall(self) -> float:
        return self._wall


@pytest.mark.parametrize(
    ("says", "wall", "right"),
    [
        (f"{NOW:.0f}\n", NOW + 60, True),
        (f"{NOW:.0f}\n", NOW + HOUR, False),  # somebody has set the clock by hand
        ("12\n", 12.0, False),  # the Pi 5 without a battery begins in 1970
        ("946684800\n", 946684805.0, False),  # a DS3231 with an empty one in 2000
        ("", NOW, False),
    ],
)
def test_a_battery_clock_confirms_the_time_that_it_has_itself(
    kernel: Kernel, rtcs: Path, says: str, wall: float, right: bool
) -> None:
    for name, text in (("rtc0", ""), ("rtc1", says)):
        (rtcs / name).mkdir(parents=True)
        (rtcs / name / "since_epoch").write_text(text)
    assert Shows(wall).is_right() is right


def test_the_kernel_of_this_machine_answers_or_refuses_to() -> None:
    assert Clock().is_right() in (True, False)
    answer = machine._libc.adjtimex(ctypes.create_string_buffer(1024))
    assert -1 <= answer <= UNSYNCHRONISED


# --- what it is worth ---


def test_a_clock_is_trustworthy_from_its_confirmation_on() -> None:
    clock = ManualClock(right=False)
    wall = WallClock(clock)
    assert not wall.trustworthy
    clock.confirm_wall()
    assert wall.trustworthy
    assert wall.now() == clock.wall()


def test_a_sentence_says_what_those_who_wait_for_a_time_of_day_wait_for() -> None:
    clock = ManualClock(right=False)
    wall = WallClock(clock)
    assert wall.doubt is None
    wall.subscribe(lambda: None)
    assert wall.doubt is not None
    assert "no time server (NTP) has answered" in wall.doubt
    clock.confirm_wall()
    assert wall.doubt is None


def test_it_stays_so_when_the_time_servers_are_not_heard_any_more() -> None:
    clock = ManualClock()
    wall = WallClock(clock)
    assert wall.trustworthy
    clock.jump_wall(0, right=False)
    assert wall.trustworthy


@pytest.mark.parametrize("jump", [-10 * YEAR, -HOUR, HOUR, 10 * YEAR])
def test_after_a_jump_it_has_to_be_confirmed_again(jump: float) -> None:
    clock = ManualClock()
    wall = WallClock(clock)
    assert wall.trustworthy
    clock.jump_wall(jump, right=False)
    assert not wall.trustworthy
    clock.confirm_wall()
    assert wall.trustworthy


@pytest.mark.parametrize("jump", [-10 * YEAR, -HOUR, HOUR, 10 * YEAR])
def test_the_jump_by_which_ntp_sets_it_is_its_confirmation(jump: float) -> None:
    clock = ManualClock(right=False)
    wall = WallClock(clock)
    assert not wall.trustworthy
    clock.jump_wall(jump)
    assert wall.trustworthy
    assert wall.steady_for == 0


def test_it_is_steady_from_its_last_jump_on_and_small_ones_are_none() -> None:
    clock = ManualClock()
    wall = WallClock(clock)
    clock.advance(100)
    assert wall.steady_for == 100
    clock.jump_wall(-30)
    clock.advance(100)
    assert wall.steady_for == 200
    clock.jump_wall(-HOUR)
    clock.advance(5)
    assert wall.steady_for <= 5


# --- who is told ---


def test_who_waits_is_told_when_it_is_set_and_when_it_is_confirmed() -> None:
    clock = ManualClock(right=False)
    wall = WallClock(clock)
    wakes = Wakes()
    wall.subscribe(wakes)
    assert wakes.number == 0
    clock.jump_wall(20, right=False)
    assert wakes.number == 1
    clock.confirm_wall()
    assert wakes.number == 2
    clock.confirm_wall()
    assert wakes.number == 2
    assert wall.stop(1)
    clock.jump_wall(HOUR)
    assert wakes.number == 2
    assert wall.stop(1)


def test_who_waits_is_told_even_if_another_has_seen_it_first() -> None:
    clock = ManualClock(right=False)
    wall = WallClock(clock)
    wakes = Wakes()
    wall.subscribe(wakes)
    clock._right = True
    assert wall.trustworthy
    assert wakes.number == 1


def test_a_thread_waits_for_the_clock_to_be_set_and_for_nothing_else(kernel: Kernel) -> None:
    kernel.answer = SYNCHRONISED
    wall = WallClock(Clock())
    wakes = Wakes()
    wall.subscribe(wakes)
    wall.subscribe(lambda: None)
    assert [t.name for t in threading.enumerate()].count("wall-clock") == 1
    assert wakes.woken()  # it is confirmed
    for _ in range(3):
        kernel.set_clock()
        assert wakes.woken()
    assert wakes.number == 4
    assert wall.stop(PATIENCE)
    assert "wall-clock" not in [t.name for t in threading.enumerate()]


def test_until_it_is_confirmed_the_thread_looks_now_and_then(
    kernel: Kernel, rtcs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "_ASK_AGAIN", 0.01)
    wall = WallClock(Clock())
    wakes = Wakes()
    wall.subscribe(wakes)
    kernel.answer = SYNCHRONISED
    assert wakes.woken()
    assert wall.stop(PATIENCE)


@pytest.mark.parametrize("why", ["no timer", "not armed", "ended"])
def test_where_no_timer_tells_it_the_thread_looks_now_and_then(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(machine, "_SLOWLY", 0.01)
    kernel.has_timers, kernel.arms = why != "no timer", why != "not armed"
    looks = Wakes()

    def look(was_set: bool) -> float | None:
        looks()
        return None

    thread = ClockThread(look)
    if why == "ended":  # 32 bits, after 2038: it is read without an error
        assert looks.woken()
        kernel.end_timer()
    for _ in range(5):
        assert looks.woken()
    assert thread.stop(PATIENCE)


def test_the_timer_of_this_machine_is_quiet_while_nobody_sets_its_clock() -> None:
    timer = machine._timer()
    assert timer is not None
    try:
        with pytest.raises(BlockingIOError):
            os.read(timer, 8)
    finally:
        os.close(timer)
