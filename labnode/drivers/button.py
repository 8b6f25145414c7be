"""A push button between a pin and ground."""

from __future__ import annotations

from dataclasses import dataclass

from labnode.drivers.digital_input import DigitalInput
from labnode.drivers.framework.registry import register


@register("button")
@dataclass(kw_only=True)
class Button(DigitalInput):
    """A push button between a pin and ground: on while it is pressed.

    Example::

        stop: {driver: button, pin: GPIO27, role: estop, normally_closed: true}
    """

    pull_up: bool | None = True
