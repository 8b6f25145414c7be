"""Temperature, humidity or air pressure of a BME280 on an I2C bus."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from labnode.drivers.buses.bus_pins import I2cAddress
from labnode.drivers.buses.i2c import I2cPart
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.errors import DeviceError
from labnode.schema import Doc

_ID, _CTRL_HUM, _CTRL_MEAS, _CONFIG, _DATA = 0xD0, 0xF2, 0xF4, 0xF5, 0xF7
_BME280, _BMP280 = 0x60, 0x58
_SLEEP = 0x00
_CONTINUOUS = 0x27  # normal mode, temperature and pressure without oversampling
_HUMIDITY_ONCE = 0x01
_EVERY_250_MS = 0x60
_NOTHING_YET = 0x80000  # in the data registers before the first measurement
_UNITS = {"temperature": "°C", "humidity": "%", "pressure": "hPa"}


@register("bme280")
@dataclass(kw_only=True)
class Bme280(I2cPart, Sensor):
    """Temperature (°C), humidity (%) or air pressure (hPa) of a BME280 on an I2C bus.

    Use one device for each quantity. A BMP280 works too, without humidity. The address is 0x76, or
    0x77 if the pin SDO is high. (Bosch BST-BME280-DS002, sections 4 and 5; formulas of appendix
    8.1.)

    Example::

        air: {driver: bme280, measure: humidity, address: 0x76, sample_every: 5s}
    """

    chip = "BME280"
    resolution = 0.01  # °C, %, hPa: about the noise of one measurement
    addresses = range(0x76, 0x78)

    address: I2cAddress = 0x76
    measure: Annotated[
        Literal["temperature", "humidity", "pressure"], Doc("The quantity that is measured.")
    ] = "temperature"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.unit = self.unit or _UNITS[self.measure]

    def parts(self) -> list[str]:
        return [self.measure]

    def begin(self) -> None:
        if self.services.simulated:
            return
        chip = self.hardware
        (kind,) = chip.read(_ID)
        if kind not in (_BME280, _BMP280):
            raise DeviceError(
                f"at address 0x{self.address:02x} there is no BME280 (its identity is 0x{kind:02x})"
            )
        if kind == _BMP280 and self.measure == "humidity":
            raise DeviceError("the chip is a BMP280, which does not measure humidity")
        self._trim = Trim.of(chip)
        if chip.read(_CTRL_MEAS)[0] != _CONTINUOUS:  # else another device has set up the chip
            chip.write(_CTRL_MEAS, _SLEEP)  # only then does it accept a configuration
            chip.write(_CONFIG, _EVERY_250_MS)
            chip.write(_CTRL_HUM, _HUMIDITY_ONCE)
            chip.write(_CTRL_MEAS, _CONTINUOUS)

    def read(self) -> float | None:
        data = self.hardware.read(_DATA, 8)
        pressure = int.from_bytes(data[0:3], "big") >> 4
        temperature = int.from_bytes(data[3:6], "big") >> 4
        if _NOTHING_YET in (temperature, pressure):
            return None
        fine = self._trim.fine(temperature)
        if self.measure == "temperature":
            return fine / 5120
        if self.measure == "pressure":
            return self._trim.pressure(int(fine), pressure) / 100
        return self._trim.humidity(int(fine), int.from_bytes(data[6:8], "big"))


@dataclass(frozen=True)
class Trim:
    """The trimming parameters of a chip: `t` is dig_T1, dig_T2 ... of the datasheet."""

    t: tuple[int, ...]
    p: tuple[int, ...]
    h: tuple[int, ...]

    @classmethod
    def of(cls, chip: Any) -> Trim:
        words = struct.unpack("<HhhHhhhhhhhh", chip.read(0x88, 24))
        (h1,) = chip.read(0xA1)
        h2, h3, e4, e5, e6, h6 = struct.unpack("<hBbBbb", chip.read(0xE1, 7))
        return cls(words[:3], words[3:], (h1, h2, h3, e4 << 4 | e5 & 15, e6 << 4 | e5 >> 4, h6))

    def fine(self, read: int) -> float:
        """The temperature in 1/5120 °C, which the other formulas use (t_fine)."""
        t1, t2, t3 = self.t
        first = (read / 16384 - t1 / 1024) * t2
        return first + (read / 131072 - t1 / 8192) ** 2 * t3

    def pressure(self, fine: int, read: int) -> float:
        """In Pa."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.p
        first = fine / 2 - 64000
        second = first * first * p6 / 32768 + first * p5 * 2
        second = second / 4 + p4 * 65536
        first = (p3 * first * first / 524288 + p2 * first) / 524288
        first = (1 + first / 32768) * p1
        if first == 0:
            raise DeviceError("the chip's calibration is empty")
        pressure = (1048576 - read - second / 4096) * 6250 / first
        first = p9 * pressure * pressure / 2147483648
        return pressure + (first + pressure * p8 / 32768 + p7) / 16

    def humidity(self, fine: int, read: int) -> float:
        """In percent."""
        h1, h2, h3, h4, h5, h6 = self.h
        part = fine - 76800
        humidity = (read - (h4 * 64 + h5 / 16384 * part)) * (
            h2 / 65536 * (1 + h6 / 67108864 * part * (1 + h3 / 67108864 * part))
        )
        return min(100.0, max(0.0, humidity * (1 - h1 * humidity / 524288)))
