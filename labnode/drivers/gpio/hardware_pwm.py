"""PWM by the Pi's PWM circuit: exact, and up to 10 MHz."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from labnode.clock import Clock
from labnode.drivers.buses.bus_pins import PwmPin, pwm_boot_config, pwm_channel, pwm_claims
from labnode.drivers.framework.driver import Claim
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pwm_output import PwmOutput, safe_warnings
from labnode.errors import DeviceError
from labnode.locale import Message
from labnode.schema import Between, Doc

_PI_5 = "1f00098000.pwm"  # the header's circuit, with a channel for each of its four pins
_PI_5_CHANNELS = {12: 0, 13: 1, 18: 2, 19: 3}
_BEFORE_PI_5 = "20c000.pwm"  # 20c000, 3f20c000, fe20c000: by the model
_READY_WITHIN = 2.0  # seconds until udev has made the files of a new channel ours
_POLL_EVERY = 0.05


@register("hardware_pwm")
@dataclass(kw_only=True)
class HardwarePwm(PwmOutput):
    """Exact and fast PWM by the Pi's PWM circuit, on GPIO12, GPIO13, GPIO18 or GPIO19.

    The value is the duty cycle, from 0 to 1. GPIO12 and GPIO18 share a channel, and so do GPIO13
    and GPIO19; the Pi's analog audio uses them, too. PWM goes on after labnode has stopped, with
    any `safe`.

    Example::

        laser: {driver: hardware_pwm, pin: GPIO12, frequency: 25000, max: 0.5}
    """

    pin: PwmPin
    frequency: Annotated[float, Between(1, 10_000_000), Doc("The PWM frequency, in Hz.")] = 1000.0

    root: ClassVar[Path] = Path("/sys/class/pwm")

    def claims(self) -> list[Claim]:
        return [*super().claims(), *pwm_claims(self.pin)]

    def boot_config(self) -> list[str]:
        return pwm_boot_config(self.pin)

    def warnings(self) -> list[Message]:
        return safe_warnings(f"{self.safe:g}", [self.safe], Message("driver.from-start-on"))

    def check(self, where: str, value: Any) -> float:
        duty = _duty(super().check(where, value), self.active_high)
        duty = round(duty * self._period) / self._period  # whole nanoseconds
        return round(_duty(duty, self.active_high), 6)

    def open(self) -> None:
        if self.services.simulated:
            super().open()
            return
        hardware = KernelPwm(*self._channel(), self._period, self.active_high)
        hardware.begin(self.safe, self.services.clock)
        self.hardware = hardware
        self.opened()

    def park(self) -> None:
        self.reset()

    @property
    def _period(self) -> int:
        return round(1e9 / self.frequency)

    def _channel(self) -> tuple[Path, int]:
        """The folder of the circuit, and the pin's channel of it."""
        for chip in sorted(self.root.glob("pwmchip*")):
            device = (chip / "device").resolve().name
            if device == _PI_5:
                return chip, _PI_5_CHANNELS[self.pin.number]
            if device.endswith(_BEFORE_PI_5):
                return chip, pwm_channel(self.pin)
        raise DeviceError(
            "there is no PWM circuit: it has to be switched on in the Pi's config.txt, "
            "see labnode bootconfig"
        )


class KernelPwm:
    """A PWM channel in /sys/class/pwm (the kernel's Documentation/driver-api/pwm.rst)."""

    def __init__(self, chip: Path, channel: int, period: int, active_high: bool) -> None:
        """`period` is in ns; the channel begins to pulse with `begin`."""
        self._export = (chip / "export", channel)
        self._folder = chip / f"pwm{channel}"
        self._period = period
        self._active_high = active_high

    def begin(self, value: float, clock: Clock) -> None:
        if not self._folder.exists():
            self._write(*self._export)
        pause, end = clock.event(), clock.now() + _READY_WITHIN
        while not self._writable():
            if clock.now() >= end:
                raise DeviceError(f"{self._folder} cannot be written: is this user in 'gpio'?")
            pause.wait(_POLL_EVERY)
        if self._read("period") != self._period:
            with suppress(DeviceError):  # a new channel has no period yet and refuses 0
                self._write(self._folder / "duty_cycle", 0)
            self._write(self._folder / "period", self._period)
        self.value = value
        self._write(self._folder / "enable", 1)

    @property
    def value(self) -> float:
        return _duty(self._read("duty_cycle") / self._period, self._active_high)

    @value.setter
    def value(self, value: float) -> None:
        duty = _duty(value, self._active_high)
        self._write(self._folder / "duty_cycle", round(duty * self._period))

    def close(self) -> None:
        """Nothing: the channel stays exported and goes on."""

    def _writable(self) -> bool:
        try:
            with (self._folder / "duty_cycle").open("r+"):
                return True
        except OSError:
            return False

    def _read(self, name: str) -> int:
        try:
            return int((self._folder / name).read_text())
        except OSError as error:
            raise DeviceError(f"{self._folder / name}: {error.strerror}") from error

    def _write(self, path: Path, value: int) -> None:
        try:
            path.write_text(str(value))
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from error


def _duty(value: float, active_high: bool) -> float:
    """The duty cycle for a value, or the value for a duty cycle."""
    return value if active_high else 1 - value
