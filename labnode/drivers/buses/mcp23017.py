"""The registers of the expander MCP23017, of which several devices may have some pins each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from labnode.drivers.buses.bus_pins import I2cAddress
from labnode.drivers.buses.i2c import Chip, I2cPart
from labnode.drivers.framework.bank import Bank, InputBank, OutputBank
from labnode.drivers.framework.registry import register
from labnode.errors import DeviceError
from labnode.schema import Between, Doc, Duration, shown

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
