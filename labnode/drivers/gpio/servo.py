"""A servo on a pin that is told a position, and what all servos have."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.driver import Widget
from labnode.drivers.framework.output import NumberOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_pins import pulsing
from labnode.schema import Between, Doc, Duration


@dataclass(kw_only=True)
class Positioned(NumberOutput):
    """What all servos have; a subclass has `pulse`, and `frame`, the time from pulse to pulse."""

    widget: ClassVar[Widget] = "dial"
    lowest = -1.0

    min_pulse_width: Annotated[Duration, Doc("The pulse at the one end, in seconds.")] = 0.001
    max_pulse_width: Annotated[Duration, Doc("The pulse at the other end, in seconds.")] = 0.002
    detach_after: Annotated[
        Duration | None, Doc("How long after it was moved the pulses go on; by default always.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.min_pulse_width < self.max_pulse_width < self.frame:
            raise ValueError(
                "min_pulse_width must be less than max_pulse_width, and that less than the time "
                "from pulse to pulse"
            )

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._detach_at: float | None = None

    @property
    @abstractmethod
    def frame(self) -> float:
        """Seconds from pulse to pulse."""

    @abstractmethod
    def pulse_width(self, seconds: float) -> None:
        """Give pulses of this length; 0 is none."""

    def drive(self, value: float) -> None:
        longer = self._share(value) * (self.max_pulse_width - self.min_pulse_width)
        self.pulse_width(self.min_pulse_width + longer)
        self._position = value
        if self.detach_after is not None:
            self._detach_at = self.services.clock.now() + self.detach_after

    @property
    def value(self) -> float:
        return self._position

    def due(self) -> float | None:
        times = (super().due(), self._detach_at)
        return min((time for time in times if time is not None), default=None)

    def poll(self) -> None:
        super().poll()
        if self._detach_at is not None and self._detach_at <= self.services.clock.now():
            self._detach_at = None
            self.pulse_width(0)

    def _share(self, value: float) -> float:
        """How far from min_pulse_width to max_pulse_width a position is."""
        return (value + 1) / 2


@register("servo")
@dataclass(kw_only=True)
class Servo(Positioned):
    """A servo that is told a position, from -1 over 0 (the middle) to 1.

    A pulse of `min_pulse_width` is -1, of `max_pulse_width` is 1; look them up, servos differ. The
    pulses are made by software and tremble a little: with `detach_after` they end once the servo
    had the time to move, and it keeps its place by friction. They end with labnode, too: while it
    is stopped a servo has no force.

    Example::

        gate: {driver: servo, pin: GPIO17, safe: -1, detach_after: 1s}
    """

    pin: Annotated[Pin, Doc("The pin that gives the pulses.")]
    frame_width: Annotated[
        Duration, Between(0.001, 1), Doc("The time from pulse to pulse, in seconds.")
    ] = 0.02

    @property
    def frame(self) -> float:
        return self.frame_width

    def rest_level(self) -> dict[int, bool]:
        return {self.pin.number: False}

    def open(self) -> None:
        self.hardware = pulsing(self.services, self.pin, frequency=1 / self.frame_width)
        self.reset()
        self.opened()

    def close(self) -> None:
        self._detach_at = None
        if self.hardware is None:
            return
        hardware, self.hardware = self.hardware, None
        try:
            hardware.value = 0
        finally:
            hardware.close()

    def pulse_width(self, seconds: float) -> None:
        self.hardware.value = seconds / self.frame_width


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
