"""Time: a real clock that never jumps, and one that stands still until a test advances it."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from labnode.clock import Clock, Event, ManualClock, Turn, _boot_id, local, utc

PATIENCE = 10.0


class Waiting:
    """A thread that waits for an event."""

    def __init__(self, event: Event, timeout: float | None = None) -> None:
        self._outcome: list[bool] = []
        self._thread = threading.Thread(
            target=lambda: self._outcome.append(event.wait(timeout)), daemon=True
        )
        self._thread.start()

    def result(self) -> bool:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it still waits"
        return self._outcome[0]

    @property
    def over(self) -> bool:
        return bool(self._outcome)


# --- the machine's clock ---


def test_now_grows_and_counts_the_time_in_which_the_machine_is_suspended() -> None:
    clock = Clock()
    before, first, second = time.clock_gettime(time.CLOCK_BOOTTIME), clock.now(), clock.now()
    assert before <= first <= second <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_wall_is_the_time_since_1970() -> None:
    before, wall, after = time.time(), Clock().wall(), time.time()
    assert before <= wall <= after


def test_two_clocks_agree_on_the_boot() -> None:
    assert Clock().boot_id == Clock().boot_id
    assert len(Clock().boot_id) > 8


def test_without_a_boot_id_each_start_is_another_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> str:
        raise FileNotFoundError(path)

    def started_again() -> Clock:
        _boot_id.cache_clear()
        return Clock()

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    try:
        assert started_again().boot_id != started_again().boot_id
    finally:
        _boot_id.cache_clear()


# --- events ---

MAKERS = pytest.mark.parametrize("make", [Clock, ManualClock])


@MAKERS
def test_a_flag_that_is_set_ends_the_wait_and_stays_until_it_is_cleared(
    make: Callable[[], Clock],
) -> None:
    event = make().event()
    assert not event.is_set()
    event.set()
    event.set()
    assert event.is_set()
    assert event.wait()
    assert event.wait(0)
    event.clear()
    assert not event.is_set()
    assert not event.wait(0)


@MAKERS
def test_set_wakes_all_that_wait_with_a_timeout_or_without(make: Callable[[], Clock]) -> None:
    event = make().event()
    waiting = [Waiting(event, timeout) for timeout in (None, PATIENCE)]
    event.set()
    assert [each.result() for each in waiting] == [True, True]


@MAKERS
@pytest.mark.parametrize("timeout", [0, -1, -1e9])
def test_no_time_is_no_wait(make: Callable[[], Clock], timeout: float) -> None:
    assert make().event().wait(timeout) is False


def test_a_real_wait_ends_after_its_timeout() -> None:
    event, begun = Clock().event(), time.monotonic()
    assert event.wait(0.02) is False
    assert 0.015 < time.monotonic() - begun < PATIENCE


@MAKERS
def test_no_wake_up_is_lost_between_two_threads(make: Callable[[], Clock]) -> None:
    clock = make()
    ping, pong = clock.event(), clock.event()
    rounds = 2000

    def answer() -> None:
        for _ in range(rounds):
            assert ping.wait(PATIENCE)
            ping.clear()
            pong.set()

    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    for _ in range(rounds):
        ping.set()
        assert pong.wait(PATIENCE)
        pong.clear()
    answering.join(PATIENCE)
    assert not answering.is_alive()


# --- the manual clock ---


def test_it_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(now=5.0, wall=100.0)
    assert (clock.now(), clock.wall()) == (5.0, 100.0)
    clock.advance(2.5)
    assert (clock.now(), clock.wall()) == (7.5, 102.5)


def test_the_wall_clock_jumps_alone() -> None:
    clock = ManualClock(now=5.0, wall=100.0)
    clock.jump_wall(-60)
    assert (clock.now(), clock.wall()) == (5.0, 40.0)


class Ticking(ManualClock):
    """Tells of each look at it, which is how a test knows that a wait has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = threading.Semaphore(0)

    def now(self) -> float:
        self.looks.release()
        return super().now()

    def looked(self) -> None:
        assert self.looks.acquire(timeout=PATIENCE)


def test_a_wait_ends_when_its_time_has_come_and_not_before() -> None:
    clock = Ticking()
    waiting = Waiting(clock.event(), 10.0)
    clock.looked()  # for its deadline
    clock.looked()  # not over yet
    clock.advance(9.75)
    clock.looked()
    assert not waiting.over
    clock.advance(0.25)
    assert waiting.result() is False


def test_one_step_ends_all_waits_that_it_passes() -> None:
    clock = Ticking()
    waiting = [Waiting(clock.event(), seconds) for seconds in (1.0, 2.0, 3.0)]
    for _ in range(2 * len(waiting)):
        clock.looked()
    clock.advance(3.0)
    assert [each.result() for each in waiting] == [False, False, False]


def test_small_steps_add_up() -> None:
    clock = Ticking()
    waiting = Waiting(clock.event(), 1.0)
    clock.looked()
    for _ in range(1024):
        clock.advance(1 / 1024)
    assert waiting.result() is False


def test_a_wait_without_a_timeout_does_not_follow_the_clock() -> None:
    clock = ManualClock()
    event = clock.event()
    waiting = Waiting(event)
    clock.advance(1e9)
    assert not waiting.over
    event.set()
    assert waiting.result() is True


def test_a_step_that_falls_into_the_beginning_of_a_wait_is_not_lost() -> None:
    clock = Ticking()
    for _ in range(500):
        waiting = Waiting(clock.event(), 1.0)
        clock.looked()  # it knows its deadline; whether it sleeps already, nobody knows
        clock.advance(1.0)
        assert waiting.result() is False
        while clock.looks.acquire(blocking=False):
            pass


def test_a_wait_that_the_test_forgets_is_an_error_and_no_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("labnode.clock._REAL_LIMIT", 0.01)
    with pytest.raises(AssertionError, match="never ended by the test"):
        ManualClock().event().wait(5.0)


def test_events_that_nobody_holds_are_forgotten() -> None:
    event = ManualClock().event()
    event.wait(0)
    forgotten = weakref.ref(event)
    del event
    assert forgotten() is None


def test_a_thread_at_one_thing_for_too_long_is_told_until_it_ends() -> None:
    clock = ManualClock()
    turn = Turn(clock, "store")
    assert turn.fault() is None
    with turn:
        clock.advance(30)
        assert turn.fault() is None
        clock.advance(0.1)
        assert turn.fault() == "the thread store has been at one thing for 30 s"
    assert turn.fault() is None


@pytest.mark.parametrize("wall", [0, 1_800_000_000.25, 4_000_000_000])
def test_a_moment_after_2038_is_had_on_every_system(wall: float) -> None:
    """A 32-bit system has no function of its own for it."""
    seconds = (utc(wall) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    assert seconds == wall
    assert local(wall) == utc(wall)


def test_a_system_that_knows_no_time_zone_after_2038_says_it_in_utc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Of32Bits(datetime):
        def astimezone(self, tz: object = None) -> NoReturn:
            raise OverflowError("timestamp out of range for platform time_t")

    monkeypatch.setattr("labnode.clock._EPOCH", Of32Bits(1970, 1, 1, tzinfo=UTC))
    assert local(4_000_000_000).isoformat() == "2096-10-02T07:06:40+00:00"
