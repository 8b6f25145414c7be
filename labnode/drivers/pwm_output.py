"""A pin that is on for a part of the time: a dimmed light, the speed of a fan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import gpiozero

from labnode.drivers.base import Driver, Widget, command, register
from labnode.drivers.pins import Pin
from labnode.errors import BadInput
from labnode.schema import Between, Doc


@register("pwm_output")
@dataclass(kw_only=True)
class PwmOutput(Driver):
    """A pin that is on for a part of the time, from 0 to 1, by pulses of `frequency` Hz.

    `min` and `max` limit what may be set; off (0) is always possible. `safe` is the value at the
    start, after every student and at the end; as pulses end with the program, a `safe` between 0
    and 1 then becomes the nearer of the two (0.5 becomes 0).

    Example::

        fan: {driver: pwm_output, pin: GPIO18, frequency: 100, safe: 1.0}
    """

    widget: ClassVar[Widget] = "slider"

    pin: Annotated[Pin, Doc("The pin that is driven.")]
    frequency: Annotated[
        float,
        Between(0.1, 10_000),  # all that lgpio can do
        Doc("Pulses per second, in Hz."),
    ] = 100.0
    active_high: Annotated[bool, Doc("false: the pin is low during a pulse.")] = True
    safe: Annotated[
        float,
        Between(0, 1),
        Doc("The value at the start, before and after every student, and at the end."),
    ] = 0.0
    min: Annotated[float, Between(0, 1), Doc("The least that may be set, besides 0.")] = 0.0
    max: Annotated[float, Between(0, 1), Doc("The most that may be set.")] = 1.0

    def __post_init__(self) -> None:
        if self.min >= self.max:
            raise ValueError(f"min ({self.min:g}) must be less than max ({self.max:g})")

    def open(self) -> None:
        # gpiozero makes the pin an output, then sets frequency and value: it has to have the right
        # level already, or a fan whose safe value is 1 stops and an inverted heater heats.
        pin = self.services.pins.pin(self.pin.name)
        pin.output_with_state((self.safe > 0.5) == self.active_high)
        self.hardware = gpiozero.PWMOutputDevice(
            self.pin.name,
            active_high=self.active_high,
            initial_value=self.safe,
            frequency=self.frequency,
            pin_factory=self.services.pins,
        )

    def reset(self) -> None:
        self.hardware.value = self.safe

    def close(self) -> None:
        if self.hardware is None:
            return
        hardware, self.hardware = self.hardware, None
        try:
            hardware.value = float(self.safe > 0.5)
        finally:
            hardware.close()

    @property
    def value(self) -> float:
        return round(float(self.hardware.value), 6)

    def describe(self) -> dict[str, Any]:
        return {"min": self.min, "max": self.max, "step": 0.01}

    @command
    def set(self, value: float) -> None:
        if value != 0 and not self.min <= value <= self.max:
            raise BadInput(
                f"{self.name}.set: 'value' must be a number from {self.min:g} to {self.max:g}, "
                f"not {value:g}"
            )
        self.hardware.value = value

    @command
    def on(self) -> None:
        self.set(self.max)

    @command
    def off(self) -> None:
        self.set(0)
