"""A motor with a bridge that has a pin for the direction and one for the speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import gpiozero

from labnode.drivers.framework.registry import register
from labnode.drivers.motor import Turning
from labnode.drivers.pins import Pin
from labnode.drivers.pulses import Group, pulsing
from labnode.schema import Doc


@register("phase_enable_motor")
@dataclass(kw_only=True)
class PhaseEnableMotor(Turning):
    """A motor with a bridge that has a pin for the direction and one for the speed (DRV8835).

    Its value is the speed, from -1 (backward) to 1.

    Example::

        wheel: {driver: phase_enable_motor, phase: GPIO17, enable: GPIO18}
    """

    phase: Annotated[Pin, Doc("The pin that says the direction; it is high for backward.")]
    enable: Annotated[Pin, Doc("The pin that pulses: the speed.")]

    def rest_level(self) -> dict[int, bool]:
        return {self.phase.number: False, self.enable.number: False}

    def open(self) -> None:
        with Group() as group:
            group.add(pulsing(self.services, self.enable, frequency=self.frequency))
            phase = gpiozero.DigitalOutputDevice(self.phase.name, pin_factory=self.services.pins)
            group.add(phase)
        self.hardware = group
        self.reset()
        self.opened()

    def drive(self, value: float) -> None:
        enable, phase = self.hardware.members
        backward = value < 0
        if phase.value != backward:
            enable.value = 0  # the bridge must not turn round at full speed
            phase.value = backward
        enable.value = abs(value)
        self._take(value)
