"""The hardware thread: opens, polls and closes the board, and is missed when it is gone."""

from __future__ import annotations

import threading

import pytest

from labnode.clock import Clock
from labnode.errors import DeviceError, TooLate
from tests.kit.rig import WorkerRig
from tests.kit.waiting import PATIENCE, eventually


def test_a_board_that_does_not_open_fails_the_start_with_its_own_error() -> None:
    rig = WorkerRig()

    def fail() -> None:
        raise DeviceError("the heater is not there")

    rig.board.opening = fail
    with pytest.raises(DeviceError, match="not there"):
        rig.start()
    assert not rig.hardware.is_alive()
    assert rig.board.closed == 0
    assert not [t for t in threading.enumerate() if t.name.startswith("background")]
    rig.close()


def test_a_board_that_takes_for_ever_to_open_fails_the_start() -> None:
    rig = WorkerRig(Clock(), hung_after=0.05)
    gate = rig.gate()
    rig.board.opening = lambda: gate.wait(PATIENCE)
    with pytest.raises(TooLate, match="did not open"):
        rig.start()
    rig.close()
    assert rig.board.closed == 1


def test_stop_before_start_and_stop_twice_are_fine() -> None:
    rig = WorkerRig()
    assert rig.worker.stop(PATIENCE)
    rig = WorkerRig()
    rig.start()
    assert rig.worker.stop(PATIENCE)
    assert rig.worker.stop(PATIENCE)
    assert rig.board.closed == 1


def test_stop_closes_the_board_although_closing_fails(caplog: pytest.LogCaptureFixture) -> None:
    rig = WorkerRig()
    rig.start()
    rig.worker.call(rig.board.heat)

    def fail() -> None:
        raise DeviceError("the chip does not close")

    rig.board.closing = fail
    assert rig.worker.stop(PATIENCE)
    assert not rig.board.heater
    assert "the chip does not close" in caplog.text


def test_stop_says_so_when_a_thread_does_not_end() -> None:
    rig = WorkerRig(Clock())
    rig.start()
    gate = rig.gate()
    rig.job(lambda: gate.wait(PATIENCE))
    assert rig.worker.stop(0.05) is False
    rig.close()


def test_jobs_run_one_after_the_other_in_their_order(rig: WorkerRig) -> None:
    order: list[int] = []
    rig.jobs += [lambda n=n: order.append(n) for n in range(50)]  # type: ignore[misc]
    rig.worker.wake()
    rig.worker.call(lambda: None)
    rig.rests()
    assert order == list(range(50))


def test_a_wake_up_that_comes_while_the_thread_looks_is_not_lost(rig: WorkerRig) -> None:
    done = threading.Event()

    def poll() -> None:
        rig.board.polling = lambda: None
        rig.jobs.append(done.set)
        rig.worker.wake()

    rig.rests()
    rig.board.polling = poll
    rig.worker.wake()
    assert done.wait(PATIENCE)


def test_the_board_is_polled_when_it_says_and_while_a_job_waits(rig: WorkerRig) -> None:
    polls: list[float] = []

    def poll() -> float:
        polls.append(rig.clock.now())
        return 2.0

    rig.rests()
    rig.board.polling = poll
    rig.worker.wake()
    rig.rests()
    rig.manual.advance(2)
    rig.rests()
    job = rig.job(lambda: rig.worker.pause(3))
    rig.rests()
    polls.clear()
    rig.manual.advance(2)
    rig.rests()
    assert len(polls) == 1
    rig.manual.advance(1)
    assert job.result() is True


def test_an_idle_thread_does_not_turn(rig: WorkerRig) -> None:
    polls: list[None] = []
    rig.board.polling = lambda: polls.append(None)
    rig.worker.call(lambda: None)
    rig.rests()
    before = len(polls)
    rig.manual.advance(100_000)
    rig.rests()
    assert len(polls) == before


def test_a_poll_that_raises_neither_kills_the_thread_nor_ends_the_job_that_waits(
    rig: WorkerRig, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a poll went wrong")

    job = rig.job(lambda: rig.worker.pause(10))
    rig.rests()
    rig.board.polling = fail
    rig.worker.wake()
    rig.rests()
    rig.board.polling = lambda: None
    rig.manual.advance(10)
    assert job.result() is True
    assert "a poll went wrong" in caplog.text
    assert rig.worker.fault() is None


def test_a_poll_that_waits_is_not_begun_again_meanwhile_and_calls_are_served(
    rig: WorkerRig,
) -> None:
    polls: list[str] = []

    def poll() -> None:
        polls.append("begins")
        rig.worker.pause(0.75)
        polls.append("ends")
        rig.board.polling = lambda: None

    rig.rests()
    rig.board.polling = poll
    rig.worker.wake()
    eventually(lambda: polls)
    rig.rests()
    assert rig.worker.call(rig.board.heat) is True
    rig.rests()
    rig.manual.advance(0.75)
    rig.worker.call(lambda: None)
    assert polls == ["begins", "ends"]


def test_a_source_that_fails_is_asked_again_a_second_later(
    rig: WorkerRig, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def fail() -> None:
        raise OSError("the disk is full")

    working = rig.worker._hardware._source
    rig.worker._hardware._source = fail
    rig.worker.wake()
    eventually(lambda: "the disk is full" in caplog.text)
    rig.jobs.append(done.set)
    rig.worker._hardware._source = working
    rig.rests()
    rig.manual.advance(1)
    assert done.wait(PATIENCE)
    assert rig.worker.fault() is None


def test_a_hung_hardware_thread_is_a_fault_after_thirty_seconds(rig: WorkerRig) -> None:
    gate = rig.gate()
    job = rig.job(lambda: gate.wait(PATIENCE))
    rig.manual.advance(30)
    assert rig.worker.fault() is None
    rig.manual.advance(0.1)
    assert rig.worker.fault() == "the hardware thread had no turn for 30 s"
    gate.set()
    job.result()
    rig.rests()
    assert rig.worker.fault() is None


def test_a_thread_that_rests_or_waits_is_no_fault_however_long(rig: WorkerRig) -> None:
    rig.rests()
    rig.manual.advance(1e6)
    assert rig.worker.fault() is None
    job = rig.job(lambda: rig.worker.pause(1e6))
    rig.rests()
    rig.manual.advance(1e5)
    rig.rests()
    assert rig.worker.fault() is None
    rig.manual.advance(1e6)
    assert job.result() is True


def test_a_dead_hardware_thread_is_a_fault_that_says_why_it_died(
    rig: WorkerRig, caplog: pytest.LogCaptureFixture
) -> None:
    def die() -> None:
        raise MemoryError("no room")

    rig.jobs.append(die)
    rig.worker.wake()
    rig.hardware.join(PATIENCE)
    assert rig.worker.fault() == "the hardware thread has died (MemoryError('no room'))"
    assert "The hardware thread dies" in caplog.text
    assert rig.board.closed == 1


def test_there_is_no_fault_before_the_start_nor_after_the_stop() -> None:
    rig = WorkerRig()
    assert rig.worker.fault() is None
    rig.start()
    rig.close()
    assert rig.worker.fault() is None


def test_on_hardware_thread_is_true_there_alone_even_after_its_end() -> None:
    rig = WorkerRig()
    rig.start()
    assert rig.worker.call(lambda: rig.worker.on_hardware_thread) is True
    assert rig.worker.on_hardware_thread is False
    rig.close()
    others = [rig.go(lambda: rig.worker.on_hardware_thread) for _ in range(5)]  # idents come again
    assert [other.result() for other in others] == [False] * 5


def test_wait_for_on_the_hardware_thread_ends_when_the_node_stops(rig: WorkerRig) -> None:
    never = rig.worker.signal()
    job = rig.job(lambda: rig.worker.wait_for(never, None))
    rig.rests()
    assert rig.worker.stop(PATIENCE)
    assert job.result() is False


def test_wait_for_tells_whether_the_signal_came_in_time(rig: WorkerRig) -> None:
    signal = rig.worker.signal()
    late = rig.go(lambda: rig.worker.wait_for(signal, 3)).waits()
    rig.manual.advance(3)
    assert late.result() is False
    there = rig.go(lambda: rig.worker.wait_for(signal, 3)).waits()
    signal.set()
    assert there.result() is True
    assert rig.worker.call(lambda: rig.worker.wait_for(signal, 3)) is True


def test_a_call_does_not_wait_for_all_that_was_posted_before_it(rig: WorkerRig) -> None:
    ran = [0]
    asked = threading.Event()
    free = rig.gate()

    def post() -> None:
        ran[0] += 1

    def job() -> None:
        asked.set()
        free.wait(PATIENCE)

    going = rig.job(job)
    assert asked.wait(PATIENCE)
    for _ in range(1000):
        rig.worker.post(post)
    call = rig.go(lambda: rig.worker.call(lambda: ran[0])).waits()
    free.set()
    going.result()
    assert call.result() < 100
    eventually(lambda: ran[0] == 1000)


def test_posts_are_turns_for_the_watchdog(rig: WorkerRig) -> None:
    since: list[float | None] = []
    free = rig.gate()

    def post() -> None:
        since.append(rig.worker._hardware.busy_since)
        rig.manual.advance(1.0)

    going = rig.job(lambda: free.wait(PATIENCE))
    for _ in range(100):
        rig.worker.post(post)
    began = rig.clock.now()
    free.set()
    going.result()
    eventually(lambda: len(since) == 100)
    assert since[-1] is not None
    assert since[-1] > began + 50  # of the 100 s that they took


def test_a_job_does_not_wait_for_what_is_posted_without_end(rig: WorkerRig) -> None:
    over = rig.gate()

    def again() -> None:
        if not over.is_set():
            rig.worker.post(again)

    for _ in range(100):
        rig.worker.post(again)
    assert rig.job(lambda: "done").result() == "done"
    over.set()


def test_a_job_begins_after_what_was_posted_before_it(rig: WorkerRig) -> None:
    ran: list[int] = []
    free = rig.gate()
    first = rig.job(lambda: free.wait(PATIENCE))
    for number in range(100):
        rig.worker.post(lambda number=number: ran.append(number))  # type: ignore[misc]
    second: list[int] = []
    rig.jobs.append(lambda: second.append(len(ran)))
    free.set()
    first.result()
    eventually(lambda: second)
    assert second == [100]


def test_many_calls_in_one_turn_are_no_hang(rig: WorkerRig) -> None:
    begun, gate, late = threading.Event(), rig.gate(), list[float]()

    def first() -> None:
        begun.set()
        gate.wait(PATIENCE)

    def take_time() -> None:
        since = rig.worker.busy_since
        assert since is not None
        late.append(rig.clock.now() - since)
        rig.manual.advance(2)

    rig.worker.queue(first)
    assert begun.wait(PATIENCE)
    for _ in range(3):  # which the next turn finds all at once
        rig.worker.queue(take_time)
    gate.set()
    eventually(lambda: len(late) == 3)
    assert late == [0, 0, 0]
