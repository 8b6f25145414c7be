"""PWM on a pin, which has a safe level before the first pulse and after the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import gpiozero

from labnode.drivers.framework.driver import Services
from labnode.drivers.framework.output import DutyCycleOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin
from labnode.schema import Between, Doc

ONLY_WHILE_RUNNING = "only while labnode runs: before and after it"


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


def pwm_device(
    services: Services,
    pin: Pin,
    value: float = 0.0,
    *,
    frequency: float = 100.0,
    active_high: bool = True,
) -> Any:
    """A gpiozero device for PWM on a pin, with `value` from 0 to 1.

    gpiozero makes the pin an output before it sets frequency and value: the pin needs the right
    level already, or a fan with safe value 1 stops and an inverted heater heats.
    """
    services.pins.pin(pin.name).output_with_state(rest_level(value, active_high))
    return gpiozero.PWMOutputDevice(
        pin.name,
        active_high=active_high,
        initial_value=value,
        frequency=frequency,
        pin_factory=services.pins,
    )


def rest_level(value: float, active_high: bool = True) -> bool:
    """The level of a pin for `value` (0 to 1) without PWM."""
    return (value > 0.5) == active_high


def safe_warnings(safe: object, duties: Sequence[float], lasts: str) -> list[str]:
    """A warning if a safe value has duty cycles between 0 and 1, which do not last for ever."""
    levels = " and ".join("on" if duty > 0.5 else "off" for duty in duties)
    pins = "the pin is" if len(duties) == 1 else "the pins are"
    return [f"safe: {safe} lasts {lasts} {pins} {levels}"] if set(duties) - {0.0, 1.0} else []
