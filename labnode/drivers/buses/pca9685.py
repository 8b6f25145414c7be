"""An output of a PCA9685 on an I2C bus, and what all of its outputs have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.buses.bus_pins import I2cAddress
from labnode.drivers.buses.i2c import Chip, I2cPart
from labnode.drivers.framework.driver import command
from labnode.drivers.framework.output import NumberOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.servo import Angular
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

    address: I2cAddress = 0x40
    channel: Annotated[int, Between(0, 15), Doc("The output, 0 to 15.")]
    frequency: Annotated[
        float, Between(24, 1526), Doc("Pulses per second, in Hz, of all outputs of the chip.")
    ] = 200.0

    def shared_as(self) -> str:
        return f"{super().shared_as()} at {self.frequency:g} Hz"

    def parts(self) -> list[str]:
        return [f"output {self.channel}"]

    def open(self) -> None:
        self.hardware = self.open_chip()
        try:
            self._begin(self.hardware)
        except BaseException:
            chip, self.hardware = self.hardware, None
            chip.close()
            raise

    def write(self, share: float) -> None:
        """Have the output high for this part of the time."""
        steps = round(share * _STEPS)
        if steps == 0:
            on, off = 0, _FULLY
        elif steps == _STEPS:
            on, off = _FULLY, 0
        else:
            on, off = 0, steps
        words = (*on.to_bytes(2, "little"), *off.to_bytes(2, "little"))
        self.hardware.write(_FIRST_OUTPUT + 4 * self.channel, *words)

    def _begin(self, chip: Chip) -> None:
        prescale = round(_OSCILLATOR / (_STEPS * self.frequency)) - 1
        mode = chip.read(_MODE1)[0]
        chip.write(_MODE1, mode & 0x7F | _NEXT_REGISTER)
        self.reset()  # before it begins to pulse
        if mode & _SLEEP or chip.read(_PRESCALE)[0] != prescale:
            chip.write(_MODE1, _SLEEP | _NEXT_REGISTER)  # it takes a frequency only in its sleep
            chip.write(_PRESCALE, prescale)
            chip.write(_MODE1, _NEXT_REGISTER)


@register("pca9685")
@dataclass(kw_only=True)
class Pca9685(PwmChannel, NumberOutput):
    """One of the 16 outputs of a PCA9685: on for a part of the time, from 0 to 1.

    All outputs of a chip have one `frequency`. They go on when labnode has ended: `safe` is kept
    whatever it is. The address is 0x40, or as its pins A0 to A5 say. See pca9685_servo for servos.

    Example::

        fan: {driver: pca9685, channel: 3, frequency: 200, safe: 1.0}
    """

    active_high: Annotated[bool, Doc("false: the output is low during a pulse.")] = True

    def open(self) -> None:
        super().open()
        self.opened()

    def drive(self, value: float) -> None:
        self.write(value if self.active_high else 1 - value)
        self._value = value

    @property
    def value(self) -> float:
        return self._value

    @command
    def on(self) -> None:
        self.put(self.most, "on")

    @command
    def off(self) -> None:
        self.put(0.0, "off")

    def _allowed(self, value: float) -> bool:
        return value == 0 or super()._allowed(value)


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
