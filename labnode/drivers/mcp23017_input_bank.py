"""Inputs of the expander MCP23017, read as a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from labnode.drivers.bank import InputBank
from labnode.drivers.base import register
from labnode.drivers.mcp23017 import DIRECTION, PORT, PULL_UP, Expander
from labnode.schema import Between, Doc, Duration


@register("mcp23017_input_bank")
@dataclass(kw_only=True)
class Mcp23017InputBank(Expander, InputBank):
    """Pins of the expander MCP23017 on an I2C bus that are read together, as a number.

    The first of `pins` is the lowest bit. They are read every `sample_every` seconds. A7 and B7 of
    newer chips are outputs only.

    Example::

        lights: {driver: mcp23017_input_bank, address: 0x21, pins: [B0, B1, B2], sample_every: 50ms}
    """

    sample_every: Annotated[Duration, Between(0.01)] = 0.1
    pull_up: Annotated[
        bool, Doc("Whether the pins rest high, and a bit is 1 while its pin is low.")
    ] = False

    def open(self) -> None:
        self.hardware = self.open_chip()
        try:
            self.begin(self.hardware)
            ones = (1 << self.width) - 1
            self.put_bits(DIRECTION, ones)
            self.put_bits(PULL_UP, ones if self.pull_up else 0)
            self.opened()
            self.arrived(self._sample())
        except BaseException:
            self.close()
            raise

    def read(self) -> int:
        levels = self.get(PORT)
        return ~levels & (1 << self.width) - 1 if self.pull_up else levels

    def simulate(self, value: Any) -> None:
        super().simulate(None if value is None else int(value) & (1 << self.width) - 1)
