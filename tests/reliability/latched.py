"""The command labnode on latching pins, with a device whose command never returns."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from labnode.drivers.framework.driver import Driver, command
from labnode.drivers.framework.registry import register
from tests.kit.latching import use_latching_pins


@register("jam")
@dataclass(kw_only=True)
class Jam(Driver):
    """A device that hangs in its first command."""

    simulates = True

    @command
    def jam(self) -> None:
        threading.Event().wait()


if __name__ == "__main__":
    use_latching_pins()
    from labnode.cli import main

    main(prog_name="labnode")
