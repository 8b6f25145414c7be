"""A servo on a pin that is told an angle, and what all of these have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.framework.registry import register
from labnode.drivers.servo import Positioned, Servo
from labnode.schema import Doc


@dataclass(kw_only=True)
class Angular(Positioned):
    """Servos whose values are angles."""

    unit: str = "°"
    min_angle: Annotated[float, Doc("The angle at min_pulse_width.")] = -90.0
    max_angle: Annotated[float, Doc("The angle at max_pulse_width.")] = 90.0

    def __post_init__(self) -> None:
        if self.min_angle == self.max_angle:
            raise ValueError("min_angle and max_angle must differ")
        self.lowest, self.highest = sorted((self.min_angle, self.max_angle))
        super().__post_init__()

    def _share(self, value: float) -> float:
        return (value - self.min_angle) / (self.max_angle - self.min_angle)


@register("angular_servo")
@dataclass(kw_only=True)
class AngularServo(Angular, Servo):
    """A servo that is told an angle, from `min_angle` to `max_angle`; see servo for the rest.

    A pulse of `min_pulse_width` is `min_angle`, of `max_pulse_width` is `max_angle`.

    Example::

        flap: {driver: angular_servo, pin: GPIO17, min_angle: 0, max_angle: 180, max: 90, safe: 0}
    """
