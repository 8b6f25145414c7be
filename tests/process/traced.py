"""The command labnode; its mock pins tell each level they are driven to, as probes on wires would.

Lines like "GPIO17 1.0" go to the pipe whose number is in LABNODE_TEST_TRACE, whatever happens to
the process afterwards.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

import labnode.clock
from labnode.cli import main
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio import factories

_TRACE = int(os.environ["LABNODE_TEST_TRACE"])
labnode.clock.HUNG_AFTER = float(os.environ.get("LABNODE_TEST_HUNG_AFTER", "30"))


class TracedPin(factories.MockPin):
    told: Any = None

    def _set_function(self, value: str) -> None:
        super()._set_function(value)
        self._tell()

    def _set_state(self, value: Any) -> None:
        super()._set_state(value)
        self._tell()

    def _tell(self) -> None:
        level = float(self.state)
        if self.function == "output" and self.told != level:
            self.told = level
            os.write(_TRACE, f"{self.info.name} {level}\n".encode())


factories.MockPin = TracedPin  # type: ignore[misc]


@register("stuck")
@dataclass(kw_only=True)
class Stuck(Driver):
    """A device that does not answer when it is opened."""

    simulates = True

    def open(self) -> None:
        os.write(_TRACE, b"stuck\n")
        threading.Event().wait()


if __name__ == "__main__":
    main(prog_name="labnode")
