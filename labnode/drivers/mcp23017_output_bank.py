"""Outputs of the expander MCP23017, driven as a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.bank import OutputBank
from labnode.drivers.base import register
from labnode.drivers.mcp23017 import DIRECTION, LATCH, Expander
from labnode.schema import Doc


@register("mcp23017_output_bank")
@dataclass(kw_only=True)
class Mcp23017OutputBank(Expander, OutputBank):
    """Pins of the expander MCP23017 on an I2C bus that are driven together, as a number.

    The first of `pins` is the lowest bit. Its address is 0x20, or as its pins A0 to A2 say up to
    0x27. It keeps the safe value when labnode has ended.

    Example::

        switches: {driver: mcp23017_output_bank, address: 0x20, pins: [A0, A1, A2, A3], safe: 0}
    """

    active_high: Annotated[bool, Doc("false: a pin is low while its bit is 1.")] = True

    def open(self) -> None:
        self.hardware = self.open_chip()
        try:
            self.begin(self.hardware)
            self.reset()  # before they become outputs: safe from the first moment
            self.put_bits(DIRECTION, 0)
        except BaseException:
            chip, self.hardware = self.hardware, None
            chip.close()
            raise
        self.opened()

    def drive(self, value: int) -> None:
        self.put_bits(LATCH, self._levels(value))

    @property
    def value(self) -> int:
        return self._levels(self.get(LATCH))

    def _levels(self, value: int) -> int:
        return value if self.active_high else ~value & (1 << self.width) - 1
