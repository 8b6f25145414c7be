"""The bus: every reader gets every event of its kinds, and none can harm who publishes."""

from __future__ import annotations

import logging
import threading

import pytest

from labnode.events import Bus, DeviceChanged, SessionChanged, TaskChanged

PATIENCE = 10.0

LED = DeviceChanged("led", True)
SESSION = SessionChanged("s", "active")
TASK = TaskChanged("t", "s", "done")


@pytest.fixture
def bus() -> Bus:
    return Bus()


def test_each_reader_gets_each_event_once_in_order(bus: Bus) -> None:
    first, second = bus.subscribe(), bus.subscribe()
    for event in (LED, SESSION, TASK):
        bus.publish(event)
    assert first.drain() == second.drain() == [LED, SESSION, TASK]
    assert first.drain() == []


def test_a_reader_gets_the_kinds_that_it_asked_for(bus: Bus) -> None:
    both, devices = bus.subscribe(SessionChanged, TaskChanged), bus.subscribe(DeviceChanged)
    for event in (LED, SESSION, TASK):
        bus.publish(event)
    assert both.drain() == [SESSION, TASK]
    assert devices.drain() == [LED]


def test_what_happened_before_the_subscription_is_not_told(bus: Bus) -> None:
    bus.publish(LED)
    assert bus.subscribe().drain() == []


def test_a_reader_that_has_left_gets_nothing_more(bus: Bus) -> None:
    leaves, stays = bus.subscribe(), bus.subscribe()
    bus.unsubscribe(leaves)
    bus.unsubscribe(leaves)
    bus.publish(LED)
    assert leaves.drain() == []
    assert stays.drain() == [LED]


def test_beyond_the_limit_the_oldest_are_dropped_and_counted(bus: Bus) -> None:
    slow, quick = bus.subscribe(limit=3), bus.subscribe()
    events = [DeviceChanged("dimmer", n) for n in range(10)]
    for event in events:
        bus.publish(event)
    assert slow.drain() == events[-3:]
    assert slow.dropped == 7
    assert quick.drain() == events
    assert quick.dropped == 0
    bus.publish(LED)
    assert slow.drain() == [LED]
    assert slow.dropped == 7


def test_wake_is_called_when_the_event_can_be_read_and_only_for_its_kinds(bus: Bus) -> None:
    seen: list[object] = []
    reader = bus.subscribe(TaskChanged, wake=lambda: seen.extend(reader.drain()))
    bus.publish(LED)
    bus.publish(TASK)
    assert seen == [TASK]


def test_a_wake_that_raises_harms_neither_the_publisher_nor_the_other_readers(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("the socket is gone")

    first, second = bus.subscribe(wake=fail), bus.subscribe()
    bus.publish(LED)
    assert first.drain() == second.drain() == [LED]
    assert "the socket is gone" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR


def test_a_reader_may_leave_in_its_wake(bus: Bus) -> None:
    leaves = bus.subscribe(wake=lambda: bus.unsubscribe(leaves))
    stays = bus.subscribe()
    bus.publish(LED)
    bus.publish(TASK)
    assert leaves.drain() == [LED]
    assert stays.drain() == [LED, TASK]


def test_a_wake_may_publish(bus: Bus) -> None:
    def echo() -> None:
        if reader.drain() == [LED]:
            bus.publish(TASK)

    reader = bus.subscribe(wake=echo)
    other = bus.subscribe()
    bus.publish(LED)
    assert sorted(map(repr, other.drain())) == sorted(map(repr, [LED, TASK]))


def test_nothing_is_lost_between_publishers_and_a_reader(bus: Bus) -> None:
    publishers, each = 4, 1000
    woken = threading.Event()
    reader = bus.subscribe(wake=woken.set, limit=publishers * each)

    def publish(name: str) -> None:
        for n in range(each):
            bus.publish(DeviceChanged(name, n))

    threads = [
        threading.Thread(target=publish, args=[str(n)], daemon=True) for n in range(publishers)
    ]
    for thread in threads:
        thread.start()
    read: list[DeviceChanged] = []
    while len(read) < publishers * each:
        assert woken.wait(PATIENCE)
        woken.clear()
        read += reader.drain()
    for thread in threads:
        thread.join(PATIENCE)
    assert reader.dropped == 0
    for n in range(publishers):
        assert [event.value for event in read if event.device == str(n)] == list(range(each))


def test_readers_may_come_and_go_while_others_publish(bus: Bus) -> None:
    steady = bus.subscribe(limit=10_000)
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            bus.unsubscribe(bus.subscribe())

    def publish() -> None:
        for _ in range(1000):
            bus.publish(LED)

    guests = [threading.Thread(target=come_and_go, daemon=True) for _ in range(2)]
    publishers = [threading.Thread(target=publish, daemon=True) for _ in range(3)]
    for thread in guests + publishers:
        thread.start()
    for thread in publishers:
        thread.join(PATIENCE)
    over.set()
    for thread in guests:
        thread.join(PATIENCE)
    assert len(steady.drain()) == 3000
    assert bus._subscriptions == (steady,)
