"""A light on a pin that can be dimmed."""

from __future__ import annotations

from dataclasses import dataclass

from labnode.drivers.framework.registry import register
from labnode.drivers.pwm_output import PwmOutput


@register("pwm_led")
@dataclass(kw_only=True)
class PwmLed(PwmOutput):
    """A light on a pin that can be dimmed, from 0 to 1.

    Example::

        lamp: {driver: pwm_led, pin: GPIO18}
    """
