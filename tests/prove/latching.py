"""Pins that keep their levels when their process dies, as a Pi's do, and labnode on such pins.

python latching.py LABNODE-ARGUMENT...

They are bytes of the file $LABNODE_TEST_PINS, one per pin. $LABNODE_TEST_WIRE ("17-27") joins two.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gpiozero import PinSetInput
from gpiozero.pins.mock import MockFactory
from gpiozero.pins.pi import PiPin

from labnode.drivers.gpio import factories

_PINS = 28
_UNDRIVEN = 2
_EVERY = 0.001  # seconds between two looks at an input


class LatchingPin(factories.MockPin):
    """An output writes its level into the file, and an input reads it there."""

    def __init__(self, factory: Any, info: Any) -> None:
        super().__init__(factory, info)
        self._number = int(info.name.removeprefix("GPIO"))
        self._cell = factory.wire.get(self._number, self._number)
        self._watched = threading.Event()
        self._watcher: threading.Thread | None = None

    def _get_state(self) -> Any:
        cell = self.factory.cells[self._cell]
        return self._pull == "up" if cell == _UNDRIVEN else bool(cell)

    def _change_state(self, value: Any) -> bool:
        if self._function == "output":
            self.factory.cells[self._cell] = int(bool(value))
        return bool(super()._change_state(value))

    def _set_function(self, value: str) -> None:
        self._function = value

    def _set_state(self, value: Any) -> None:
        if self._function == "input":
            raise PinSetInput(f"cannot set state of pin {self!r}")
        super()._set_state(value)

    def _set_pull(self, value: str) -> None:
        self._pull = value

    def close(self) -> None:
        self.when_changed = None
        if self._function == "output":
            self.frequency = None

    def _enable_event_detect(self) -> None:
        self._watched.clear()
        self._watcher = threading.Thread(target=self._watch, name="latching-pin", daemon=True)
        self._watcher.start()

    def _disable_event_detect(self) -> None:
        self._watched.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        self._watcher = None

    def _watch(self) -> None:
        before = self._get_state()
        while not self._watched.wait(_EVERY):
            state = self._get_state()
            if state != before:
                before = state
                PiPin._call_when_changed(self, time.monotonic(), state)


class LatchingFactory(MockFactory):  # type: ignore[misc]
    """All pins of the file."""

    def __init__(self) -> None:
        super().__init__(revision="c03111", pin_class=LatchingPin)
        first, _, second = os.environ.get("LABNODE_TEST_WIRE", "").partition("-")
        self.wire = {int(second): int(first)} if second else {}
        path = Path(os.environ["LABNODE_TEST_PINS"])
        if not path.exists():
            path.write_bytes(bytes([_UNDRIVEN]) * _PINS)
        with path.open("r+b") as file:
            self.cells = mmap.mmap(file.fileno(), _PINS)

    def close(self) -> None:
        for pin in self.pins.values():
            pin.close()
        self.cells.close()


def latching_factory(_work_dir: Path | None = None) -> LatchingFactory:
    """Stands in for `real_factory`."""
    return LatchingFactory()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    factories.real_factory = latching_factory
    import labnode.board.board

    labnode.board.board.real_factory = latching_factory
    from labnode.cli import main

    main(prog_name="labnode")
