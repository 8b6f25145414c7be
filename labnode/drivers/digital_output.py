"""A pin that is on or off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import gpiozero

from labnode.drivers.framework.output import SwitchOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.pins import Pin
from labnode.schema import Doc


@register("digital_output")
@dataclass(kw_only=True)
class DigitalOutput(SwitchOutput):
    """A pin that is on or off.

    `safe` is its value at the start, after every student and at the end. With `active_high: false`
    the pin is low while the value is on.

    Example::

        valve: {driver: digital_output, pin: GPIO17, active_high: false, safe: false}
    """

    pin: Annotated[Pin, Doc("The pin that is driven.")]
    active_high: Annotated[bool, Doc("false: the pin is low while the value is on.")] = True

    def rest_level(self) -> dict[int, bool]:
        return {self.pin.number: self.safe == self.active_high}

    def open(self) -> None:
        self.hardware = gpiozero.DigitalOutputDevice(
            self.pin.name,
            active_high=self.active_high,
            initial_value=self.safe,
            pin_factory=self.services.pins,
        )
        self.opened()

    def drive(self, value: bool) -> None:
        self.hardware.value = value

    @property
    def value(self) -> bool:
        return bool(self.hardware.value)
