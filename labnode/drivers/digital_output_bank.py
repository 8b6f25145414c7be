"""Several pins that are driven together, as a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import gpiozero

from labnode.drivers.framework.bank import OutputBank, number
from labnode.drivers.framework.registry import register
from labnode.drivers.pins import Pin
from labnode.drivers.pulses import Group
from labnode.schema import Doc


@register("digital_output_bank")
@dataclass(kw_only=True)
class DigitalOutputBank(OutputBank):
    """Several pins that are driven together, as a number: the switches of another board.

    The first of `pins` is the lowest bit. With `active_high: false` a pin is low while its bit
    is 1.

    Example::

        switches: {driver: digital_output_bank, pins: [GPIO17, GPIO27, GPIO22, GPIO23], safe: 0}
    """

    pins: Annotated[list[Pin], Doc("The pins, the lowest bit first.")]
    active_high: Annotated[bool, Doc("false: a pin is low while its bit is 1.")] = True

    @property
    def width(self) -> int:
        return len(self.pins)

    def rest_level(self) -> dict[int, bool]:
        return {
            pin.number: bool(self.safe >> place & 1) == self.active_high
            for place, pin in enumerate(self.pins)
        }

    def open(self) -> None:
        with Group() as group:
            for place, pin in enumerate(self.pins):
                output = gpiozero.DigitalOutputDevice(
                    pin.name,
                    active_high=self.active_high,
                    initial_value=bool(self.safe >> place & 1),
                    pin_factory=self.services.pins,
                )
                group.add(output)
        self.hardware = group
        self.opened()

    def drive(self, value: int) -> None:
        self.hardware.values = [value >> place & 1 for place in range(self.width)]

    @property
    def value(self) -> int:
        return number(self.hardware.values)
