"""The I/O expander MCP23017 on an I2C bus: single pins and banks, which share the chip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from labnode.drivers.buses.bus_pins import I2cAddress
from labnode.drivers.buses.expander import Expander
from labnode.drivers.buses.i2c import I2cPart
from labnode.drivers.framework.bank import Bank, InputBank, OutputBank
from labnode.drivers.framework.registry import register
from labnode.errors import DeviceError
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration, unlike

# Of port A; the register after each is that of port B (IOCON.BANK = 0, as after power-on).
_DIRECTION, _CONTROL, _PULL_UP, _PORT, _LATCH = 0x00, 0x0A, 0x0C, 0x12, 0x14
_BANKED = 0x80


class ExpanderPin(str):
    """A pin of the chip: A0 to A7 and B0 to B7, also written GPA0."""

    json_schema = {"type": "string", "pattern": "^(GP)?[ABab][0-7]$"}  # noqa: RUF012

    @classmethod
    def from_yaml(cls, value: object) -> ExpanderPin:
        if isinstance(value, str) and re.fullmatch(r"(GP)?[AB][0-7]", value.upper()):
            return cls(value.upper().removeprefix("GP"))
        raise ValueError(unlike(Message("driver.an-mcp23017-pin"), value))

    @property
    def place(self) -> int:
        """Its bit in the 16 bits of both ports; A0 is 0."""
        return 8 * (self[0] == "B") + int(self[1])


@dataclass(kw_only=True)
class Mcp23017Part(I2cPart):
    """An MCP23017 (Microchip DS20001952), or some of its pins."""

    chip = "MCP23017"
    addresses = range(0x20, 0x28)

    address: I2cAddress = 0x20

    def begin(self) -> None:
        if self.hardware.read(_CONTROL)[0] & _BANKED:
            chip = f"the chip at 0x{self.address:02x}"
            raise DeviceError(f"{chip} is no MCP23017 as it is at power-on")

    def read_both(self, register: int) -> int:
        """The 16 bits of a register of both ports."""
        return int.from_bytes(self.hardware.read(register, 2), "little")

    def change_both(self, register: int, mask: int, bits: int) -> None:
        """Write the bits of a `mask`, and keep those of others."""
        both = self.read_both(register) & ~mask | bits & mask
        self.hardware.write(register, *both.to_bytes(2, "little"))


@register("mcp23017")
@dataclass(kw_only=True)
class Mcp23017(Mcp23017Part, Expander):
    """The I/O expander MCP23017 on an I2C bus, whose 16 pins other devices use one by one.

    Its pins are A0 to A7 and B0 to B7, as in `pin: expander.A3`; on newer chips A7 and B7 are
    outputs only. Inputs have a pull-up resistor of 100 kΩ, or none. The chip's own pins A0 to A2
    select its address, 0x20 to 0x27. Outputs stay as they are after labnode has stopped: safe.

    Example::

        expander: {driver: mcp23017, address: 0x20}
    """

    @property
    def pin_names(self) -> list[str]:
        return [f"{port}{number}" for port in "AB" for number in range(8)]

    def read_levels(self) -> int:
        return self.read_both(_PORT)

    def make_output(self, place: int, level: bool) -> None:
        self.drive_level(place, level)
        self.change_both(_DIRECTION, 1 << place, 0)

    def make_input(self, place: int, pull_up: bool) -> None:
        self.change_both(_DIRECTION, 1 << place, 1 << place)
        self.change_both(_PULL_UP, 1 << place, pull_up << place)

    def drive_level(self, place: int, level: bool) -> None:
        self.change_both(_LATCH, 1 << place, level << place)

    def driven_level(self, place: int) -> bool:
        return bool(self.read_both(_LATCH) >> place & 1)


@dataclass(kw_only=True)
class ExpanderBank(Mcp23017Part, Bank):
    """A bank of some pins of an MCP23017."""

    pins: Annotated[list[ExpanderPin], Doc("The pins of the chip, the lowest bit first.")]

    def parts(self) -> list[Message]:
        return [Message("driver.claim-pin", name=str(pin)) for pin in self.pins]

    @property
    def width(self) -> int:
        return len(self.pins)

    @property
    def ones(self) -> int:
        """All bits."""
        return (1 << self.width) - 1

    def read_bits(self, register: int) -> int:
        """This device's bits of a register."""
        both = self.read_both(register)
        return sum((both >> pin.place & 1) << bit for bit, pin in enumerate(self.pins))

    def write_bits(self, register: int, value: int) -> None:
        """Write this device's bits of a register and keep those of others."""
        mask = sum(1 << pin.place for pin in self.pins)
        bits = sum((value >> bit & 1) << pin.place for bit, pin in enumerate(self.pins))
        self.change_both(register, mask, bits)


@register("mcp23017_input_bank")
@dataclass(kw_only=True)
class Mcp23017InputBank(ExpanderBank, InputBank):
    """Pins of the expander MCP23017 on an I2C bus that are read together, as a number.

    They are read every `sample_every` seconds. On newer chips A7 and B7 are outputs only.

    Example::

        lights: {driver: mcp23017_input_bank, address: 0x21, pins: [B0, B1, B2], sample_every: 50ms}
    """

    sample_every: Annotated[Duration, Between(0.01)] = 0.1
    pull_up: Annotated[
        bool, Doc("Whether the pins are pulled up, and a bit is 1 while its pin is low.")
    ] = False

    def begin(self) -> None:
        super().begin()
        self.write_bits(_DIRECTION, self.ones)
        self.write_bits(_PULL_UP, self.ones if self.pull_up else 0)

    def opened(self) -> None:
        super().opened()
        self.arrived(self._sample())

    def read(self) -> int:
        levels = self.read_bits(_PORT)
        return ~levels & self.ones if self.pull_up else levels

    def simulate(self, value: Any) -> None:
        super().simulate(None if value is None else int(value) & self.ones)


@register("mcp23017_output_bank")
@dataclass(kw_only=True)
class Mcp23017OutputBank(ExpanderBank, OutputBank):
    """Pins of the expander MCP23017 on an I2C bus that are driven together, as a number.

    The chip's pins A0 to A2 select its address, 0x20 to 0x27. The outputs stay safe after labnode
    has stopped.

    Example::

        switches: {driver: mcp23017_output_bank, address: 0x20, pins: [A0, A1, A2, A3], safe: 0}
    """

    active_high: Annotated[bool, Doc("false: a pin is low while its bit is 1.")] = True

    def begin(self) -> None:
        super().begin()
        self.reset()  # before they become outputs: safe from the first moment
        self.write_bits(_DIRECTION, 0)

    def drive(self, value: int) -> None:
        self.write_bits(_LATCH, self._levels(value))

    @property
    def value(self) -> int:
        return self._levels(self.read_bits(_LATCH))

    def _levels(self, value: int) -> int:
        return value if self.active_high else ~value & self.ones
