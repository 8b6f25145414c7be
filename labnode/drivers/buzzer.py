"""A buzzer on a pin that has its own tone."""

from __future__ import annotations

from dataclasses import dataclass

from labnode.drivers.digital_output import DigitalOutput
from labnode.drivers.framework.registry import register


@register("buzzer")
@dataclass(kw_only=True)
class Buzzer(DigitalOutput):
    """An active buzzer on a pin: on, it sounds with its own tone. See tonal_buzzer for others.

    Example::

        horn: {driver: buzzer, pin: GPIO22, max_on_time: 2s}
    """
