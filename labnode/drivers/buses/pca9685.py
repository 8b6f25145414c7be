"""Outputs of the PWM chip PCA9685 on an I2C bus, and servos on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.buses.bus_pins import I2cAddress
from labnode.drivers.buses.i2c import I2cPart
from labnode.drivers.framework.output import DutyCycleOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.servo import AngleOutput
from labnode.locale import Message
from labnode.schema import Between, Doc

_MODE1, _PRESCALE, _FIRST_OUTPUT = 0x00, 0xFE, 0x06
_SLEEP, _NEXT_REGISTER = 0x10, 0x20  # bits of MODE1
_OSCILLATOR = 25_000_000  # Hz
_STEPS = 4096
_FULLY = 0x1000  # on or off, without pulses


@dataclass(kw_only=True)
class PwmChannel(I2cPart):
    """One of the 16 outputs of a PCA9685 (NXP PCA9685 Rev. 4, section 7.3)."""

    chip = "PCA9685"
    addresses = range(0x40, 0x78)

    address: I2cAddress = 0x40
    channel: Annotated[int, Between(0, 15), Doc("The output, 0 to 15.")]
    frequency: Annotated[
        float, Between(24, 1526), Doc("The PWM frequency of all outputs of the chip, in Hz.")
    ] = 200.0

    def shared_as(self) -> str:
        return f"{super().shared_as()} at {self.frequency:g} Hz"

    def parts(self) -> list[Message]:
        return [Message("driver.part-output", n=self.channel)]

    def begin(self) -> None:
        chip = self.hardware
        prescale = round(_OSCILLATOR / (_STEPS * self.frequency)) - 1
        mode = chip.read(_MODE1)[0]
        chip.write(_MODE1, mode & 0x7F | _NEXT_REGISTER)
        self.reset()  # before it begins to pulse
        if mode & _SLEEP or chip.read(_PRESCALE)[0] != prescale:
            chip.write(_MODE1, _SLEEP | _NEXT_REGISTER)  # it accepts a frequency only in sleep mode
            chip.write(_PRESCALE, prescale)
            chip.write(_MODE1, _NEXT_REGISTER)

    def write(self, duty: float) -> None:
        """Make the output high for this part of the time, 0 to 1."""
        steps = round(duty * _STEPS)
        if steps == 0:
            on, off = 0, _FULLY
        elif steps == _STEPS:
            on, off = _FULLY, 0
        else:
            on, off = 0, steps
        words = (*on.to_bytes(2, "little"), *off.to_bytes(2, "little"))
        self.hardware.write(_FIRST_OUTPUT + 4 * self.channel, *words)


@register("pca9685")
@dataclass(kw_only=True)
class Pca9685(PwmChannel, DutyCycleOutput):
    """One of the 16 outputs of a PCA9685: on for a part of the time, from 0 to 1.

    All outputs of a chip have the same `frequency`. They keep any `safe` value after labnode has
    stopped. The chip's pins A0 to A5 select its address, from 0x40. See pca9685_servo for servos.

    Example::

        fan: {driver: pca9685, channel: 3, frequency: 200, safe: 1.0}
    """

    active_high: Annotated[bool, Doc("false: the output is low during a pulse.")] = True

    def drive(self, value: float) -> None:
        self.write(value if self.active_high else 1 - value)
        self._value = value

    @property
    def value(self) -> float:
        return self._value


@register("pca9685_servo")
@dataclass(kw_only=True)
class Pca9685Servo(PwmChannel, AngleOutput):
    """A servo on one of the 16 outputs of a PCA9685; its value is an angle.

    The chip's pulses do not jitter, and they go on after labnode has stopped: the servo holds its
    safe angle.

    Example::

        arm: {driver: pca9685_servo, channel: 0, min_angle: 0, max_angle: 180, safe: 90}
    """

    frequency: Annotated[float, Between(24, 330)] = 50.0

    @property
    def frame(self) -> float:
        return 1 / self.frequency

    def send_pulses(self, width: float) -> None:
        self.write(width * self.frequency)
