"""The background threads: as many as there should be, and never too few that get on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from labnode.errors import Deadlock
from labnode.worker import background
from labnode.worker.background import Background
from tests.kit.waiting import PATIENCE


class Crew:
    """Background threads with jobs of their own."""

    def __init__(self, number: int) -> None:
        self.background = Background(number)
        self.jobs: list[Callable[[], None]] = []
        self.gates: list[threading.Event] = []
        self.background.start(lambda: self.jobs.pop(0) if self.jobs else None)

    def do(self, *jobs: Callable[[], None]) -> None:
        self.jobs += jobs
        self.background.wake()

    def gate(self) -> threading.Event:
        self.gates.append(threading.Event())
        return self.gates[-1]

    def names(self) -> list[str]:
        return sorted(t.name for t in self.background._threads.values())

    def stop(self) -> None:
        for gate in self.gates:
            gate.set()
        for thread in self.background.stop():
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew(2)
    yield crew
    crew.stop()


def test_each_job_runs_once_whoever_takes_it(crew: Crew) -> None:
    done: list[int] = []
    last = crew.gate()
    crew.do(*[lambda n=n: done.append(n) for n in range(200)], last.set)  # type: ignore[misc]
    assert last.wait(PATIENCE)
    assert sorted(done) == list(range(200))


def test_no_wake_up_is_lost_however_it_falls(crew: Crew) -> None:
    for _ in range(500):
        done = threading.Event()
        crew.do(done.set)
        assert done.wait(PATIENCE)


def test_a_job_that_raises_costs_no_thread(crew: Crew, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise SystemExit("no more")

    done = crew.gate()
    crew.do(fail, fail, fail, done.set)
    assert done.wait(PATIENCE)
    assert "no more" in caplog.text
    assert crew.names() == ["background-0", "background-1"]


@pytest.mark.parametrize("error", [OSError, SystemExit])
def test_a_source_that_fails_is_asked_again(
    crew: Crew,
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "_RETRY", 0.01)
    done, failures, working = crew.gate(), count(), crew.background._source

    def source() -> Callable[[], None] | None:
        if next(failures) < 5:
            raise error("the disk is full")
        return working()

    crew.background._source = source
    crew.do(done.set)
    assert done.wait(PATIENCE)
    assert "the disk is full" in caplog.text


def test_a_thread_that_waits_for_a_job_gives_its_place_to_another(crew: Crew) -> None:
    end = crew.gate()

    def nest(depth: int) -> None:
        if depth == 0:
            end.set()
            return
        crew.do(lambda: nest(depth - 1))
        with crew.background.away():
            assert end.wait(PATIENCE)

    crew.do(lambda: nest(20))
    assert end.wait(PATIENCE)


def test_the_number_of_threads_is_as_before_when_the_waits_are_over(crew: Crew) -> None:
    end, finished = crew.gate(), threading.Semaphore(0)

    def waits() -> None:
        with crew.background.away():
            end.wait(PATIENCE)
        finished.release()

    crew.do(*[waits] * 10, end.set)
    for _ in range(10):
        assert finished.acquire(timeout=PATIENCE)
    for _ in range(100):  # each that is one too many ends when it has no job, which it hears of
        if len(crew.names()) == 2:
            break
        heard = threading.Event()
        crew.do(heard.set)
        assert heard.wait(PATIENCE)
    assert len(crew.names()) == 2
    assert crew.background._places == 0


def test_not_more_work_at_a_time_than_there_are_places(crew: Crew) -> None:
    lock, working, most = threading.Lock(), 0, 0
    together = threading.Barrier(2)  # so that they overlap
    done = threading.Semaphore(0)

    def work() -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        together.wait(PATIENCE)
        with lock:
            working -= 1
        done.release()

    crew.do(*[work] * 40)
    for _ in range(40):
        assert done.acquire(timeout=PATIENCE)
    assert most == 2


def test_too_many_that_wait_are_a_deadlock_and_not_more_threads(crew: Crew) -> None:
    errors: list[Deadlock] = []
    end = crew.gate()

    def nest() -> None:
        crew.do(nest)
        try:
            with crew.background.away():
                end.wait(PATIENCE)
        except Deadlock as error:
            errors.append(error)
            crew.jobs.clear()
            end.set()

    crew.do(nest)
    assert end.wait(PATIENCE)
    assert "64 background tasks wait" in str(errors[0])


def test_stop_wakes_those_that_sleep_and_starts_no_more(crew: Crew) -> None:
    done, gate = crew.gate(), crew.gate()

    def waits() -> None:
        with crew.background.away():
            gate.wait(PATIENCE)
        done.set()

    crew.do(waits)
    crew.stop()
    assert done.is_set()
    assert crew.names() == []


def test_jobs_do_not_wait_beside_a_thread_that_sleeps() -> None:
    """Two threads see that one of them has to end; the other has to go on with the jobs."""
    crew = Crew(1)
    gate, back, done = crew.gate(), threading.Event(), crew.gate()
    both = threading.Barrier(2)
    interval = sys.getswitchinterval()

    def waits() -> None:
        with crew.background.away():
            gate.wait(PATIENCE)
        back.set()
        both.wait(PATIENCE)

    def releases() -> None:
        gate.set()
        assert back.wait(PATIENCE)  # from here on there is one thread too many
        both.wait(PATIENCE)

    try:
        sys.setswitchinterval(1e-6)  # so that the two look at the same time
        for _ in range(300):
            for event in (gate, back, done):
                event.clear()
            crew.do(waits, releases, done.set)
            assert done.wait(PATIENCE), "both threads sleep, and a job waits"
    finally:
        sys.setswitchinterval(interval)
        crew.stop()
