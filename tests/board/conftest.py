from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.clock import ManualClock
from labnode.drivers.framework.driver import Driver, command
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import load_drivers, register, registry
from labnode.events import Bus, DeviceChanged
from tests.kit.wiring import lone_board


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a board file and give its path; `schema: 1` is put before it."""

    def write(text: str, name: str = "x.yaml") -> Path:
        path = tmp_path / name
        path.write_text(f"schema: 1\n{text}", encoding="utf-8")
        return path

    return write


class Rig:
    """A board with the clock, the bus, and what the worker, the tasks and the store would do."""

    def __init__(self, path: Path, kept: Any = None, **options: Any) -> None:
        self.clock = ManualClock()
        self.bus = Bus()
        self.changes = self.bus.subscribe(DeviceChanged)
        self.posted: deque[Callable[[], None]] = deque()
        self.kept = kept
        self.remembered: list[tuple[str, Any]] = []
        self.busy_since: float | None = None
        options = {"worker": self, "tasks": self, "store": self, **options}
        self.board = lone_board(load_board(path), self.clock, self.bus, **options)

    def post(self, function: Callable[[], None]) -> None:
        self.posted.append(function)

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        return over()

    def pause(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        return True

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        pass

    def recall(self, key: str) -> Any:
        assert key == "faults"
        return self.kept

    def remember_soon(self, key: str, value: Any) -> None:
        self.remembered.append((key, value))

    def serve(self) -> None:
        while self.posted:
            self.posted.popleft()()

    def level(self, pin: str) -> float:
        return float(self.board.pins.pin(pin).state)

    def values(self) -> dict[str, Any]:
        return {name: state["value"] for name, state in self.board.snapshot.items()}

    def news(self) -> list[tuple[str, Any]]:
        return [(event.device, event.value) for event in self.changes.drain()]


@pytest.fixture
def rig(write: Callable[[str], Path]) -> Iterator[Callable[..., Rig]]:
    """A rig from the text of a board file; its board is closed at the end of the test."""
    rigs: list[Rig] = []

    def make(text: str, **options: Any) -> Rig:
        rigs.append(Rig(write(text), **options))
        return rigs[-1]

    yield make
    for rig in rigs:
        for driver in rig.board.file.devices.values():
            if isinstance(driver, Faulty):
                driver.broken = ""
        rig.board.close()


@dataclass(kw_only=True)
class Faulty(Driver):
    """A driver that fails where `broken` says, and writes down what is done to it."""

    simulates = True
    EVERY = 10.0

    broken: str = ""
    safe: int = 0

    def _do(self, step: str) -> None:
        self.log.append(f"{self.name}.{step}")
        if step in self.broken.split():
            raise OSError(f"no {step}")

    log = []  # noqa: RUF012 - one for all of them, emptied before each test

    def open(self) -> None:
        self._level = 0
        self._next = self.services.clock.now()
        self._do("open")

    def reset(self) -> None:
        self._do("reset")
        self._level = self.safe

    def close(self) -> None:
        self._do("close")

    def make_safe(self) -> None:
        self._do("make_safe")

    def due(self) -> float | None:
        return self._next

    def poll(self) -> None:
        self._next = self.services.clock.now() + self.EVERY
        self._do("poll")

    @property
    def value(self) -> int:
        if "value" in self.broken.split():
            raise OSError("no value")
        return self._level

    @command
    def set(self, value: int) -> int:
        self._do("set")
        self._level = value
        return value * 2


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What was done to devices of the driver `faulty`, which exists during this test."""
    load_drivers()
    register("faulty")(Faulty)
    Faulty.log.clear()
    yield Faulty.log
    del registry["faulty"]


@dataclass(kw_only=True)
class Thermometer(Sensor):
    """A sensor that shows nothing until a test says what."""

    at_first = None

    def open(self) -> None:
        self.opened()


@pytest.fixture
def thermometer() -> Iterator[None]:
    """During this test there is a driver `thermometer`."""
    load_drivers()
    register("thermometer")(Thermometer)
    yield
    del registry["thermometer"]


class Student:
    """Whoever commands; heard until they are `gone`."""

    def __init__(self) -> None:
        self.gone = False
        self.lost: list[str] = []

    def current(self) -> Student:
        return self

    def heard_until(self, patience: float) -> float:
        return float("-inf") if self.gone else float("inf")

    def was_lost(self, device: str) -> None:
        self.lost.append(device)


@pytest.fixture
def student() -> Student:
    return Student()
