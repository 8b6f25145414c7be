from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from labnode.clock import ManualClock
from labnode.drivers.framework.driver import Driver
from labnode.drivers.gpio.factories import mock_factory
from labnode.errors import Interlocked
from tests.kit.services import Thread


class Neighbours(dict[str, dict[str, Any]]):
    """The other devices of a board: whatever a driver asks for is there, at 0 or off."""

    def __missing__(self, name: str) -> dict[str, Any]:
        return self.setdefault(name, {"value": 0.0})

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


class Neighbour:
    """One of them, as an output that may be looked at."""

    safe = 0.0

    def __init__(self, state: dict[str, Any]) -> None:
        self.value = state["value"]

    def nearest(self, value: float) -> float:
        return value


class Bench:
    """A board's services for one driver on mock pins; `posted` calls run when a test says so."""

    def __init__(self) -> None:
        self.pins = mock_factory()
        self.clock = ManualClock()
        self.simulated = True
        self.folder = Path()
        self.state_dir: Path | None = None
        self.posted: list[Callable[[], None]] = []
        self.published: list[Any] = []
        self.told: list[tuple[float | None, str | None]] = []
        self._came = threading.Event()
        self.snapshot = Neighbours()
        self.forbidden: str | None = None
        self.heard_at: float | None = None  # of whoever commands; None: always
        self.asked_at = math.inf  # when what is commanded was asked for
        self.lost: list[str] = []
        self.emergencies: list[str] = []
        self._drivers: list[Driver] = []

    def device(self, name: str) -> Neighbour:
        return Neighbour(self.snapshot[name])

    def command(self, device: str, command: str, args: list[Any]) -> None:
        self.snapshot[device] = {"value": args[0]}

    def publish(self) -> None:
        self.published.append(self._drivers[-1].value)

    def post(self, call: Callable[[], None]) -> None:
        self.posted.append(call)
        self._came.set()

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        self.clock.advance(seconds)
        return True

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        return self.until(over)

    def until(self, over: Callable[[], bool], most: float = 10.0) -> bool:
        """Serve what io threads post, until `over()`; False when it never was."""
        while not over():
            self._came.clear()
            if not self.posted and not self._came.wait(most):
                return over()
            self.serve()
        return True

    def emergency(self, why: str) -> None:
        self.emergencies.append(why)

    def permit(self, value: Any) -> None:
        if self.forbidden is not None:
            raise Interlocked(self.forbidden)

    def lend(self, device: str) -> AbstractContextManager[str]:
        return nullcontext(f"/dev/{device}")

    def operator(self) -> Bench:
        return self

    def heard_until(self, patience: float) -> float:
        return (self.clock.now() if self.heard_at is None else self.heard_at) + patience

    def was_lost(self, device: str) -> None:
        self.lost.append(device)

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        self.told.append((percent, line))

    def attach(self, driver: Driver, name: str = "thing") -> None:
        driver.attach(name, self)
        self._drivers.append(driver)

    def open(self, driver: Driver, name: str = "thing") -> Any:
        self.attach(driver, name)
        driver.open()
        return driver

    def serve(self) -> None:
        while self.posted:
            self.posted.pop(0)()

    def level(self, pin: str) -> float:
        return float(self.pins.pin(pin).state)

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def real(bench: Bench) -> Bench:
    """A board whose hardware is no simulation, but for its pins."""
    bench.simulated = False
    return bench


@pytest.fixture
def thread() -> Thread:
    return Thread(simulated=False)
