"""Pins that keep their levels when the process is killed, as a Pi's do: in a small file."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from gpiozero.pins.mock import MockFactory

from labnode.drivers.gpio import factories
from labnode.drivers.gpio.pin import GENERIC_REVISION

_PIN = struct.Struct("<Bd")  # whether it is driven, and its level
_PINS = 54


class Levels:
    """The levels of all pins of a machine, from any process; made when they are not there."""

    def __init__(self, path: Path) -> None:
        size = _PINS * _PIN.size
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def __getitem__(self, number: int) -> float | None:
        """The level that a pin is driven to; None for an input."""
        driven, level = _PIN.unpack_from(self._map, number * _PIN.size)
        return level if driven else None

    def __setitem__(self, number: int, level: float | None) -> None:
        _PIN.pack_into(self._map, number * _PIN.size, level is not None, level or 0.0)

    def close(self) -> None:
        self._map.close()


class LatchingPin(factories.MockPin):
    """Only who drives it, or makes it an input, changes what is outside; opening it does not."""

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
        self.factory.levels[int(self.info.name.removeprefix("GPIO"))] = level


class LatchingFactory(MockFactory):  # type: ignore[misc]
    """A gpiozero factory of latching pins, for `labnode run` and `labnode safe`."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        super().__init__(revision=f"{GENERIC_REVISION:x}", pin_class=LatchingPin)


def use_latching_pins(path: Path) -> None:
    """Make them this process's real pins; before labnode's board is imported."""
    levels = Levels(path)
    factories.real_factory = lambda _work_dir=None: LatchingFactory(levels)
