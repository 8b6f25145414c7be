"""Threads come when there is work, and one ends another's wait."""

from __future__ import annotations

import select
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labnode.threads import Pool, Waker
from tests.kit.waiting import PATIENCE, eventually


@pytest.fixture
def waker() -> Iterator[Waker]:
    waker = Waker()
    yield waker
    waker.close()


def is_readable(waker: Waker, seconds: float = 0) -> bool:
    return bool(select.select([waker.descriptor], [], [], seconds)[0])


def test_a_wait_ends_when_another_thread_wakes_it(waker: Waker) -> None:
    thread = threading.Thread(target=waker.wake)
    thread.start()
    assert is_readable(waker, 10)
    thread.join()


def test_many_wake_ups_are_one_and_never_block(waker: Waker) -> None:
    for _ in range(100_000):  # more than a pipe takes
        waker.wake()
    waker.heard()
    assert not is_readable(waker)


def test_what_comes_after_it_was_heard_is_heard_again(waker: Waker) -> None:
    waker.wake()
    waker.heard()
    waker.wake()
    assert is_readable(waker)


def test_after_its_end_it_wakes_nobody_and_may_end_again(waker: Waker) -> None:
    waker.close()
    waker.close()
    waker.wake()


# --- pools ---


class Work:
    """Jobs, each of which goes on until the test lets it end."""

    def __init__(self) -> None:
        self.served_by: dict[str, str] = {}
        self._begun: dict[str, threading.Event] = defaultdict(threading.Event)
        self._ends: dict[str, threading.Event] = defaultdict(threading.Event)

    def serve(self, job: str) -> None:
        self.served_by[job] = threading.current_thread().name
        self._begun[job].set()
        assert self._ends[job].wait(PATIENCE)

    def begins(self, *jobs: str) -> bool:
        return all(self._begun[job].wait(PATIENCE) for job in jobs)

    def end(self, *jobs: str) -> None:
        for job in jobs:
            self._ends[job].set()


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def make(work: Work) -> Iterator[Callable[..., Pool[str]]]:
    """Make pools that are closed at the end, with all their threads."""
    pools: list[Pool[str]] = []

    def make_one(**options: Any) -> Pool[str]:
        pools.append(Pool("crew", work.serve, **{"most": 3, "waiting": 2, **options}))
        return pools[-1]

    yield make_one
    for pool in pools:
        pool.take_waiting()
        threads = pool.close()
        work.end(*work.served_by)
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def free(pool: Pool[str], number: int) -> None:
    eventually(lambda: len(pool._free) == number, f"{number} threads have nothing to do")


def test_a_thread_comes_for_each_job_that_finds_none_free(
    make: Callable[..., Pool[str]], work: Work
) -> None:
    pool = make()
    assert pool._threads == {}
    assert pool.put("a")
    assert pool.put("b")
    assert work.begins("a", "b")
    assert work.served_by == {"a": "crew-1", "b": "crew-2"}


def test_the_thread_that_has_become_free_last_gets_the_next_job(
    make: Callable[..., Pool[str]], work: Work
) -> None:
    pool = make()
    assert pool.put("a")
    assert pool.put("b")
    assert work.begins("a", "b")
    for number, job in enumerate("ab", 1):
        work.end(job)
        free(pool, number)
    for job in "cd":  # one after the other: a single thread does both
        assert pool.put(job)
        assert work.begins(job)
        work.end(job)
        free(pool, 2)
    assert (work.served_by["c"], work.served_by["d"]) == ("crew-2", "crew-2")


def test_more_jobs_than_threads_wait_in_their_order_and_too_many_are_refused(
    make: Callable[..., Pool[str]], work: Work
) -> None:
    pool = make(most=1)
    assert [pool.put(job) for job in "abcd"] == [True, True, True, False]
    assert work.begins("a")
    assert list(work.served_by) == ["a"]
    work.end("a", "b", "c")
    assert work.begins("b", "c")
    assert list(work.served_by) == ["a", "b", "c"]


def test_threads_without_work_go_all_but_those_that_stay(
    make: Callable[..., Pool[str]], work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.threads._KEPT", 0.01)
    pool = make(least=1)
    pool.start()
    assert len(pool._threads) == 1
    jobs = ["a", "b", "c"]
    assert [pool.put(job) for job in jobs] == [True] * 3
    assert work.begins(*jobs)
    assert len(pool._threads) == 3
    work.end(*jobs)
    eventually(lambda: len(pool._threads) == 1, "two threads have gone")
    assert pool.dead() is None
    assert pool.put("d")
    assert work.begins("d")


def test_no_job_is_lost_to_a_thread_that_is_about_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labnode.threads._KEPT", 0.0)
    served = threading.Semaphore(0)
    pool: Pool[int] = Pool("crew", lambda _: served.release(), most=2, waiting=1000)
    for number in range(1000):
        assert pool.put(number)
    assert all(served.acquire(timeout=PATIENCE) for _ in range(1000))
    for thread in pool.close():
        thread.join(PATIENCE)


def test_a_thread_that_waits_keeps_nothing_of_its_jobs() -> None:
    class Job:
        pass

    served: list[weakref.ref[Job]] = []
    pool = Pool("crew", lambda job: served.append(weakref.ref(job)), most=1, waiting=2)
    for number in (1, 2):
        assert pool.put(Job())
        eventually(lambda number=number: len(served) == number and len(pool._free) == 1)
        assert served[-1]() is None
    for thread in pool.close():
        thread.join(PATIENCE)


def test_a_job_that_fails_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    served = threading.Semaphore(0)

    def serve(job: str) -> None:
        served.release()
        if job == "bad":
            raise SystemExit

    pool = Pool("crew", serve, most=1, waiting=2)
    for job in ("bad", "good"):
        assert pool.put(job)
    assert all(served.acquire(timeout=PATIENCE) for _ in range(2))
    assert "The thread crew-1 could not do something." in caplog.text
    for thread in pool.close():
        thread.join(PATIENCE)


def test_where_the_machine_has_no_thread_left_a_job_waits_for_one_of_the_others(
    make: Callable[..., Pool[str]], work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make()
    assert pool.put("a")
    assert work.begins("a")

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        assert pool.put("b")
        assert not make().put("c"), "it has no thread that could come to it"
    work.end("a")
    assert work.begins("b")
    assert work.served_by["b"] == "crew-1"


def test_after_the_close_what_waits_is_served_and_no_thread_stays(
    make: Callable[..., Pool[str]], work: Work
) -> None:
    pool = make(most=1, least=1)
    pool.start()
    for job in "ab":
        assert pool.put(job)
    assert work.begins("a")
    threads = pool.close()
    work.end("a", "b")
    for thread in threads:
        thread.join(PATIENCE)
    assert list(work.served_by) == ["a", "b"]
    assert pool._threads == {}
