"""A relay on a pin."""

from __future__ import annotations

from dataclasses import dataclass

from labnode.drivers.digital_output import DigitalOutput
from labnode.drivers.framework.registry import register


@register("relay")
@dataclass(kw_only=True)
class Relay(DigitalOutput):
    """A relay on a pin. Many relay boards close the contact on a low pin: `active_high: false`.

    Example::

        heater: {driver: relay, pin: GPIO17, active_high: false, safe: false}
    """
