"""A pin that is on for a part of the time: a dimmed light, the speed of a fan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.output import NumberOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_pins import doubts, pulsing, rest_level
from labnode.schema import Between, Doc


@register("pwm_output")
@dataclass(kw_only=True)
class PwmOutput(NumberOutput):
    """A pin that is on for a part of the time, from 0 to 1, by pulses of `frequency` Hz.

    `min` and `max` limit what may be set; off (0) is always possible. `safe` is the value at the
    start, after every student and at the end; as pulses end with the program, a `safe` between 0
    and 1 then becomes the nearer of the two (0.5 becomes 0).

    Example::

        fan: {driver: pwm_output, pin: GPIO18, frequency: 100, safe: 1.0}
    """

    pin: Annotated[Pin, Doc("The pin that is driven.")]
    frequency: Annotated[
        float,
        # Where lgpio stops.
        Between(0.1, 10_000, "driver: hardware_pwm goes higher, on GPIO12, 13, 18 and 19"),
        Doc("Pulses per second, in Hz."),
    ] = 100.0
    active_high: Annotated[bool, Doc("false: the pin is low during a pulse.")] = True

    def rest_level(self) -> dict[int, bool]:
        return {self.pin.number: rest_level(self.safe, self.active_high)}

    def doubts(self) -> list[str]:
        return doubts(f"{self.safe:g}", [self.safe], "only while labnode runs: before and after it")

    def open(self) -> None:
        self.hardware = pulsing(
            self.services,
            self.pin,
            self.safe,
            frequency=self.frequency,
            active_high=self.active_high,
        )
        self.opened()

    def close(self) -> None:
        if self.hardware is None:
            return
        hardware, self.hardware = self.hardware, None
        try:
            hardware.value = float(self.safe > 0.5)
        finally:
            hardware.close()

    def drive(self, value: float) -> None:
        self.hardware.value = value

    @property
    def value(self) -> float:
        return round(float(self.hardware.value), 6)

    @command
    def on(self) -> None:
        self.put(self.most, "on")

    @command
    def off(self) -> None:
        self.put(0.0, "off")

    def _allowed(self, value: float) -> bool:
        return value == 0 or super()._allowed(value)


@register("pwm_led")
@dataclass(kw_only=True)
class PwmLed(PwmOutput):
    """A light on a pin that can be dimmed, from 0 to 1.

    Example::

        lamp: {driver: pwm_led, pin: GPIO18}
    """
