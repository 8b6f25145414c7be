"""Hooks: the starts and clean-ups that nothing else may come between, and that always end."""

from __future__ import annotations

from labnode.errors import DeviceError, Stopped, TooLate
from tests.kit.rig import WorkerRig
from tests.kit.waiting import PATIENCE, eventually


def test_a_hook_runs_on_the_hardware_thread_and_tells_its_end(rig: WorkerRig) -> None:
    assert rig.hook(rig.board.heat).ends() is None
    assert rig.board.heater


def test_a_hook_hands_its_exception_to_its_owner(rig: WorkerRig) -> None:
    def fail() -> None:
        raise DeviceError("no heater")

    assert isinstance(rig.hook(fail).ends(), DeviceError)
    assert rig.worker.fault() is None


def test_sys_exit_in_a_hook_is_a_failure_like_others(rig: WorkerRig) -> None:
    def leave() -> None:
        raise SystemExit("enough")

    assert "enough" in str(rig.hook(leave).ends())
    assert rig.worker.call(rig.board.heat) is True


def test_hooks_and_jobs_run_one_after_the_other_hooks_first(rig: WorkerRig) -> None:
    order: list[str] = []
    gate = rig.gate()
    first = rig.job(lambda: gate.wait(PATIENCE))
    rig.jobs.append(lambda: order.append("job"))
    hooks = [rig.hook(lambda n=n: order.append(f"hook {n}")) for n in range(2)]
    gate.set()
    first.result()
    for hook in hooks:
        assert hook.ends() is None
    rig.rests()
    assert order == ["hook 0", "hook 1", "job"]


def test_no_job_and_no_other_hook_runs_while_a_hook_waits(rig: WorkerRig) -> None:
    order: list[str] = []
    hook = rig.hook(lambda: rig.worker.pause(10) and order.append("first")).begins()
    rig.rests()
    rig.jobs.append(lambda: order.append("job"))
    second = rig.hook(lambda: order.append("second"))
    rig.worker.call(lambda: None)
    rig.rests()
    assert order == []
    rig.manual.advance(10)
    assert hook.ends() is second.ends() is None
    rig.rests()
    assert order == ["first", "second", "job"]


def test_a_hook_that_is_asked_to_stop_sees_it_in_its_wait(rig: WorkerRig) -> None:
    seen: list[bool] = []
    hook = rig.hook(lambda: seen.append(rig.worker.pause(100))).begins()
    rig.rests()
    hook.hook.stopping = True
    rig.worker.wake()
    assert hook.ends() is None
    assert seen == [False]


def test_a_hook_that_does_not_look_at_its_wait_is_ended_some_seconds_later(rig: WorkerRig) -> None:
    waits = 0

    def careless() -> None:
        nonlocal waits
        while True:
            rig.worker.pause(1)
            waits += 1

    hook = rig.hook(careless).begins()
    rig.rests()
    hook.hook.stopping = True
    rig.worker.wake()
    eventually(lambda: waits > 2)  # it spins from now on, and others are served all the same
    assert rig.worker.call(rig.board.heat) is True
    rig.manual.advance(5.1)
    assert isinstance(hook.ends(), Stopped)


def test_a_hook_may_not_wait_beyond_its_limit(rig: WorkerRig) -> None:
    hook = rig.hook(lambda: rig.worker.pause(1000), limit=20).begins()
    rig.rests()
    rig.manual.advance(19)
    rig.rests()
    assert not hook.done.is_set()
    rig.manual.advance(1)
    error = hook.ends()
    assert isinstance(error, TooLate)
    assert "20 s" in str(error)


def test_the_limit_of_a_hook_is_for_all_its_waits_together(rig: WorkerRig) -> None:
    waits: list[bool] = []

    def often() -> None:
        while True:
            waits.append(rig.worker.pause(8))

    hook = rig.hook(often, limit=20).begins()
    for _ in range(3):
        rig.rests()
        rig.manual.advance(8)
    assert isinstance(hook.ends(), TooLate)
    assert waits == [True, True]


def test_a_call_that_waits_during_a_hook_has_nothing_to_do_with_its_limit(rig: WorkerRig) -> None:
    hook = rig.hook(lambda: rig.worker.pause(2), limit=2).begins()
    rig.rests()
    call = rig.go(lambda: rig.worker.call(lambda: rig.worker.pause(3))).waits()
    rig.rests()
    rig.manual.advance(3)
    assert call.result() is True
    assert hook.ends() is None


def test_a_hook_that_waits_is_woken_when_the_node_stops(rig: WorkerRig) -> None:
    seen: list[bool] = []
    hook = rig.hook(lambda: seen.append(rig.worker.pause(100))).begins()
    rig.rests()
    assert rig.worker.stop(PATIENCE)
    assert hook.ends() is None
    assert seen == [False]
    assert rig.board.closed == 1


def test_a_hook_that_goes_on_waiting_when_the_node_stops_is_ended(rig: WorkerRig) -> None:
    def careless() -> None:
        while True:
            rig.worker.pause(1)

    hook = rig.hook(careless).begins()
    rig.rests()
    stop = rig.go(lambda: rig.worker.stop(1e6))  # the clock below runs away
    eventually(lambda: rig.worker.stopping)
    eventually(lambda: stop.answered or rig.manual.advance(0.5))
    assert stop.result()
    assert isinstance(hook.ends(), Stopped)


def test_a_hook_that_is_withdrawn_before_it_begins_never_runs(rig: WorkerRig) -> None:
    ran: list[str] = []
    gate = rig.gate()
    job = rig.job(lambda: gate.wait(PATIENCE))
    withdrawn = rig.hook(lambda: ran.append("withdrawn"))
    following = rig.hook(lambda: ran.append("following"))
    rig.worker.withdraw(withdrawn.hook)
    gate.set()
    job.result()
    assert following.ends() is None
    assert ran == ["following"]
    assert not withdrawn.done.is_set()


def test_a_hook_that_is_withdrawn_after_it_began_is_asked_to_stop(rig: WorkerRig) -> None:
    waited: list[bool] = []
    hook = rig.hook(lambda: waited.append(rig.worker.pause(100))).begins()
    rig.rests()
    rig.worker.withdraw(hook.hook)
    assert hook.ends() is None
    assert waited == [False]


def test_a_hook_that_has_ended_can_be_withdrawn(rig: WorkerRig) -> None:
    hook = rig.hook(rig.board.heat)
    assert hook.ends() is None
    rig.worker.withdraw(hook.hook)
    assert rig.hook(lambda: None).ends() is None
