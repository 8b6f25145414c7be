"""A motor with a bridge that has a pin for each direction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import gpiozero

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.output import NumberOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_pins import Group, pulsing
from labnode.schema import Between, Doc


@dataclass(kw_only=True)
class Turning(NumberOutput):
    """What all motors have: a speed from -1 (backward) over 0 (stop) to 1 (forward).

    A motor's safe value is to stand still.
    """

    lowest = -1.0

    frequency: Annotated[float, Between(0.1, 10_000), Doc("Pulses per second, in Hz.")] = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.safe != 0:
            raise ValueError("a motor stands still while nobody uses it: safe must be 0")

    @property
    def value(self) -> float:
        return self._speed

    @command
    def forward(self) -> None:
        self.put(max(self.most, 0.0), "forward")

    @command
    def backward(self) -> None:
        self.put(min(self.least, 0.0), "backward")

    @command
    def stop(self) -> None:
        self.put(0.0, "stop")

    def _take(self, value: float) -> None:
        self._speed = round(value, 6)


@register("motor")
@dataclass(kw_only=True)
class Motor(Turning):
    """A motor with a bridge that has a pin for each direction (L298N, DRV8833, L9110).

    Its value is the speed, from -1 (backward) to 1. With `pwm: false` it knows only -1, 0 and 1.
    `enable` is a pin that the bridge needs high to turn; it is high only while the motor turns.

    Example::

        belt: {driver: motor, forward: GPIO17, backward: GPIO27, max: 0.8, max_on_time: 30s}
    """

    forward_pin: Annotated[Pin, Doc("The pin that turns the motor forward.")] = field(
        metadata={"key": "forward"}
    )
    backward_pin: Annotated[Pin, Doc("The pin that turns the motor backward.")] = field(
        metadata={"key": "backward"}
    )
    enable: Annotated[Pin | None, Doc("A pin of the bridge that is high while it turns.")] = None
    pwm: Annotated[bool, Doc("false: it has no speeds but -1, 0 and 1.")] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pwm and self.step is None:
            self.step = 1.0

    def rest_level(self) -> dict[int, bool]:
        pins = (self.forward_pin, self.backward_pin, self.enable)
        return {pin.number: False for pin in pins if pin is not None}

    def open(self) -> None:
        with Group() as group:
            for pin in (self.forward_pin, self.backward_pin):
                group.add(self._output(pin, pulses=self.pwm))
            if self.enable is not None:
                group.add(self._output(self.enable, pulses=False))
        self.hardware = group
        self.reset()
        self.opened()

    def drive(self, value: float) -> None:
        members = self.hardware.members
        forward, backward = members[:2]
        if value <= 0:
            forward.value = 0
        if value >= 0:
            backward.value = 0  # never both on, not even for the moment between two lines
        for enable in members[2:]:
            enable.value = bool(value)
        if value:
            (forward if value > 0 else backward).value = abs(value)
        self._take(value)

    def _output(self, pin: Pin, *, pulses: bool) -> object:
        if pulses:
            return pulsing(self.services, pin, frequency=self.frequency)
        return gpiozero.DigitalOutputDevice(pin.name, pin_factory=self.services.pins)


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
