"""PWM on a pin: a dimmed light, the speed of a fan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.framework.output import DutyCycleOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_pins import (
    ONLY_WHILE_RUNNING,
    pwm_device,
    rest_level,
    safe_warnings,
)
from labnode.schema import Between, Doc


@register("pwm_output")
@dataclass(kw_only=True)
class PwmOutput(DutyCycleOutput):
    """PWM on a pin; the value is the duty cycle, from 0 to 1.

    `min` and `max` limit the value; off (0) is always possible. PWM ends with labnode: a `safe`
    between 0 and 1 then becomes the nearer of the two (0.5 becomes 0).

    Example::

        fan: {driver: pwm_output, pin: GPIO18, frequency: 100, safe: 1.0}
    """

    pin: Annotated[Pin, Doc("The pin that is driven.")]
    frequency: Annotated[
        float,
        # lgpio's limits
        Between(0.1, 10_000, "driver: hardware_pwm goes higher, on GPIO12, 13, 18 and 19"),
        Doc("The PWM frequency, in Hz."),
    ] = 100.0
    active_high: Annotated[bool, Doc("false: the pin is low during a pulse.")] = True

    def rest_level(self) -> dict[int, bool]:
        return {self.pin.number: rest_level(self.safe, self.active_high)}

    def warnings(self) -> list[str]:
        return safe_warnings(f"{self.safe:g}", [self.safe], ONLY_WHILE_RUNNING)

    def open(self) -> None:
        self.hardware = pwm_device(
            self.services,
            self.pin,
            self.safe,
            frequency=self.frequency,
            active_high=self.active_high,
        )
        self.opened()

    def park(self) -> None:
        self.hardware.value = float(self.safe > 0.5)

    def drive(self, value: float) -> None:
        self.hardware.value = value

    @property
    def value(self) -> float:
        return round(float(self.hardware.value), 6)


@register("pwm_led")
@dataclass(kw_only=True)
class PwmLed(PwmOutput):
    """A dimmable light on a pin, from 0 to 1.

    Example::

        lamp: {driver: pwm_led, pin: GPIO18}
    """
