"""Pins that keep their levels when their process dies, as a Pi's do, and labnode on such pins.

    python -m tests.kit.latching LABNODE-ARGUMENT...

The levels are in the file $LABNODE_TEST_PINS. $LABNODE_TEST_WIRE ("17-27") joins two pins.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from pathlib import Path
from typing import Any

from gpiozero.pins.mock import MockFactory
from gpiozero.pins.pi import PiPin

from labnode.drivers.gpio import factories
from labnode.drivers.gpio.pin import GENERIC_REVISION

_PINS = 54
_EVERY = 0.001  # seconds between two looks at the other end of a wire


class Levels:
    """The levels of all pins of a machine, from any process; made when they are not there.

    A byte each: 0 while nothing drives the pin, then from 1 (low) to 255 (high).
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_PINS))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _PINS)

    def __getitem__(self, number: int) -> float | None:
        """The level that a pin is driven to, from 0 to 1; None for an input."""
        byte = self._map[number]
        return (byte - 1) / 254 if byte else None

    def __setitem__(self, number: int, level: float | None) -> None:
        self._map[number] = 0 if level is None else 1 + round(254 * level)

    def close(self) -> None:
        self._map.close()


class LatchingPin(factories.MockPin):
    """Only who drives it, or makes it an input, changes what is outside; opening it does not.

    An input has the level that the pin at the other end of its wire is driven to.
    """

    def __init__(self, factory: Any, info: Any) -> None:
        super().__init__(factory, info)
        self._number = int(info.name.removeprefix("GPIO"))
        self._end = factory.wire.get(self._number)
        self._unwatched = threading.Event()
        self._watcher: threading.Thread | None = None

    def output_with_state(self, state: Any) -> None:
        super().output_with_state(state)
        self._latch()

    def _set_function(self, value: str) -> None:
        super()._set_function(value)
        self._latch()

    def _set_state(self, value: Any) -> None:
        super()._set_state(value)
        self._latch()

    def _latch(self) -> None:
        level = float(self._state) if self._function == "output" else None
        self.factory.levels[self._number] = level

    def _get_state(self) -> Any:
        if self._function == "output" or self._end is None:
            return super()._get_state()
        level = self.factory.levels[self._end]
        return self._pull == "up" if level is None else level > 0.5

    def _enable_event_detect(self) -> None:
        if self._end is not None:
            self._unwatched.clear()
            self._watcher = threading.Thread(target=self._watch, name="latching-pin", daemon=True)
            self._watcher.start()

    def _disable_event_detect(self) -> None:
        self._unwatched.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        self._watcher = None

    def _watch(self) -> None:
        before = self._get_state()
        while not self._unwatched.wait(_EVERY):
            state = self._get_state()
            if state != before:
                before = state
                PiPin._call_when_changed(self, time.monotonic(), state)


class LatchingFactory(MockFactory):  # type: ignore[misc]
    """A gpiozero factory of the file's pins."""

    def __init__(self) -> None:
        first, _, second = os.environ.get("LABNODE_TEST_WIRE", "").partition("-")
        self.wire = {int(first): int(second), int(second): int(first)} if second else {}
        self.levels = Levels(Path(os.environ["LABNODE_TEST_PINS"]))
        super().__init__(revision=f"{GENERIC_REVISION:x}", pin_class=LatchingPin)

    def close(self) -> None:
        super().close()
        self.levels.close()


def latching_factory(_work_dir: Path | None = None) -> LatchingFactory:
    """Stands in for `real_factory`, and for `mock_factory`."""
    return LatchingFactory()


def use_latching_pins() -> None:
    """Make them this process's pins, real and simulated; before labnode's board is imported."""
    factories.real_factory = factories.mock_factory = latching_factory


if __name__ == "__main__":
    use_latching_pins()
    from labnode.cli import main

    main(prog_name="labnode")
