"""lab.devices: commands by name, and which of them still reach the hardware."""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable

import pytest

from labnode.errors import BadInput, Busy, LabnodeError, NotFound, SessionOver
from labnode.lab import Lab
from labnode.sessions import Reason, State
from tests.kit.clock import WatchedClock
from tests.kit.node import SAFE, SmallNode
from tests.kit.waiting import PATIENCE

Boot = Callable[..., SmallNode]


def test_a_device_is_an_attribute_or_a_key(node: SmallNode, lab: Lab) -> None:
    lab.devices.switch.on()
    assert lab.devices["switch"].value is True
    assert lab.devices.lamp.state == {"value": True}
    assert list(lab.devices) == ["switch", "lamp", "dimmer", "heater"]
    assert "switch" in lab.devices
    assert "swich" not in lab.devices
    assert repr(lab.devices.switch) == "<Device switch True>"


def test_a_device_that_is_not_there_is_named(node: SmallNode, lab: Lab) -> None:
    with pytest.raises(AttributeError, match="'swich'"):
        _ = lab.devices.swich
    with pytest.raises(NotFound, match="'swich'"):
        _ = lab.devices["swich"]
    assert not hasattr(lab.devices, "__nothing__")


def test_a_command_that_is_not_there_is_named(node: SmallNode, lab: Lab) -> None:
    with pytest.raises(AttributeError, match="'lamp' has no command 'on'"):
        lab.devices.lamp.on()
    with pytest.raises(NotFound, match="'lamp' has no command 'on'"):
        lab.devices.lamp.command("on")


def test_arguments_come_by_place_or_by_name(node: SmallNode, lab: Lab) -> None:
    lab.devices.dimmer.set(0.25)
    assert lab.devices.dimmer.value == 0.25
    lab.devices.dimmer.set(value=0.5)
    assert lab.devices.dimmer.value == 0.5
    lab.devices.dimmer.command("set", {"value": 0.75})
    assert lab.devices.dimmer.value == 0.75
    lab.devices.dimmer.command("set", [1])
    assert lab.devices.dimmer.value == 1


def test_wrong_arguments_are_refused_and_change_nothing(node: SmallNode, lab: Lab) -> None:
    dimmer = lab.devices.dimmer
    for call in (
        dimmer.set,
        lambda: dimmer.set("x"),
        lambda: dimmer.set(2),
        lambda: dimmer.set(0.5, 0.5),
        lambda: dimmer.set(0.5, value=0.5),
        lambda: dimmer.set(0.5, speed=1),
        lambda: dimmer.set(0.5, 0.5, speed=1),
        lambda: dimmer.set(speed=1),
    ):
        with pytest.raises(BadInput, match=r"dimmer\.set"):
            call()
    assert dimmer.value == 0


def test_a_device_can_be_copied(node: SmallNode, lab: Lab) -> None:
    copy.copy(lab.devices.switch).on()
    assert copy.copy(lab.devices).switch.value is True


def test_without_a_node_there_are_no_devices() -> None:
    with pytest.raises(LabnodeError, match="no running node"):
        _ = Lab().devices


def test_reading_does_not_wait_for_the_hardware(
    node: SmallNode, lab: Lab, clock: WatchedClock
) -> None:
    session = node.connected()
    free = clock.event()
    node.worker.post(free.wait)
    assert node.run_as(session, lambda: lab.devices.switch.value) is False
    free.set()


# ---------------------------------------------------------------------- after the end


def test_a_view_that_comes_after_the_end_is_refused(node: SmallNode, lab: Lab) -> None:
    session = node.connected()
    node.delete(session)
    with pytest.raises(SessionOver):
        node.run_as(session, lab.devices.switch.on)
    assert node.values() == SAFE


def test_a_call_that_waited_for_longer_than_its_session_lasted_is_refused(
    node: SmallNode, lab: Lab, clock: WatchedClock
) -> None:
    session = node.connected()
    free = clock.event()
    node.worker.post(free.wait)
    view = node.ask(lambda: node.run_as(session, lab.devices.switch.on))
    assert not view.answered
    node.sessions.end(session, Reason.EXITED)
    free.set()
    node.turn()
    assert isinstance(view.answer, SessionOver)
    assert node.values() == SAFE


def test_a_call_of_the_session_before_does_not_reach_the_next_one(
    node: SmallNode, lab: Lab
) -> None:
    before = node.connected()
    after = node.connected()
    with pytest.raises(SessionOver):
        node.run_as(before, lab.devices.switch.on)
    node.run_as(after, lab.devices.switch.on)
    assert node.values()["switch"] is True


def test_nobody_reaches_the_hardware_while_the_board_is_made_ready(boot: Boot, lab: Lab) -> None:
    lab.on_start(lambda client, server: lab.wait(3))
    node = boot()
    starting = node.ask_start()
    (session,) = node.sessions.live()
    with pytest.raises(SessionOver):
        node.run_as(session, lab.devices.switch.on)
    node.advance(3)
    node.run_as(starting.session, lab.devices.switch.on)


def test_nor_while_it_is_cleaned(boot: Boot, lab: Lab) -> None:
    lab.on_dispose(lambda: lab.wait(3))
    node = boot()
    session = node.connected()
    node.ask_delete(session)
    with pytest.raises(SessionOver):
        node.run_as(session, lab.devices.switch.on)


def test_a_task_may_bring_its_work_to_an_end_until_the_devices_are_reset(
    boot: Boot, lab: Lab
) -> None:
    """A task in the background outlives on_dispose, but not with its hands on the hardware."""
    steps = {name: threading.Event() for name in ("first", "second")}
    done: queue.Queue[object] = queue.Queue()

    @lab.task
    def park() -> None:
        for step in steps.values():
            step.wait(10)
            try:
                done.put(lab.devices.dimmer.set(0.5))
            except SessionOver as error:
                done.put(error)

    lab.on_dispose(lambda: lab.wait(5))
    node = boot()
    session = node.connected()
    task = node.run_as(session, park.delay)
    node.until(lambda: task.retrieve().running)
    node.ask_delete(session)
    node.turn()
    steps["first"].set()
    assert not isinstance(done.get(timeout=PATIENCE), SessionOver)
    assert node.values()["dimmer"] == 0.5
    node.advance(5)
    assert session.state is State.DISPOSING  # the task is still there
    assert node.values() == SAFE
    steps["second"].set()
    node.until(lambda: session.state is State.DISPOSED)
    assert isinstance(done.get(timeout=PATIENCE), SessionOver)
    assert node.values() == SAFE


def test_a_task_on_the_hardware_thread_ends_before_the_clean_up(node: SmallNode, lab: Lab) -> None:
    diary = []

    @lab.task(unique="global")
    def heat() -> None:
        lab.current_task.wait(100)
        lab.devices.heater.off()
        diary.append("parked")

    lab.on_dispose(lambda: diary.append("dispose"))
    session = node.connected()
    node.run_as(session, heat.delay)
    node.settle()
    node.delete(session)
    assert diary == ["parked", "dispose"]
    assert node.values() == SAFE


def test_a_task_of_another_seat_is_not_disturbed(boot: Boot, lab: Lab) -> None:
    node = boot(users=2)
    one, two = node.connected(), node.connected()

    @lab.task(unique="user")
    def light() -> None:
        while lab.current_task.wait(2):
            lab.devices.switch.toggle()

    node.run_as(two, light.delay)
    node.settle()
    deleting = node.ask_delete(one)
    node.advance(2)
    assert node.values()["switch"] is True
    assert not deleting.answered  # hooks wait for the task that has the hardware thread
    node.sessions.end(two, Reason.EXITED)
    node.turn()
    assert deleting.answered
    assert node.values() == SAFE


def test_a_call_gives_up_after_5_s_and_never_happens(
    node: SmallNode, lab: Lab, clock: WatchedClock
) -> None:
    session = node.connected()
    free = clock.event()
    node.worker.post(free.wait)
    view = node.ask(lambda: node.run_as(session, lab.devices.switch.on))
    node.clock.advance(5)
    node.settle()
    assert isinstance(view.answer, Busy)
    free.set()
    node.settle()
    assert node.values() == SAFE
