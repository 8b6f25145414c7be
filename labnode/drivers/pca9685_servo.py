"""A servo on an output of a PCA9685 on an I2C bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.angular_servo import Angular
from labnode.drivers.base import register
from labnode.drivers.pca9685 import PwmChannel
from labnode.schema import Between


@register("pca9685_servo")
@dataclass(kw_only=True)
class Pca9685Servo(PwmChannel, Angular):
    """A servo on one of the 16 outputs of a PCA9685, which is told an angle.

    The chip's pulses do not tremble, and they go on when labnode has ended: the servo holds its
    safe angle.

    Example::

        arm: {driver: pca9685_servo, channel: 0, min_angle: 0, max_angle: 180, safe: 90}
    """

    frequency: Annotated[float, Between(24, 330)] = 50.0

    @property
    def frame(self) -> float:
        return 1 / self.frequency

    def open(self) -> None:
        super().open()
        self.opened()

    def pulse_width(self, seconds: float) -> None:
        self.write(seconds * self.frequency)
