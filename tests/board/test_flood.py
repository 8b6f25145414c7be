"""20 s of 10 kHz edges at a board on the hardware thread: who has to wait for whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.worker import Worker
from tests.kit.rig import WorkerRig
from tests.kit.wiring import lone_board

BOARD = """\
lab: {name: flood, category: Tests}
devices:
  heater: {driver: relay, pin: GPIO17}
  lid: {driver: button, pin: GPIO27}
  noise: {driver: digital_input, pin: GPIO22}
  lights: {driver: digital_input_bank, pins: [GPIO5, GPIO6]}
  knob: {driver: rotary_encoder, a: GPIO23, b: GPIO24, max_steps: 0}
interlocks:
  - {name: lid, require: lid, for: [heater]}
simulate: {lid: true}
"""
EDGE = 0.0001  # seconds between two edges
A_TURN = 100  # edges
FLOOD = 20.0  # seconds
TURNS = 500  # in a flood of five seconds


class CountingWorker(Worker):
    """Counts what is posted to it."""

    posts = 0

    def post(self, function: Callable[[], None]) -> None:
        self.posts += 1
        super().post(function)


class Flood:
    """A board and a worker; `run` is a job, so that a test decides when there is a turn."""

    def __init__(self, path: Path) -> None:
        self.rig = WorkerRig()
        self.clock = self.rig.manual
        self.rig.worker = self.worker = CountingWorker(self.clock)
        self.rig.board = self.board = lone_board(load_board(path), self.clock, worker=self.worker)
        self._edges = 0
        self.rig.start()

    def run(self, job: Callable[[], None]) -> None:
        def alone() -> None:
            self.turn()  # of what came of opening
            self.worker.posts = 0
            job()

        self.rig.job(alone).result()

    def edges(self, number: int, each: int = 20) -> None:
        """So many at `noise`; one of `each` at the lowest of the `lights` and at the `knob`."""
        noise, light, a, b = (self.pin(n) for n in ("GPIO22", "GPIO5", "GPIO23", "GPIO24"))
        for _ in range(number):
            self._edges += 1
            (noise.drive_high if self._edges % 2 else noise.drive_low)()
            slower, rest = divmod(self._edges, each)
            if not rest:
                (light.drive_high if slower % 2 else light.drive_low)()
                contact = a if slower % 2 else b
                (contact.drive_low if slower % 4 in (1, 2) else contact.drive_high)()
            if self._edges % 20 == 0:
                self.clock.advance(20 * EDGE)

    def pin(self, name: str) -> Any:
        return self.board.pins.pin(name)

    def turn(self) -> None:
        assert self.worker.pause(0.0)

    def close(self) -> None:
        assert self.worker.stop(10)


@pytest.fixture
def flood(tmp_path: Path) -> Iterator[Flood]:
    path = tmp_path / "flood.yaml"
    path.write_text(f"schema: 1\n{BOARD}", encoding="utf-8")
    flood = Flood(path)
    yield flood
    flood.close()


def test_a_flood_during_a_job_without_a_turn_leaves_one_post_a_device(flood: Flood) -> None:
    served: list[int] = []

    def job() -> None:
        flood.edges(round(FLOOD / EDGE))
        assert flood.worker.posts == 3
        flood.worker.queue(lambda: served.append(flood.worker.posts))
        flood.turn()
        assert served == [3]

    flood.run(job)


def test_every_call_in_a_flood_is_served_in_the_next_turn(flood: Flood) -> None:
    served: list[int] = []

    def job() -> None:
        for turn in range(TURNS):
            flood.edges(A_TURN)
            flood.worker.queue(lambda turn=turn: served.append(turn))  # type: ignore[misc]
            flood.turn()
            assert served[-1] == turn

    flood.run(job)
    assert flood.worker.posts <= 3 * TURNS


def test_a_flood_is_sampled_and_posts_hardly_anything(flood: Flood) -> None:
    def job() -> None:
        for _ in range(TURNS):
            flood.edges(A_TURN + 1, each=1)  # an odd number: no sample is like the one before
            flood.turn()

    flood.run(job)
    assert flood.board.snapshot["noise"]["edges_paused"] is True
    assert flood.board.snapshot["lights"]["edges_paused"] is True
    assert flood.worker.posts < 200


def test_an_interlock_settles_in_the_next_turn_of_a_flood(flood: Flood) -> None:
    heater, lid = flood.pin("GPIO17"), flood.pin("GPIO27")

    def job() -> None:
        for _ in range(TURNS):
            flood.board.command("heater", "on")
            assert heater.state
            flood.edges(A_TURN)
            lid.drive_high()  # open
            flood.turn()
            assert not heater.state
            lid.drive_low()
            flood.turn()

    flood.run(job)


def test_presses_of_a_button_in_a_flood_are_acknowledged_once_a_turn(flood: Flood) -> None:
    def job() -> None:
        for _ in range(1000):
            flood.board.halt("pressed")
        assert flood.worker.posts == 1
        flood.turn()
        flood.clock.advance(2.0)
        assert flood.board.fault() is None

    flood.run(job)
