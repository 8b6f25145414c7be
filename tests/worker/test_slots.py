"""Slots: how many threads of the request pool may wait, so that others can still answer."""

from __future__ import annotations

import pytest

from labnode.errors import Busy

from .rig import PATIENCE, WorkerRig

two_slots = pytest.mark.parametrize("rig", [{"slots": 2}], indirect=True)


@two_slots
def test_who_finds_no_slot_is_busy_at_once(rig: WorkerRig) -> None:
    signal = rig.worker.signal()
    waiting = [rig.go(lambda: rig.worker.wait_for(signal, 100)).waits() for _ in range(2)]
    error = rig.go(lambda: rig.worker.wait_for(signal, 100)).error(Busy)
    assert "Too many requests" in str(error)
    rig.go(lambda: rig.worker.call(rig.board.heat)).error(Busy)
    assert not rig.board.heater
    signal.set()
    assert [s.result() for s in waiting] == [True, True]


@two_slots
def test_who_has_a_slot_keeps_it_for_the_waits_inside(rig: WorkerRig) -> None:
    def nested() -> bool:
        with rig.worker.slot(), rig.worker.slot():
            return rig.worker.call(rig.board.heat)

    with rig.worker.slot():
        assert rig.go(nested).result() is True
        assert rig.worker.call(rig.board.heat) is True


@two_slots
def test_a_slot_is_free_again_after_an_error(rig: WorkerRig) -> None:
    def fail() -> None:
        with rig.worker.slot(), rig.worker.slot():
            raise KeyError

    for _ in range(5):
        with pytest.raises(KeyError):
            fail()
        rig.go(fail).error(KeyError)
    with rig.worker.slot():
        assert rig.go(lambda: rig.worker.call(rig.board.heat)).result() is True


@two_slots
def test_a_slot_is_free_again_after_a_timeout(rig: WorkerRig) -> None:
    gate = rig.gate()
    job = rig.job(lambda: gate.wait(PATIENCE))
    for _ in range(3):
        calls = [rig.go(lambda: rig.worker.call(rig.board.heat)).waits() for _ in range(2)]
        rig.manual.advance(5)
        for call in calls:
            call.error(Busy)
    gate.set()
    job.result()


@pytest.mark.parametrize("rig", [{"slots": 1}], indirect=True)
def test_the_workers_own_threads_need_no_slot(rig: WorkerRig) -> None:
    results: list[bool] = []
    done = rig.worker.signal()

    def chore() -> None:
        results.append(rig.worker.call(rig.board.heat))
        done.set()

    with rig.worker.slot():
        rig.background_jobs.append(chore)
        rig.worker.wake_background()
        assert rig.worker.wait_for(done, 100)
        assert rig.job(lambda: rig.worker.wait_for(done, 100)).ends().result() is True
    assert results == [True]
