"""Motors on bridges: a pin for each direction, or one for the direction and one for the speed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import gpiozero

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.output import NumberOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin, PinGroup
from labnode.drivers.gpio.pwm_output import pwm_device
from labnode.locale import Message
from labnode.schema import Between, Doc


@dataclass(kw_only=True)
class MotorOutput(NumberOutput):
    """A speed from -1 (backward) to 1 (forward); 0, stop, is the only safe value."""

    moves = True
    lowest = -1.0

    frequency: Annotated[float, Between(0.1, 10_000), Doc("The PWM frequency, in Hz.")] = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.safe != 0:
            raise ValueError(Message("driver.motor-safe"))

    def open(self) -> None:
        self.hardware = PinGroup(self.devices())
        self.reset()
        self.opened()

    @abstractmethod
    def devices(self) -> Iterator[Any]:
        """Open gpiozero's devices, one after the other."""

    def drive(self, value: float) -> None:
        self.turn(value)
        self._speed = round(value, 6)

    @abstractmethod
    def turn(self, speed: float) -> None:
        """Bring the bridge to a speed."""

    @property
    def value(self) -> float:
        return self._speed

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "share": True}

    @command
    def forward(self) -> None:
        self.put(max(self.most, 0.0), "forward")

    @command
    def backward(self) -> None:
        self.put(min(self.least, 0.0), "backward")

    @command
    def stop(self) -> None:
        self.put(0.0, "stop")

    def _pwm_device(self, pin: Pin) -> Any:
        return pwm_device(self.services, pin, frequency=self.frequency)

    def _digital_device(self, pin: Pin) -> Any:
        return gpiozero.DigitalOutputDevice(pin.name, pin_factory=self.services.pins)


@register("motor")
@dataclass(kw_only=True)
class Motor(MotorOutput):
    """A motor with a bridge that has a pin for each direction (L298N, DRV8833, L9110).

    Its value is the speed, from -1 (backward) to 1; with `pwm: false` only -1, 0 and 1.

    Example::

        belt: {driver: motor, forward: GPIO17, backward: GPIO27, max: 0.8, max_on_time: 30s}
    """

    forward_pin: Annotated[Pin, Doc("The pin that turns the motor forward.")] = field(
        metadata={"key": "forward"}
    )
    backward_pin: Annotated[Pin, Doc("The pin that turns the motor backward.")] = field(
        metadata={"key": "backward"}
    )
    enable: Annotated[
        Pin | None, Doc("A pin of the bridge that is high only while the motor turns.")
    ] = None
    pwm: Annotated[bool, Doc("false: only the speeds -1, 0 and 1.")] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pwm and self.step is None:
            self.step = 1.0

    def rest_level(self) -> dict[int, bool]:
        pins = (self.forward_pin, self.backward_pin, self.enable)
        return {pin.number: False for pin in pins if pin is not None}

    def turn(self, speed: float) -> None:
        forward, backward, *enables = self.hardware.members
        if speed <= 0:
            forward.value = 0
        if speed >= 0:
            backward.value = 0  # never both on, not even for the moment between two lines
        for enable in enables:
            enable.value = bool(speed)
        if speed:
            (forward if speed > 0 else backward).value = abs(speed)

    def devices(self) -> Iterator[Any]:
        for pin in (self.forward_pin, self.backward_pin):
            yield self._pwm_device(pin) if self.pwm else self._digital_device(pin)
        if self.enable is not None:
            yield self._digital_device(self.enable)


@register("phase_enable_motor")
@dataclass(kw_only=True)
class PhaseEnableMotor(MotorOutput):
    """A motor with a bridge that has a pin for the direction and one for the speed (DRV8835).

    Its value is the speed, from -1 (backward) to 1.

    Example::

        wheel: {driver: phase_enable_motor, phase: GPIO17, enable: GPIO18}
    """

    phase: Annotated[Pin, Doc("The pin of the direction, high for backward.")]
    enable: Annotated[Pin, Doc("The pin of the speed, with PWM.")]

    def rest_level(self) -> dict[int, bool]:
        return {self.phase.number: False, self.enable.number: False}

    def turn(self, speed: float) -> None:
        enable, phase = self.hardware.members
        backward = speed < 0
        if phase.value != backward:
            enable.value = 0  # the bridge must not reverse at full speed
            phase.value = backward
        enable.value = abs(speed)

    def devices(self) -> Iterator[Any]:
        yield self._pwm_device(self.enable)
        yield self._digital_device(self.phase)
