"""A light on a pin."""

from __future__ import annotations

from dataclasses import dataclass

from labnode.drivers.digital_output import DigitalOutput
from labnode.drivers.framework.registry import register


@register("led")
@dataclass(kw_only=True)
class Led(DigitalOutput):
    """A light on a pin. With `active_high: false` it is wired to 3V3 and lit by a low pin.

    Example::

        lamp: {driver: led, pin: GPIO17}
    """
