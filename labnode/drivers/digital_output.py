"""A pin that is on or off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import gpiozero

from labnode.drivers.base import Driver, Widget, command, register
from labnode.drivers.pins import Pin
from labnode.schema import Doc


@register("digital_output")
@dataclass(kw_only=True)
class DigitalOutput(Driver):
    """A pin that is on or off.

    `safe` is its value at the start, after every student and at the end. With `active_high: false`
    the pin is low while the value is on.

    Example::

        valve: {driver: digital_output, pin: GPIO17, active_high: false, safe: false}
    """

    widget: ClassVar[Widget] = "switch"

    pin: Annotated[Pin, Doc("The pin that is driven.")]
    active_high: Annotated[bool, Doc("false: the pin is low while the value is on.")] = True
    safe: Annotated[
        bool, Doc("The value at the start, before and after every student, and at the end.")
    ] = False

    def open(self) -> None:
        self.hardware = gpiozero.DigitalOutputDevice(
            self.pin.name,
            active_high=self.active_high,
            initial_value=self.safe,
            pin_factory=self.services.pins,
        )

    def reset(self) -> None:
        self.set(self.safe)

    @property
    def value(self) -> bool:
        return bool(self.hardware.value)

    @command
    def set(self, value: bool) -> None:
        self.hardware.value = value

    @command
    def on(self) -> None:
        self.set(True)

    @command
    def off(self) -> None:
        self.set(False)

    @command
    def toggle(self) -> None:
        self.set(not self.value)
