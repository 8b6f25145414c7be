"""Limits of outputs in a real process, while the hardware thread does not answer."""

from __future__ import annotations

from .machine import SAFE, Machine
from .test_crash import CALM, ask


def test_an_output_that_nobody_ends_in_time_ends_the_process_safe(machine: Machine) -> None:
    board = machine.board("GPIO24, safe: true", "GPIO24, safe: true, max_on_time: 500ms")
    node = machine.node(board=board)
    asking = ask(node, on_start="hang")  # the heater is on, and no limit is looked after
    assert node.wait() == 70
    asking.join(5)
    assert node.levels() == SAFE
    assert "'heater' is on for longer than its max_on_time" in node.errors
    node = machine.again(node, board=board, **CALM)
    assert node.student().page.status == 200
    node.stop()
