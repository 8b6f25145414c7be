"""The emergency stop: everything safe, sessions over, nothing goes on until a person says so."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from labnode.errors import Busy, LabnodeError, StorageError
from labnode.sessions import Reason, State
from labnode.testing import LabClient
from tests.kit.labs import lab_of

BOARD = """
schema: 1
devices:
  heater: {driver: relay, pin: GPIO17}
  fan: {driver: relay, pin: GPIO24, safe: true}
module: lab.py
"""

MODULE = """
import threading
from labnode import Lab

lab = Lab()
free = threading.Event()
begun = threading.Event()


@lab.on_start
def start(client_data, server_data):
    if client_data.get("wait"):
        begun.set()
        lab.wait(60)


@lab.task(unique="global", label="Heat")
def heat():
    lab.devices.heater.on()
    begun.set()
    lab.wait(60)
    lab.devices.heater.on()


@lab.task(unique="global", label="Hang")
def hang():
    begun.set()
    free.wait(20)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabClient]:
    with lab_of(tmp_path, BOARD, MODULE) as lab:
        yield lab


def pins(lab: LabClient) -> tuple[bool, bool]:
    """The levels of heater and fan, asked of the pins themselves."""
    factory = lab.agent.board.pins
    return bool(factory.pin("GPIO17").state), bool(factory.pin("GPIO24").state)


SAFE = (False, True)


def test_everything_is_safe_and_the_session_over(lab: LabClient) -> None:
    student = lab.student()
    student.post("/api/devices/heater/on")
    (session,) = lab.agent.sessions.live()
    assert lab.agent.estop.press("smoke") == []
    assert pins(lab) == SAFE
    assert session.disposed.wait(10)
    assert session.reason is Reason.ESTOP
    assert student.get("/api/board").json["reason"] == "estop"


def test_nothing_can_be_driven_away_from_safe_until_it_is_released(lab: LabClient) -> None:
    lab.agent.estop.press("smoke")
    with pytest.raises(LabnodeError, match="stopped: smoke"):
        lab.agent.worker.call(lambda: lab.agent.board.command("heater", "on"))
    assert pins(lab) == SAFE
    assert lab.agent.estop.release() == "smoke"
    lab.agent.worker.call(lambda: lab.agent.board.command("heater", "on"))
    assert pins(lab) == (True, True)


def test_a_task_that_goes_on_cannot_drive_anything(lab: LabClient) -> None:
    student = lab.student()
    student.post("/api/tasks/heat")
    assert sys.modules["labnode_board_lab"].begun.wait(10)
    (session,) = lab.agent.sessions.live()
    lab.agent.estop.press("smoke")
    assert session.disposed.wait(10)
    assert pins(lab) == SAFE


@contextmanager
def hanging(lab: LabClient) -> Iterator[None]:
    """Inside the block the heater is on and a task hangs on the hardware thread."""
    module = sys.modules["labnode_board_lab"]
    student = lab.student()
    student.post("/api/devices/heater/on")
    student.post("/api/tasks/hang")
    assert module.begun.wait(10)
    try:
        yield
    finally:
        module.free.set()


def test_it_acts_while_the_hardware_thread_hangs(lab: LabClient) -> None:
    with hanging(lab):
        assert lab.agent.estop.press("smoke") == []
        assert pins(lab) == SAFE


def test_no_session_starts_until_it_is_cleared(lab: LabClient) -> None:
    lab.agent.estop.press("smoke")
    refused = lab.start()
    assert refused.status == 503
    assert "Emergency stop: smoke" in refused.json["message"]
    test = lab.server("GET", "/test").json
    assert test["valid"] is False
    lab.agent.estop.release()
    lab.agent.sessions.quarantine.clear()
    assert lab.start().status == 200


def test_a_start_that_is_under_way_is_over_too(lab: LabClient) -> None:
    module = sys.modules["labnode_board_lab"]
    asked = {
        "client_initial_data": {"wait": True},
        "server_initial_data": {"priority.queue.slot.length": 60},
    }
    replies = []
    starting = threading.Thread(
        target=lambda: replies.append(lab.server("POST", "/", asked)), name="central-server"
    )
    starting.start()
    assert module.begun.wait(10)
    lab.agent.estop.press("smoke")
    starting.join(10)
    assert replies[0].status == 200  # with an id, whose session is over
    assert lab.server("GET", f"/{replies[0].json['session_id']}/status").json != {
        "should_finish": 5
    }
    assert pins(lab) == SAFE


def test_the_first_reason_counts(lab: LabClient) -> None:
    lab.agent.estop.press("smoke")
    lab.agent.estop.press("fire")
    assert lab.agent.estop.why == "smoke"
    assert lab.agent.estop.release() == "smoke"


def test_releasing_what_was_not_pressed_changes_nothing(lab: LabClient) -> None:
    assert lab.agent.estop.release() is None
    assert lab.start().status == 200


def test_it_survives_a_restart(tmp_path: Path) -> None:
    with lab_of(tmp_path, BOARD, MODULE) as lab:
        lab.agent.estop.press("smoke")
    with lab_of(tmp_path, BOARD, MODULE) as lab:
        assert lab.agent.estop.why == "smoke"
        with pytest.raises(LabnodeError, match="stopped: smoke"):
            lab.agent.worker.call(lambda: lab.agent.board.command("heater", "on"))
        assert lab.start().status == 503
        lab.agent.estop.release()
    with lab_of(tmp_path, BOARD, MODULE) as lab:
        assert lab.agent.estop.why is None


def test_a_press_before_the_last_run_is_looked_up_is_not_lost(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.agent.store, "recall", lambda _key: None)  # the disk is full
    lab.agent.estop.press("smoke")
    lab.agent.estop.restore()
    assert lab.agent.estop.why == lab.agent.board.halted == "smoke"


def test_a_press_while_it_is_released_is_not_lost(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    estop, remember = lab.agent.estop, lab.agent.store.remember
    estop.press("smoke")

    def press_again(*args: object) -> None:
        remember(*args)  # type: ignore[arg-type]
        monkeypatch.undo()
        estop.press("fire")

    monkeypatch.setattr(lab.agent.store, "remember", press_again)
    with pytest.raises(Busy, match="pressed again"):
        estop.release()
    assert estop.why == "smoke"
    assert lab.agent.board.halted == "smoke"
    assert lab.agent.store.recall("estop") == "smoke"


def agreed(lab: LabClient) -> str | None:
    """Why everything is stopped, of which switch, board and database say the same."""
    why = lab.agent.estop.why
    assert lab.agent.board.halted == why
    assert lab.agent.store.recall("estop") == why
    return why


@contextmanager
def pressing_slowly(lab: LabClient, monkeypatch: pytest.MonkeyPatch, why: str) -> Iterator[None]:
    """Inside the block somebody else's press is busy with the first device."""
    make_safe = lab.agent.board.make_safe
    begun, free = threading.Event(), threading.Event()

    def slow() -> list[str]:
        monkeypatch.undo()
        begun.set()
        free.wait(10)
        return make_safe()

    monkeypatch.setattr(lab.agent.board, "make_safe", slow)
    presser = threading.Thread(target=lab.agent.estop.press, args=[why], name="presser")
    presser.start()
    assert begun.wait(10)
    try:
        yield
    finally:
        free.set()
        presser.join(10)


def test_a_release_in_the_middle_of_a_press_comes_after_it(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pressing_slowly(lab, monkeypatch, "smoke"):
        assert lab.agent.estop.release() == "smoke"
    assert agreed(lab) is None


def test_a_press_after_a_release_in_the_middle_of_a_press_counts(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pressing_slowly(lab, monkeypatch, "smoke"):
        lab.agent.estop.release()
        lab.agent.estop.press("fire")  # does not wait for the other
        assert pins(lab) == SAFE
    assert agreed(lab) == "fire"


def test_a_press_does_not_wait_for_a_release_that_waits_for_the_disk(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    estop, remember = lab.agent.estop, lab.agent.store.remember
    estop.press("smoke")
    asked, free = threading.Event(), threading.Event()
    refused: list[Busy] = []

    def asking(*args: Any) -> None:
        asked.set()
        remember(*args)

    def release() -> None:
        try:
            estop.release()
        except Busy as error:
            refused.append(error)

    monkeypatch.setattr(lab.agent.store, "remember", asking)
    lab.agent.store._queue.put(lambda: free.wait(10))
    releasing = threading.Thread(target=release, name="releasing")
    releasing.start()
    assert asked.wait(10)
    estop.press("fire")
    free.set()
    releasing.join(10)
    assert [str(error) for error in refused] == ["The emergency stop was pressed again."]
    assert agreed(lab) == "smoke"


def test_of_two_releases_and_a_press_in_between_the_last_counts_everywhere(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    estop, remember = lab.agent.estop, lab.agent.store.remember
    estop.press("smoke")
    order: list[str] = []
    second = threading.Thread(target=estop.release, name="second-release")

    def remembering(*args: Any) -> None:
        order.append(threading.current_thread().name)
        remember(*args)
        if not second.ident:
            estop.press("fire")
            second.start()
            order.append("the first goes on")

    monkeypatch.setattr(lab.agent.store, "remember", remembering)
    with pytest.raises(Busy, match="pressed again"):
        estop.release()
    second.join(10)
    assert order[1:] == ["the first goes on", "second-release"]
    assert agreed(lab) is None


def test_whoever_presses_and_releases_at_once_memory_and_database_agree(lab: LabClient) -> None:
    estop = lab.agent.estop
    together = threading.Barrier(4)

    def play(act: Callable[[], object]) -> None:
        together.wait(10)
        for _ in range(50):
            with suppress(Busy):
                act()

    acts = [lambda: estop.press("smoke"), lambda: estop.press("fire"), estop.release, estop.release]
    players = [threading.Thread(target=play, args=[act], name="player") for act in acts]
    for player in players:
        player.start()
    for player in players:
        player.join(20)
    agreed(lab)


def test_a_disk_that_does_not_work_stops_no_emergency_stop(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = lab.student()
    student.post("/api/devices/heater/on")
    free = threading.Event()
    lab.agent.store._queue.put(lambda: free.wait(20))
    try:
        lab.agent.estop.press("smoke")  # and does not wait for the disk
        assert pins(lab) == SAFE
        assert lab.agent.sessions.quarantine.why == "Emergency stop: smoke"
    finally:
        free.set()


def test_a_release_that_cannot_be_stored_is_none(
    lab: LabClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.agent.estop.press("smoke")

    def full(*_: object) -> None:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(lab.agent.store, "remember", full)
    with pytest.raises(StorageError):
        lab.agent.estop.release()
    assert lab.agent.estop.why == lab.agent.board.halted == "smoke"


def test_a_release_that_a_slow_disk_does_not_store_is_none_after_a_restart_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab_of(tmp_path, BOARD, MODULE) as lab:
        lab.agent.estop.press("smoke")
        free = threading.Event()
        lab.agent.store._queue.put(lambda: free.wait(20))
        with monkeypatch.context() as patch:
            patch.setattr("labnode.store.store._PATIENCE", 0.01)
            with pytest.raises(StorageError, match="does not answer"):
                lab.agent.estop.release()
        free.set()
        assert lab.agent.estop.why == lab.agent.board.halted == "smoke"
    with lab_of(tmp_path, BOARD, MODULE) as lab:
        assert lab.agent.estop.why == lab.agent.board.halted == "smoke"


def test_what_cannot_be_made_safe_is_told(lab: LabClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("no answer")

    monkeypatch.setattr(lab.agent.board.file.devices["heater"], "make_safe", broken)
    (failure,) = lab.agent.estop.press("smoke")
    assert "'heater' did not make safe: no answer" in failure
    assert pins(lab)[1] is True


def test_the_history_has_it(lab: LabClient) -> None:
    lab.agent.estop.press("smoke")
    lab.agent.estop.release()
    kinds = [row["kind"] for row in lab.agent.store.select("events", "1", order="id")]
    assert [kind for kind in kinds if kind.startswith("estop")] == ["estop", "estop.released"]


def test_a_session_is_stored_as_stopped(lab: LabClient) -> None:
    student = lab.student()
    lab.agent.estop.press("smoke")
    lab.finish(student)
    (row,) = lab.agent.store.select("sessions", "1")
    assert (row["state"], row["reason"]) == (State.DISPOSED, Reason.ESTOP)


# --- a button on the board ---

BUTTON = BOARD.replace("module:", "  stop: {driver: button, pin: GPIO27, role: estop}\nmodule:")


@pytest.fixture
def with_button(tmp_path: Path) -> Iterator[LabClient]:
    with lab_of(tmp_path, BUTTON, MODULE) as lab:
        yield lab


def press(lab: LabClient, pressed: bool) -> None:
    """What the pin sees, told on this thread as the pin library's would."""
    pin = lab.agent.board.pins.pin("GPIO27")
    (pin.drive_low if pressed else pin.drive_high)()
    lab.agent.worker.call(lambda: None)


def test_a_button_stops_everything(with_button: LabClient) -> None:
    lab = with_button
    student = lab.student()
    student.post("/api/devices/heater/on")
    (session,) = lab.agent.sessions.live()
    press(lab, True)
    assert pins(lab) == SAFE
    assert session.disposed.wait(10)
    assert session.reason is Reason.ESTOP
    assert lab.agent.sessions.quarantine.why == "Emergency stop: 'stop' is pressed"


def test_a_button_acts_while_the_hardware_thread_hangs(with_button: LabClient) -> None:
    lab = with_button
    with hanging(lab):
        lab.agent.board.pins.pin("GPIO27").drive_low()
        assert pins(lab) == SAFE


def test_it_cannot_be_released_while_the_button_is_pressed(with_button: LabClient) -> None:
    lab = with_button
    press(lab, True)
    with pytest.raises(Busy, match="'stop' is still pressed: release it first"):
        lab.agent.estop.release()
    press(lab, False)
    assert lab.agent.board.halted  # letting go is not enough
    assert lab.agent.estop.release() == "'stop' is pressed"


def test_a_button_that_is_pressed_at_the_start_keeps_the_board_in_quarantine(
    tmp_path: Path,
) -> None:
    board = BUTTON.replace("role: estop", "role: estop, normally_closed: true")
    client = lab_of(tmp_path, board, MODULE)
    button = client.agent.board.file.devices["stop"]
    button.simulate = lambda _value: None  # type: ignore[attr-defined]  # a wire is broken
    with client as lab:
        assert lab.agent.estop.why == "'stop' is pressed"
        assert lab.start().status == 503
        with pytest.raises(Busy):
            lab.agent.estop.release()
