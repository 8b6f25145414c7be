"""How quickly an interlock acts on an edge, and the disk on a commit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from labnode.board import Board, load_board
from labnode.clock import Clock
from labnode.drivers.gpio.pin import Pin
from labnode.errors import DeviceError
from labnode.events import Bus
from labnode.locale import Message
from labnode.prove.report import Measurement, spread
from labnode.store import Store
from labnode.worker import Worker

_ACTS_WITHIN = 5.0  # seconds that a measurement waits
_STOPS_WITHIN = 5.0
_PAUSE = 0.01  # seconds between two edges: 1,000 a second would be a flood

# What docs/reliability.md promises, in seconds.
INTERLOCK = 0.05

_BOARD = """\
schema: 1
title: labnode prove
devices:
  out: {{driver: digital_output, pin: {out}}}
  wire: {{driver: digital_input, pin: {end}}}
interlocks:
  - {{name: prove, when: wire, force: {{out: false}}}}
"""


def interlock(
    pins: Any, out: Pin, end: Pin, directory: Path, clock: Clock, *, times: int
) -> Measurement:
    """From the edge of an input to that of the output that an interlock switches off for it.

    The wire joins the two: each time that the output is switched on, the input sees it, and the
    interlock ends it. How long the wire is high is measured with the kernel's time of each edge.
    """
    path = directory / "interlock.yaml"
    path.write_text(_BOARD.format(out=out.name, end=end.name), encoding="utf-8")
    worker = Worker(clock)
    board = Board(
        load_board(path), clock=clock, bus=Bus(), simulate=False, worker=worker, pins=pins
    )
    worker.start(board, lambda: None, lambda: None)
    try:
        pulses = _Pulses(pins.pin(end.name), clock)
        for _ in range(times):
            worker.call(lambda: board.command("out", "on"))
            pulses.wait()
            while board.snapshot["wire"]["value"]:  # the interlock still holds the output
                clock.event().wait(_PAUSE)
            clock.event().wait(_PAUSE)
    finally:
        worker.stop(_STOPS_WITHIN)
    took = pulses.lengths
    return Measurement(
        Message("cli.row-edge"),
        Message("cli.within", time=f"{1000 * INTERLOCK:g} ms"),
        spread(took),
        max(took) <= INTERLOCK,
    )


class _Pulses:
    """Measures how long a pin is high, beside the device that has it."""

    def __init__(self, pin: Any, clock: Clock) -> None:
        self.lengths: list[float] = []
        self._rose = 0.0
        self._ended = clock.event()
        self._device = pin.when_changed
        pin.when_changed = self.edge

    def edge(self, ticks: float, state: Any) -> None:
        """On the pin library's thread."""
        self._device(ticks, state)
        if state:
            self._rose = ticks
        else:
            self.lengths.append(ticks - self._rose)
            self._ended.set()

    def wait(self) -> None:
        """Return after the next pulse."""
        if not self._ended.wait(_ACTS_WITHIN):
            raise DeviceError(Message("cli.prove-no-force", seconds=f"{_ACTS_WITHIN:g}"))
        self._ended.clear()


def commits(beside: Path, clock: Clock, times: int) -> Measurement:
    """How long a change of the node's database takes until it is on the disk that has `beside`."""
    took = []
    with tempfile.TemporaryDirectory(prefix="prove-", dir=beside) as directory:
        store = Store(Path(directory) / "labnode.db", clock)
        try:
            for number in range(times):
                began = clock.now()
                store.remember("prove", number)
                took.append(clock.now() - began)
        finally:
            store.close()
    return Measurement(Message("cli.row-commit"), "", spread(took))
