"""Calls from other threads: in time, once, or not at all."""

from __future__ import annotations

import threading

import pytest

from labnode import context
from labnode.errors import Busy, DeviceError, TooLate
from tests.kit.rig import WorkerRig
from tests.kit.waiting import PATIENCE


def test_a_call_runs_on_the_hardware_thread_and_hands_back_its_result(rig: WorkerRig) -> None:
    assert rig.go(lambda: rig.worker.call(rig.board.heat)).result() is True
    assert rig.board.heater


def test_a_call_that_raises_hands_the_exception_back_and_the_thread_lives_on(
    rig: WorkerRig,
) -> None:
    def fail() -> None:
        raise DeviceError("the heater is gone")

    failed = rig.go(lambda: rig.worker.call(fail)).raises(DeviceError)
    assert str(failed) == "the heater is gone"
    assert rig.worker.call(rig.board.heat) is True


def test_sys_exit_in_a_call_ends_neither_the_thread_nor_the_caller(rig: WorkerRig) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(Exception, match="SystemExit"):
        rig.worker.call(leave)
    assert rig.worker.call(rig.board.heat) is True
    assert rig.worker.fault() is None


def test_a_call_is_busy_after_its_timeout_and_never_runs_afterwards(rig: WorkerRig) -> None:
    gate = rig.gate()
    job = rig.job(lambda: gate.wait(PATIENCE))
    call = rig.go(lambda: rig.worker.call(rig.board.heat)).waits()
    rig.manual.advance(4.9)
    assert not call.answered
    rig.manual.advance(0.2)
    assert "did not answer in time" in str(call.raises(Busy))
    gate.set()
    job.result()
    rig.worker.call(lambda: None)  # everything before this one has had its turn
    assert not rig.board.heater


def test_a_call_whose_deadline_has_passed_never_runs(rig: WorkerRig) -> None:
    gate = rig.gate()
    job = rig.job(lambda: gate.wait(PATIENCE))
    deadline = rig.manual.now() + 3
    call = rig.go(lambda: rig.worker.call(rig.board.heat, deadline)).waits()
    rig.manual.advance(3.1)  # as when the whole process was stopped: nobody was told of the time
    gate.set()
    job.result()
    assert "too late" in str(call.raises(TooLate))
    assert not rig.board.heater
    assert rig.go(lambda: rig.worker.call(rig.board.heat, deadline + 1)).result() is True


def test_a_call_that_waits_goes_on_no_longer_than_its_caller(rig: WorkerRig) -> None:
    begun, waited = threading.Event(), list[bool]()

    def wait() -> None:
        begun.set()
        waited.append(rig.worker.pause(1000))

    call = rig.go(lambda: rig.worker.call(wait)).waits()
    assert begun.wait(PATIENCE)
    rig.manual.advance(5.1)
    assert "still working on this" in str(call.raises(Busy))
    assert rig.worker.call(rig.board.heat) is True  # the board is free for others
    assert waited == [False]


def test_a_call_that_has_begun_when_its_time_is_over_is_busy_too(rig: WorkerRig) -> None:
    gate, begun = rig.gate(), threading.Event()

    def slow() -> None:
        begun.set()
        gate.wait(PATIENCE)

    call = rig.go(lambda: rig.worker.call(slow))
    assert begun.wait(PATIENCE)
    call.waits()
    rig.manual.advance(5)
    assert "still working" in str(call.raises(Busy))


def test_a_call_is_served_while_a_job_waits(rig: WorkerRig) -> None:
    job = rig.job(lambda: rig.worker.pause(60))
    rig.rests()
    assert rig.worker.call(rig.board.heat) is True
    rig.manual.advance(60)
    assert job.result() is True


def test_a_call_is_served_while_a_hook_waits(rig: WorkerRig) -> None:
    hook = rig.hook(lambda: rig.worker.pause(60)).begins()
    rig.rests()
    assert rig.worker.call(rig.board.heat) is True
    rig.manual.advance(60)
    assert hook.ends() is None


def test_a_call_made_in_a_call_runs_at_once(rig: WorkerRig) -> None:
    assert rig.worker.call(lambda: rig.worker.call(rig.board.heat)) is True


def test_calls_do_not_nest_when_one_of_them_waits(rig: WorkerRig) -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow begins")
        rig.worker.pause(3)
        order.append("slow ends")

    first = rig.go(lambda: rig.worker.call(slow)).waits()
    rig.rests()
    second = rig.go(lambda: rig.worker.call(lambda: order.append("second"))).waits()
    rig.rests()
    rig.manual.advance(3)
    first.result()
    second.result()
    assert order == ["slow begins", "slow ends", "second"]


def test_what_comes_while_a_queued_function_waits_is_served_right_after_it(rig: WorkerRig) -> None:
    rig.worker.queue(lambda: rig.worker.pause(3) and None)
    rig.rests()
    call = rig.go(lambda: rig.worker.call(rig.board.heat)).waits()
    rig.rests()  # the wake-up of the call is used up by the function that waits
    rig.manual.advance(3)
    assert call.result() is True


def test_posted_functions_that_raise_do_not_kill_the_thread(
    rig: WorkerRig, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("an edge too many")

    def gone() -> None:
        raise DeviceError("the lid is gone")

    def leave() -> None:
        raise SystemExit

    for function in (fail, gone, leave):
        rig.worker.post(function)
    assert rig.worker.call(rig.board.heat) is True
    assert "an edge too many" in caplog.text
    assert "the lid is gone" in caplog.text
    assert rig.worker.fault() is None


def test_a_flood_of_calls_does_not_keep_a_job_from_its_turn(rig: WorkerRig) -> None:
    over = rig.gate()

    def again() -> None:
        if not over.is_set():
            rig.worker.post(again)

    rig.worker.post(again)
    assert rig.job(rig.board.heat).result() is True
    over.set()


def test_a_call_has_the_user_of_its_caller(rig: WorkerRig) -> None:
    with context.acting(user="ada"):
        assert rig.worker.call(context.current_user.get) == "ada"
    assert rig.worker.call(context.current_user.get) is None


def test_a_call_to_a_node_that_has_stopped_is_busy_at_once() -> None:
    rig = WorkerRig()
    rig.start()
    rig.close()
    with pytest.raises(Busy, match="stopping"):
        rig.worker.call(rig.board.heat)


def test_calls_that_wait_when_the_node_stops_are_told_at_once() -> None:
    rig = WorkerRig()
    rig.start()
    gate = rig.gate()
    rig.job(lambda: gate.wait(PATIENCE))
    calls = [rig.go(lambda: rig.worker.call(rig.board.heat)).waits() for _ in range(3)]
    stop = rig.go(lambda: rig.worker.stop(PATIENCE))
    gate.set()
    assert stop.result()
    for call in calls:
        assert "stopping" in str(call.raises(Busy))  # and no second has passed
    assert not rig.board.heater


def test_a_post_to_a_node_that_has_stopped_is_forgotten() -> None:
    rig = WorkerRig()
    rig.start()
    rig.close()
    rig.worker.post(rig.board.heat)
    assert not rig.board.heater


def test_what_is_posted_is_done_even_while_a_call_waits(rig: WorkerRig) -> None:
    begun, heated = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        rig.worker.pause(1000, heated.is_set)

    call = rig.go(lambda: rig.worker.call(wait))
    assert begun.wait(PATIENCE)
    rig.worker.post(heated.set)  # an edge of a pin, say, which an interlock looks at
    call.result()


def test_what_is_posted_and_fails_harms_nobody(rig: WorkerRig) -> None:
    rig.worker.post(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert rig.worker.call(rig.board.heat) is True
    assert rig.worker.fault() is None
