"""PWM on pins, which have a safe level before the first pulse and after the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gpiozero

from labnode.drivers.framework.driver import Services
from labnode.drivers.gpio.pin import Pin

ONLY_WHILE_RUNNING = "only while labnode runs: before and after it"


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
