"""The reactor: calls whoever has something to do, and outlives the failures of each."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from labnode.clock import Clock
from labnode.http.reactor import Group, Participant, Reactor

PATIENCE = 20.0


class Note(Participant):
    """Notes what it is called for; fails where the test wants it to."""

    def __init__(self, reactor: Reactor, *failing: str, group: Group[Note] | None = None) -> None:
        near, self.far = socket.socketpair()
        super().__init__(near, reactor, group)
        self.calls: list[str] = []
        self.failing = failing
        reactor.adopt(self)

    def called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise ValueError(name)

    def ready(self, events: int) -> None:
        self.socket.recv(10)
        self.called("ready")

    def woken(self) -> None:
        self.over = self.group is not None and self.group.stop_by is not None
        self.called("woken")

    def failed(self, error: Exception) -> None:
        self.called("failed")
        super().failed(error)

    def close(self) -> None:
        super().close()
        self.far.close()
        self.called("close")


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.abandon()
    reactor.run()


def test_who_can_read_and_who_is_woken_is_called(reactor: Reactor) -> None:
    reader, woken = Note(reactor), Note(reactor)
    reader.far.send(b"x")
    woken.wake()
    woken.wake()
    reactor.turn()
    assert (reader.calls, woken.calls) == (["woken", "ready"], ["woken", "woken"])


@pytest.mark.parametrize("failing", [("ready",), ("ready", "failed")])
def test_one_that_fails_is_closed_and_the_others_are_called(
    reactor: Reactor, caplog: pytest.LogCaptureFixture, failing: tuple[str, ...]
) -> None:
    bad, good = Note(reactor, *failing), Note(reactor)
    for each in (bad, good):
        each.far.send(b"x")
        each.wake()
    reactor.turn()
    assert bad.socket.fileno() == -1
    assert good.calls == ["woken", "ready", "woken"]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_another_participant_goes_on_with_the_socket(reactor: Reactor) -> None:
    first = Note(reactor)
    second = Note(reactor)
    reactor.discard(second)
    second.socket, second.far = first.socket, first.far
    reactor.replace(first, second)
    second.far.send(b"x")
    first.wake()
    reactor.turn()
    assert (first.calls, second.calls) == (["woken"], ["woken", "close", "woken", "ready"])


def test_nobody_is_woken_after_the_end_and_all_are_closed(reactor: Reactor) -> None:
    note = Note(reactor)
    assert note.wake()
    reactor.abandon()
    reactor.run()
    assert note.calls[-1] == "close"
    assert not note.wake()


def test_one_that_has_something_to_finish_has_until_its_deadline(reactor: Reactor) -> None:
    class Finishing(Note):
        deadline: float | None = None

        def stop(self) -> None:
            self.called("stop")
            self.deadline = self.deadline or Clock().now() + 0.01

    note, other = Finishing(reactor), Note(reactor)
    reactor.stop()
    reactor.run()
    assert other.calls == ["woken", "close"]
    assert note.calls[:2] == ["woken", "stop"]
    assert note.calls[-1] == "close"
    assert len(note.calls) < 10  # it did not spin until then


def test_a_group_is_stopped_when_all_its_members_are_closed(reactor: Reactor) -> None:
    group: Group[Note] = Group()
    notes = [Note(reactor, group=group) for _ in range(3)]
    for note in notes:
        group.add(note)
    thread = threading.Thread(target=reactor.run)
    thread.start()
    group.stop(PATIENCE)
    assert not group.members
    assert [note.socket.fileno() for note in notes] == [-1] * 3
    reactor.stop()
    thread.join(PATIENCE)
