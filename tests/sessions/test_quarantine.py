"""A board that could not be cleaned takes no student until somebody says that it may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from labnode.errors import Busy, DeviceError, StorageError
from labnode.lab import Lab
from labnode.sessions import Deletion, State
from labnode.sessions.state_machine import HOOK_LIMIT
from tests.kit.node import SAFE, SmallNode

Boot = Callable[..., SmallNode]


@pytest.fixture
def troubles(lab: Lab) -> list[BaseException]:
    """What on_dispose raises, one after the other; nothing when there are none left."""
    troubles: list[BaseException] = []

    @lab.on_start
    def begin(client: dict[str, Any], server: dict[str, Any]) -> None:
        lab.devices.switch.on()

    @lab.on_dispose
    def dispose() -> None:
        if troubles:
            raise troubles.pop(0)

    return troubles


def test_a_clean_up_that_fails_puts_the_board_into_quarantine(
    node: SmallNode, troubles: list[BaseException]
) -> None:
    troubles.append(OSError("the arm is stuck"))
    session = node.connected()
    assert node.delete(session) is Deletion.DONE
    assert session.state is State.DISPOSED
    assert node.values() == SAFE  # the devices are reset all the same
    assert node.sessions.obstacles() == ["The board is in quarantine: the arm is stuck"]
    refused = node.ask_start()
    assert isinstance(refused.error, Busy)
    assert "the arm is stuck" in refused.error.message
    assert refused.error.retry_after > 0


def test_devices_that_cannot_be_reset_are_a_failure_too(
    node: SmallNode, troubles: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = node.connected()

    def broken() -> None:
        raise DeviceError("'heater' did not reset: no answer")

    monkeypatch.setattr(node.board, "reset", broken)
    troubles.append(OSError("the arm is stuck"))
    node.delete(session)
    assert node.sessions.quarantine.why == "the arm is stuck; 'heater' did not reset: no answer"


@pytest.mark.parametrize("trouble", [SystemExit("bye"), KeyError()])
def test_whatever_on_dispose_raises_the_node_lives_and_the_board_is_shut(
    node: SmallNode, troubles: list[BaseException], trouble: BaseException
) -> None:
    troubles.append(trouble)
    node.delete(node.connected())
    assert node.sessions.quarantine.why
    assert node.values() == SAFE
    assert node.worker.fault() is None


class Mute(Exception):
    """Even asking what is wrong goes wrong."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_that_cannot_be_read_stops_no_clean_up(
    node: SmallNode, lab: Lab, troubles: list[BaseException]
) -> None:
    troubles.append(Mute())
    session = node.connected()
    assert node.delete(session) is Deletion.DONE
    assert node.sessions.quarantine.why == "dispose() raised Mute."


def test_an_exception_that_cannot_be_read_fails_a_start_like_any_other(
    node: SmallNode, lab: Lab
) -> None:
    @lab.on_start
    def fail(client: dict[str, Any], server: dict[str, Any]) -> None:
        raise Mute

    starting = node.ask_start()
    node.turn()
    assert starting.error.message == "fail() raised Mute."
    assert node.sessions.live() == []


def test_a_clean_up_that_takes_too_long_fails(boot: Boot, lab: Lab) -> None:
    waited = []

    @lab.on_dispose
    def dispose() -> None:
        lab.devices.switch.on()
        waited.append(lab.wait(1e4))

    node = boot()
    session = node.connected()
    node.ask_delete(session)
    node.advance(HOOK_LIMIT)
    assert session.state is State.DISPOSED
    assert "may take 120 s" in str(node.sessions.quarantine.why)
    assert node.values() == SAFE
    assert waited == []


def test_a_start_that_waits_for_a_clean_up_that_fails_is_told_why(
    node: SmallNode, lab: Lab
) -> None:
    @lab.on_dispose
    def dispose() -> None:
        lab.wait(5)
        raise OSError("the arm is stuck")

    node.ask_delete(node.connected())
    waiting = node.ask_start()
    node.advance(5)
    assert isinstance(waiting.error, Busy)
    assert "the arm is stuck" in waiting.error.message


def test_a_quarantine_survives_restarts(boot: Boot, troubles: list[BaseException]) -> None:
    node = boot()
    troubles.append(OSError("smoke"))
    node.delete(node.connected())
    for end in (SmallNode.stop, SmallNode.kill):
        end(node)
        node = boot()
        assert isinstance(node.ask_start().error, Busy)
        assert node.sessions.quarantine.why == "smoke"


def test_a_crash_between_a_clean_up_that_failed_and_its_end_forgets_nothing(
    boot: Boot, troubles: list[BaseException]
) -> None:
    node = boot()
    troubles += [OSError("smoke"), OSError("smoke again")]
    session = node.connected()
    node.ask_delete(session)  # the hook has failed, and nobody has heard of it yet
    node.kill()
    node = boot()
    node.turn()
    assert node.sessions.quarantine.why == "smoke again"


def test_somebody_ends_the_quarantine(boot: Boot, troubles: list[BaseException]) -> None:
    node = boot()
    troubles.append(OSError("smoke"))
    node.delete(node.connected())
    node.sessions.quarantine.clear()
    assert node.sessions.obstacles() == []
    node.kill()
    node = boot()
    assert node.start().active


def test_a_session_on_another_seat_goes_on(boot: Boot, troubles: list[BaseException]) -> None:
    node = boot(users=2)
    one, two = node.connected(reservation="r1"), node.connected(reservation="r2")
    troubles.append(OSError("smoke"))
    node.delete(one)
    assert two.active
    assert node.start(reservation="r2") is two  # its server may ask again
    assert isinstance(node.ask_start(reservation="r3").error, Busy)


def test_a_quarantine_imposed_while_another_is_cleared_is_not_lost(
    node: SmallNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine, remember = node.sessions.quarantine, node.store.remember
    quarantine.impose("old")
    cleared = threading.Event()

    def asked(*args: Any) -> None:
        cleared.set()
        remember(*args)

    monkeypatch.setattr(node.store, "remember", asked)
    with node.store_busy():
        clearing = threading.Thread(target=quarantine.clear, name="clearing")
        clearing.start()
        assert cleared.wait(10)
        quarantine.impose("new")  # while the disk is busy: it waits for nothing
    clearing.join()
    assert quarantine.why == node.store.recall("quarantine") == "new"


def test_of_two_that_clear_it_and_a_quarantine_in_between_the_last_counts_everywhere(
    node: SmallNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine, remember = node.sessions.quarantine, node.store.remember
    quarantine.impose("old")
    order: list[str] = []
    second = threading.Thread(target=quarantine.clear, name="second")

    def remembering(*args: Any) -> None:
        order.append(threading.current_thread().name)
        remember(*args)
        if not second.ident:
            quarantine.impose("new")
            second.start()
            order.append("the first goes on")

    monkeypatch.setattr(node.store, "remember", remembering)
    quarantine.clear()
    second.join(10)
    assert order[1:] == ["the first goes on", "second"]
    assert quarantine.why is node.store.recall("quarantine") is None


def test_a_quarantine_whose_end_a_slow_disk_does_not_store_stays(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = boot()
    node.sessions.quarantine.impose("smoke")
    with node.store_busy(), monkeypatch.context() as patch:
        patch.setattr("labnode.store.store._PATIENCE", 0.01)
        with pytest.raises(StorageError, match="does not answer"):
            node.sessions.quarantine.clear()
    assert node.sessions.quarantine.why == node.store.recall("quarantine") == "smoke"
    node.kill()
    assert boot().sessions.quarantine.why == "smoke"


def test_after_an_end_that_could_not_be_stored_the_first_reason_still_counts(
    node: SmallNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine = node.sessions.quarantine
    quarantine.impose("smoke")

    def full(*_: object) -> None:
        raise StorageError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(node.store, "remember", full)
        with pytest.raises(StorageError):
            quarantine.clear()
    quarantine.impose("the arm is stuck")
    assert quarantine.why == node.store.recall("quarantine") == "smoke"


def test_draining_refuses_new_sessions_and_leaves_those_there_are(node: SmallNode) -> None:
    session = node.connected(reservation="r1")
    node.sessions.draining = True
    assert "drained" in node.sessions.obstacles()[0]
    assert isinstance(node.ask_start(reservation="r2").error, Busy)
    node.turn()
    assert session.active
    node.delete(session)
    node.sessions.draining = False
    assert node.start().active
