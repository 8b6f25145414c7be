"""The registers of the expander MCP23017, of which several devices may have some pins each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.bank import Bank
from labnode.drivers.buses import I2cAddress
from labnode.drivers.i2c import Chip, I2cPart
from labnode.errors import DeviceError
from labnode.schema import Doc, shown

# Of port A; port B has the next one each (IOCON.BANK = 0, as after power-on).
DIRECTION, INVERT, CONTROL, PULL_UP, PORT, LATCH = 0x00, 0x02, 0x0A, 0x0C, 0x12, 0x14
_BANKED = 0x80


class ExpanderPin(str):
    """A pin of the chip: A0 to A7 and B0 to B7, also written GPA0."""

    json_schema = {"type": "string", "pattern": "^(GP)?[ABab][0-7]$"}  # noqa: RUF012

    @classmethod
    def from_yaml(cls, value: object) -> ExpanderPin:
        if isinstance(value, str) and re.fullmatch(r"(GP)?[AB][0-7]", value.upper()):
            return cls(value.upper().removeprefix("GP"))
        raise ValueError(f"expected a pin of the chip, A0 to A7 or B0 to B7, not {shown(value)}")

    @property
    def place(self) -> int:
        """Its bit in the 16 of both ports, A0 is 0."""
        return 8 * (self[0] == "B") + int(self[1])


@dataclass(kw_only=True)
class Expander(I2cPart, Bank):
    """A bank of pins of an MCP23017 (Microchip DS20001952), whose other pins are others'."""

    chip = "MCP23017"

    address: I2cAddress = 0x20
    pins: Annotated[list[ExpanderPin], Doc("The pins of the chip, the lowest bit first.")]

    def parts(self) -> list[str]:
        return [f"pin {pin}" for pin in self.pins]

    @property
    def width(self) -> int:
        return len(self.pins)

    def begin(self, chip: Chip) -> None:
        """The chip as this device thinks that it is."""
        if chip.read(CONTROL)[0] & _BANKED:
            raise DeviceError(
                f"the chip at 0x{self.address:02x} is no MCP23017 as it is at power-on"
            )

    def get(self, register: int) -> int:
        """This device's bits of a register."""
        both = int.from_bytes(self.hardware.read(register, 2), "little")
        return sum((both >> pin.place & 1) << bit for bit, pin in enumerate(self.pins))

    def put_bits(self, register: int, value: int) -> None:
        """Write this device's bits of a register, and those of others as they are."""
        both = int.from_bytes(self.hardware.read(register, 2), "little")
        for bit, pin in enumerate(self.pins):
            both = both & ~(1 << pin.place) | (value >> bit & 1) << pin.place
        self.hardware.write(register, *both.to_bytes(2, "little"))
