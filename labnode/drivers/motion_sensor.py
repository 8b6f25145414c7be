"""A sensor that sees somebody move."""

from __future__ import annotations

from dataclasses import dataclass

from labnode.drivers.digital_input import DigitalInput
from labnode.drivers.framework.registry import register


@register("motion_sensor")
@dataclass(kw_only=True)
class MotionSensor(DigitalInput):
    """A passive infrared sensor (HC-SR501): on while it sees somebody move.

    Example::

        somebody: {driver: motion_sensor, pin: GPIO27}
    """
