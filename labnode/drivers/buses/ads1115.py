"""A channel of the analog converter ADS1115 on an I2C bus."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Literal

from labnode.drivers.buses.bus_pins import I2cAddress
from labnode.drivers.buses.i2c import I2cPart, WiredChip
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.errors import DeviceError
from labnode.locale import Message
from labnode.schema import Doc

_CONVERSION, _CONFIG = 0x00, 0x01
_START = _READY = 0x8000
_SINGLE_SHOT = 0x0100
_NO_COMPARATOR = 0x0003
_CHANNELS = {"0-1": 0, "0-3": 1, "1-3": 2, "2-3": 3, "0": 4, "1": 5, "2": 6, "3": 7}
_RANGES = [("2/3", 6.144), (1, 4.096), (2, 2.048), (4, 1.024), (8, 0.512), (16, 0.256)]
_GAINS = {gain: (code, volts) for code, (gain, volts) in enumerate(_RANGES)}
_RATES = {128: 4, 250: 5, 475: 6, 860: 7}  # slower ones would block the hardware thread
_CONVERSIONS = 2.2  # that pass until a result is of the new channel
_MOST_WAITS = 500  # of a millisecond, for a bus that is busy with a conversion of 8 ms
_MOST_POLLS = 200  # of a conversion: at least 8 ms, even on a fast bus


@register("ads1115")
@dataclass(kw_only=True)
class Ads1115(I2cPart, Sensor):
    """An input of the analog converter ADS1115 on an I2C bus, in volts.

    `channel` is an input against ground, 0 to 3, or against another input, "0-1". No input may
    exceed the chip's supply voltage. The pin ADDR selects the address, 0x48 to 0x4b. (Texas
    Instruments SBAS444E, section 9.)

    Example::

        supply: {driver: ads1115, channel: 0, gain: 1, scale: 4.03}
    """

    chip = "ADS1115"
    addresses = range(0x48, 0x4C)

    address: I2cAddress = 0x48
    unit: str = "V"
    channel: Annotated[
        Literal[0, 1, 2, 3, "0-1", "0-3", "1-3", "2-3"],
        Doc("The input, 0 to 3, or the difference of two, such as 0-1."),
    ]
    gain: Annotated[
        Literal["2/3", 1, 2, 4, 8, 16],
        Doc("Full scale: ±4.096 V / gain (2/3: ±6.144 V)."),
    ] = 1
    data_rate: Annotated[
        Literal[128, 250, 475, 860],
        Doc("Conversions per second; slower ones have less noise."),
    ] = 250

    @property
    def resolution(self) -> float:
        _, volts = _GAINS[self.gain]
        return volts / 32768

    def parts(self) -> list[Message]:
        return [Message("driver.part-input", n=self.channel)]

    def read(self) -> float | None:
        """None while a burst has the chip."""
        if not self.hardware.take():
            return None
        try:
            return self._convert()
        finally:
            self.hardware.give_back()

    def burst_source(self, ended: threading.Event) -> _Ads1115Source:
        chip = WiredChip(self.bus, self.address)
        try:
            return _Ads1115Source(chip, self, ended)
        except BaseException:
            chip.close()
            raise

    def config(self, mode: int) -> int:
        """What the chip's configuration is for this channel."""
        gain, _ = _GAINS[self.gain]
        channel = _CHANNELS[str(self.channel)] << 12
        return channel | gain << 9 | mode | _RATES[self.data_rate] << 5 | _NO_COMPARATOR

    def volts(self, code: bytes) -> float:
        return int.from_bytes(code, "big", signed=True) * self.resolution

    def _convert(self) -> float:
        config = self.config(_START | _SINGLE_SHOT)
        self.hardware.write(_CONFIG, *config.to_bytes(2, "big"))
        for _ in range(_MOST_POLLS):
            if int.from_bytes(self.hardware.read(_CONFIG, 2), "big") & _READY:
                break
        else:
            raise DeviceError("the converter does not end its conversion")
        return self.volts(self.hardware.read(_CONVERSION, 2))


class _Ads1115Source:
    """The chip for one burst: it converts all the time, and nobody else gets it meanwhile."""

    def __init__(self, chip: WiredChip, part: Ads1115, ended: threading.Event) -> None:
        self._chip = chip
        self._part = part
        if not any(chip.take() or ended.wait(0.001) for _ in range(_MOST_WAITS)):
            raise DeviceError("another burst has the bus")
        chip.write(_CONFIG, *part.config(0).to_bytes(2, "big"))
        ended.wait(_CONVERSIONS / part.data_rate)  # what it has now is of another channel

    def read(self) -> float:
        return self._part.volts(self._chip.read(_CONVERSION, 2))

    def burst(self, _count: int, rate: float, _ended: threading.Event, /) -> None:
        if rate > self._part.data_rate:
            most = self._part.data_rate
            raise DeviceError(f"{rate:g} readings per second need a data_rate above {most}")

    def close(self) -> None:
        with suppress(DeviceError):  # it rests; if it is gone, the sensor says so
            self._chip.write(_CONFIG, *self._part.config(_SINGLE_SHOT).to_bytes(2, "big"))
        self._chip.give_back()
        self._chip.close()
