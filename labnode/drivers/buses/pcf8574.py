"""The I/O expander PCF8574 on an I2C bus."""

from __future__ import annotations

from dataclasses import dataclass

from labnode.drivers.buses.bus_pins import I2cAddress
from labnode.drivers.buses.expander import Expander
from labnode.drivers.framework.registry import register
from labnode.locale import Message, Wording

_ALL = 0xFF


@register("pcf8574")
@dataclass(kw_only=True)
class Pcf8574(Expander):
    """The I/O expander PCF8574 on an I2C bus, whose 8 pins other devices use one by one.

    Its pins are P0 to P7, as in `pin: expander.P3`. Low is driven with up to 25 mA, but high is a
    current of 0.1 mA, too weak for a relay or a LED: wire these to be on while low, and say
    `active_high: false`. An input is such a high pin that something pulls low: `pull_up: true`.
    From power-on until labnode starts all pins are high. The chip has the addresses 0x20 to 0x27,
    a PCF8574A 0x38 to 0x3f. (Texas Instruments SCPS068, NXP PCF8574/74A: quasi-bidirectional I/Os.)

    Example::

        expander: {driver: pcf8574, address: 0x27}
    """

    chip = "PCF8574"
    addresses = (*range(0x20, 0x28), *range(0x38, 0x40))

    address: I2cAddress = 0x20

    def shared_as(self) -> str:
        return ""  # its one byte is written as a whole, so it belongs to one device

    @property
    def pin_names(self) -> list[str]:
        return [f"P{number}" for number in range(8)]

    def begin(self) -> None:
        # What was driven low before labnode started stays so; pins that nobody uses are high.
        used = sum(1 << self.pin_names.index(pin) for pin in self.pin_uses)
        self._driven = self.hardware.receive() | _ALL & ~used

    def warnings(self) -> list[str | Wording]:
        return [
            *super().warnings(),
            *(
                Message("driver.weak-high", pin=pin, device=f"'{use.device}'")
                for pin, use in self.pin_uses.items()
                if use.active_high
            ),
        ]

    def refusal(self, pull_up: bool | None) -> str | Wording | None:
        return None if pull_up else Message("driver.chip-pulled-up", chip=self.chip)

    def read_levels(self) -> int:
        return int(self.hardware.receive())

    def make_output(self, place: int, level: bool) -> None:
        self.drive_level(place, level)

    def make_input(self, place: int, pull_up: bool) -> None:  # noqa: ARG002 - always
        self.drive_level(place, True)

    def drive_level(self, place: int, level: bool) -> None:
        driven = self._driven & ~(1 << place) & _ALL | level << place
        self.hardware.send(driven)
        self._driven = driven

    def driven_level(self, place: int) -> bool:
        self.hardware.receive()  # whether it answers: what it reads are levels, not what is driven
        return bool(self._driven >> place & 1)
