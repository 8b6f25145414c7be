"""The command labnode with pins whose levels outlive the process, as a Pi's do.

LABNODE_TEST_PINS is a file with a byte for each GPIO: 0 while nobody has ever driven it, then its
level from 1 (low) to 255 (high). `labnode run --simulate` and `labnode safe` drive the same pins.
"""

from __future__ import annotations

import mmap
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labnode.cli import main
from labnode.drivers.framework.driver import Driver, command
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio import factories

PINS = 28


def levels_in(path: Path) -> mmap.mmap:
    """The levels of all pins, for whoever writes or watches them."""
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), PINS)


class LatchedPin(factories.MockPin):
    def _set_function(self, value: str) -> None:
        super()._set_function(value)
        self._latch()

    def _set_state(self, value: Any) -> None:
        super()._set_state(value)
        self._latch()

    def output_with_state(self, state: Any) -> None:
        super().output_with_state(state)
        self._latch()

    def _latch(self) -> None:
        if self.function == "output":
            _levels[int(self.info.name.removeprefix("GPIO"))] = 1 + round(254 * float(self.state))


@register("jam")
@dataclass(kw_only=True)
class Jam(Driver):
    """A device whose command never returns."""

    @command
    def jam(self) -> None:
        threading.Event().wait()


if __name__ == "__main__":
    _levels = levels_in(Path(os.environ["LABNODE_TEST_PINS"]))
    factories.MockPin = LatchedPin  # type: ignore[misc]
    factories.real_factory = lambda _work_dir=None: factories.mock_factory()  # type: ignore[assignment]
    main(prog_name="labnode")
