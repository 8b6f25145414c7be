from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from labnode.drivers.framework.io_thread import IoLoop, IoThread
from labnode.errors import Busy
from tests.kit.waiting import eventually

from .conftest import Bench

PATIENCE = 5.0


@pytest.fixture
def io(bench: Bench) -> Iterator[IoThread]:
    io = IoThread("temp", bench)  # type: ignore[arg-type]
    io.start()
    yield io
    io.stop()


class Heard:
    """What the hardware thread was told."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.errors: list[Exception] = []

    def done(self, result: Any) -> None:
        self.results.append(result)

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


@pytest.fixture
def heard() -> Heard:
    return Heard()


# --- jobs ---


def test_a_job_runs_on_the_thread_of_its_device(io: IoThread, bench: Bench, heard: Heard) -> None:
    io.submit(lambda: threading.current_thread().name, heard.done, heard.failed)
    eventually(lambda: bench.posted)
    assert heard.results == []  # not before the hardware thread takes it
    bench.serve()
    assert heard.results == ["io-temp"]


def test_what_a_job_raises_is_told(io: IoThread, bench: Bench, heard: Heard) -> None:
    io.submit(lambda: 1 / 0, heard.done, heard.failed)
    eventually(lambda: bench.posted)
    bench.serve()
    assert [type(error) for error in heard.errors] == [ZeroDivisionError]
    assert heard.results == []


def test_one_job_runs_one_waits_and_a_third_is_refused(
    io: IoThread, bench: Bench, heard: Heard
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        go_on.wait(PATIENCE)
        return "slow"

    io.submit(slow, heard.done, heard.failed)
    assert begun.wait(PATIENCE)
    io.submit(lambda: "second", heard.done, heard.failed)
    with pytest.raises(Busy, match="'temp' is still busy"):
        io.submit(lambda: "third", heard.done, heard.failed)
    go_on.set()
    eventually(lambda: len(bench.posted) == 2)
    bench.serve()
    assert heard.results == ["slow", "second"]


def test_a_repeated_job_runs_at_once_and_then_in_its_rhythm(
    io: IoThread, bench: Bench, heard: Heard
) -> None:
    times: list[float] = []

    def read() -> float:
        times.append(bench.clock.now())
        return times[-1]

    start = bench.clock.now()
    io.repeat(5, read, heard.done, heard.failed)
    eventually(lambda: len(bench.posted) == 1)
    bench.clock.advance(4)
    bench.clock.advance(1)
    eventually(lambda: len(bench.posted) == 2)
    bench.clock.advance(5)
    eventually(lambda: len(bench.posted) == 3)
    assert times == [start, start + 5, start + 10]


def test_a_repeated_job_that_took_too_long_is_not_made_up_for(
    io: IoThread, bench: Bench, heard: Heard
) -> None:
    begun, go_on = threading.Event(), threading.Semaphore(0)
    runs: list[float] = []

    def slow() -> None:
        runs.append(bench.clock.now())
        begun.set()
        go_on.acquire(timeout=PATIENCE)

    io.repeat(1, slow, heard.done, heard.failed)
    assert begun.wait(PATIENCE)
    bench.clock.advance(10)
    go_on.release()
    eventually(lambda: len(runs) == 2)
    go_on.release()
    eventually(lambda: len(bench.posted) == 2)
    io.submit(lambda: None, heard.done, heard.failed)
    eventually(lambda: len(bench.posted) == 3)
    assert len(runs) == 2


def test_a_repeated_job_that_fails_is_repeated(io: IoThread, bench: Bench, heard: Heard) -> None:
    io.repeat(1, lambda: 1 / 0, heard.done, heard.failed)
    eventually(lambda: len(bench.posted) == 1)
    bench.clock.advance(1)
    eventually(lambda: len(bench.posted) == 2)


def test_a_job_that_was_asked_for_goes_before_the_repeated_one(
    io: IoThread, bench: Bench, heard: Heard
) -> None:
    io.repeat(60, lambda: "again", heard.done, heard.failed)
    eventually(lambda: bench.posted)
    io.submit(lambda: "once", heard.done, heard.failed)
    eventually(lambda: len(bench.posted) == 2)
    bench.serve()
    assert heard.results == ["again", "once"]


def test_nothing_arrives_after_the_stop(io: IoThread, bench: Bench, heard: Heard) -> None:
    io.submit(lambda: 1, heard.done, heard.failed)
    eventually(lambda: bench.posted)
    assert io.stop()
    bench.serve()
    assert heard.results == []


def test_a_thread_that_was_never_started_can_be_stopped(bench: Bench) -> None:
    assert IoThread("temp", bench).stop()  # type: ignore[arg-type]


def test_the_stop_does_not_wait_for_a_device_that_hangs(
    io: IoThread, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    io.submit(hang, heard.done, heard.failed)
    assert begun.wait(PATIENCE)
    assert not io.stop(0.01)
    assert "io-temp still waits for its device" in caplog.text
    go_on.set()


# --- loops over a descriptor ---


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


class Echo:
    """A loop that takes what comes and notes its wake-ups."""

    def __init__(self, bench: Bench, descriptor: int) -> None:
        self.io = IoLoop("console", bench, self.run)  # type: ignore[arg-type]
        self.descriptor = descriptor
        self.heard: list[bytes] = []
        self.wakes = 0

    def run(self) -> None:
        while not self.io.stopping:
            readable, _ = self.io.wait(reading=[self.descriptor])
            if readable:
                self.heard.append(os.read(self.descriptor, 100))
            else:
                self.wakes += 1


@pytest.fixture
def echo(bench: Bench, pipe: tuple[int, int]) -> Iterator[Echo]:
    echo = Echo(bench, pipe[0])
    echo.io.start()
    yield echo
    echo.io.stop()


def test_a_loop_wakes_when_something_can_be_read(echo: Echo, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"hello")
    eventually(lambda: echo.heard == [b"hello"])


def test_a_loop_wakes_when_it_is_woken(echo: Echo) -> None:
    for number in range(1, 4):
        echo.io.wake()
        eventually(lambda number=number: echo.wakes == number)


def test_wakes_that_come_together_are_one(echo: Echo) -> None:
    for _ in range(100_000):  # more than a pipe takes
        echo.io.wake()
    assert echo.io.stop()


def test_a_loop_can_be_woken_after_its_end(echo: Echo) -> None:
    assert echo.io.stop()
    echo.io.wake()


def test_a_wait_ends_after_its_time(bench: Bench) -> None:
    seen: list[Any] = []
    io = IoLoop("console", bench, lambda: seen.append(io.wait(0.001)))  # type: ignore[arg-type]
    io.start()
    eventually(lambda: seen == [(set(), set())])
    assert io.stop()


def test_a_loop_sees_what_can_be_written_and_what_has_ended(
    bench: Bench, pipe: tuple[int, int]
) -> None:
    seen: list[Any] = []
    other = os.pipe()
    os.close(other[1])
    io = IoLoop(
        "console",
        bench,  # type: ignore[arg-type]
        lambda: seen.append(io.wait(None, reading=[other[0]], writing=[pipe[1]])),
    )
    io.start()
    eventually(lambda: seen)
    assert io.stop()
    os.close(other[0])
    assert seen == [({other[0]}, {pipe[1]})]


def test_a_loop_that_dies_is_told_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def die() -> None:
        raise RuntimeError("broken")

    io = IoLoop("console", bench, die)  # type: ignore[arg-type]
    io.start()
    assert io.stop()
    assert "io-console has died of a fault" in caplog.text
