"""The controller of the thermal board on its simulated box, through the page's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.board import Board, load_board
from labnode.clock import ManualClock
from labnode.testing import LabClient
from tests.kit.wiring import lone_board

BOARD = Path(__file__).parent.parent.parent / "boards" / "thermal.yaml"


@pytest.fixture
def box() -> Iterator[tuple[Board, ManualClock]]:
    """The board without a node: whoever switches something on counts as present."""
    clock = ManualClock()
    board = lone_board(load_board(BOARD), clock)
    board.open()
    yield board, clock
    board.close()


def live(board: Board, clock: ManualClock, seconds: float) -> list[float]:
    """Let time pass; the temperatures meanwhile."""
    end, seen = clock.now() + seconds, []
    while (left := end - clock.now()) > 0:
        wait = board.poll()
        clock.advance(left if wait is None else min(left, wait))
        seen.append(board.snapshot["temp"]["value"])
    return seen


def test_it_reaches_a_setpoint_holds_it_and_does_not_shoot_far_over_it(
    box: tuple[Board, ManualClock],
) -> None:
    board, clock = box
    board.command("setpoint", "set", [45])
    board.command("hold", "on")
    seen = live(board, clock, 240)
    assert max(seen) < 45 + 6
    assert sum(seen[-200:]) / 200 == pytest.approx(45, abs=2)
    board.command("hold", "off")
    assert board.snapshot["heater"]["value"] is False


def test_with_the_lid_open_it_goes_on_without_heat_and_without_a_sensor_it_ends(
    box: tuple[Board, ManualClock],
) -> None:
    board, clock = box
    board.command("hold", "on")
    board.simulate("door", False)
    live(board, clock, 20)
    assert (board.snapshot["heater"]["value"], board.snapshot["hold"]["value"]) == (False, True)
    board.simulate("door", True)
    live(board, clock, 16)
    assert board.snapshot["hold"]["value"] is True
    board.simulate("temp", None)
    live(board, clock, 7)
    assert (board.snapshot["heater"]["value"], board.snapshot["hold"]["value"]) == (False, False)


@pytest.mark.usefixtures("own_modules")
def test_a_student_switches_it_on_and_it_is_off_when_they_have_gone() -> None:
    with LabClient(BOARD) as lab:
        student: Any = lab.student(seconds=600)
        assert student.post("/api/devices/setpoint/set", {"value": 60}).status == 200
        assert student.post("/api/devices/hold/on", {}).status == 200
        assert lab.value("hold") is True  # and its relay rests for 5 s first
        lab.finish(student)
        assert (lab.value("hold"), lab.value("heater")) == (False, False)
