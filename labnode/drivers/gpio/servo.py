"""Servos on pins, and what all servos have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.clock import earliest
from labnode.drivers.framework.driver import Widget
from labnode.drivers.framework.output import NumberOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_output import pwm_device
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration


@dataclass(kw_only=True)
class ServoOutput(NumberOutput):
    """A servo's position, from -1 to 1."""

    widget: ClassVar[Widget] = "dial"
    lowest = -1.0

    min_pulse_width: Annotated[Duration, Doc("The pulse at the lower end, in seconds.")] = 0.001
    max_pulse_width: Annotated[Duration, Doc("The pulse at the upper end, in seconds.")] = 0.002
    detach_after: Annotated[
        Duration | None, Doc("The pulses end this long after a move; by default they go on.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.min_pulse_width < self.max_pulse_width < self.frame:
            raise ValueError(Message("driver.pulse-widths"))

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._detach_at: float | None = None

    @property
    @abstractmethod
    def frame(self) -> float:
        """Seconds from pulse to pulse."""

    @abstractmethod
    def send_pulses(self, width: float) -> None:
        """Send pulses of this width in seconds; 0: none."""

    def drive(self, value: float) -> None:
        share = self._share(value)
        self.send_pulses((1 - share) * self.min_pulse_width + share * self.max_pulse_width)
        self._position = value
        if self.detach_after is not None:
            self._detach_at = self.services.clock.now() + self.detach_after

    @property
    def value(self) -> float:
        return self._position

    def due(self) -> float | None:
        return earliest(super().due(), self._detach_at)

    def poll(self) -> None:
        super().poll()
        if self._detach_at is not None and self._detach_at <= self.services.clock.now():
            self._detach_at = None
            self.send_pulses(0)

    def _share(self, value: float) -> float:
        """0 for the position at min_pulse_width, 1 for that at max_pulse_width."""
        return (value + 1) / 2


@register("servo")
@dataclass(kw_only=True)
class Servo(ServoOutput):
    """A servo on a pin; its value is a position, from -1 to 1, with 0 in the middle.

    A pulse of `min_pulse_width` is -1, of `max_pulse_width` is 1; see the servo's datasheet. The
    pulses are made by software and jitter a little: with `detach_after` they end once the servo has
    moved, and friction holds it. They also end with labnode: then the servo has no force.

    Example::

        gate: {driver: servo, pin: GPIO17, safe: -1, detach_after: 1s}
    """

    pin: Annotated[Pin, Doc("The pin of the servo.")]
    frame_width: Annotated[
        Duration, Between(0.001, 1), Doc("The time from pulse to pulse, in seconds.")
    ] = 0.02

    @property
    def frame(self) -> float:
        return self.frame_width

    def rest_level(self) -> dict[int, bool]:
        return {self.pin.number: False}

    def open(self) -> None:
        self.hardware = pwm_device(self.services, self.pin, frequency=1 / self.frame_width)
        self.reset()
        self.opened()

    def park(self) -> None:
        self._detach_at = None
        self.send_pulses(0)

    def send_pulses(self, width: float) -> None:
        self.hardware.value = width / self.frame_width


@dataclass(kw_only=True)
class AngleOutput(ServoOutput):
    """A servo's angle, from `min_angle` to `max_angle`."""

    unit: str = "°"
    min_angle: Annotated[float, Doc("The angle at min_pulse_width.")] = -90.0
    max_angle: Annotated[float, Doc("The angle at max_pulse_width.")] = 90.0

    def __post_init__(self) -> None:
        if self.min_angle == self.max_angle:
            raise ValueError(Message("driver.angles-differ"))
        self.lowest, self.highest = sorted((self.min_angle, self.max_angle))
        super().__post_init__()

    def _share(self, value: float) -> float:
        return (value - self.min_angle) / (self.max_angle - self.min_angle)


@register("angular_servo")
@dataclass(kw_only=True)
class AngularServo(AngleOutput, Servo):
    """A servo on a pin; its value is an angle. See servo for the rest.

    Example::

        flap: {driver: angular_servo, pin: GPIO17, min_angle: 0, max_angle: 180, max: 90, safe: 0}
    """
