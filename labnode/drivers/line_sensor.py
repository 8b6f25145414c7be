"""A sensor that sees a dark line on a bright floor."""

from __future__ import annotations

from dataclasses import dataclass

from labnode.drivers.digital_input import DigitalInput
from labnode.drivers.framework.registry import register


@register("line_sensor")
@dataclass(kw_only=True)
class LineSensor(DigitalInput):
    """A sensor that looks at the floor (TCRT5000, CNY70): on while it sees a dark line.

    The modules pull their pin low over the line; `active_state: true` is for those that do not.

    Example::

        line: {driver: line_sensor, pin: GPIO27, bounce_time: 2ms}
    """

    pull_up: bool | None = None
    active_state: bool | None = False
