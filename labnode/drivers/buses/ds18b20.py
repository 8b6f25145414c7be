"""The temperature sensor DS18B20 on a 1-Wire bus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from labnode.drivers.buses.bus_pins import one_wire_boot_config, one_wire_claims
from labnode.drivers.framework.driver import Claim
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowSensor
from labnode.drivers.gpio.pin import Pin
from labnode.errors import DeviceError, DeviceGone
from labnode.locale import Joined, Message
from labnode.schema import Between, Doc, Duration, unlike

_READING = re.compile(r"^((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)\n.* t=(-?\d+)$", re.M)
_POWER_ON = 85_000  # thousandths of a degree: in the register until the first measurement
_DEFAULT_PIN = Pin(4)
_MEASURED = 0x10  # byte 6 with a measured 85 °C; after power-on it is 0x0c


class SensorId(str):
    """The serial number of a sensor: 28-0316a4a1f2ff."""

    json_schema = {"type": "string", "pattern": "^28-[0-9A-Fa-f]{12}$"}  # noqa: RUF012

    @classmethod
    def from_yaml(cls, value: object) -> SensorId:
        if isinstance(value, str) and re.fullmatch(r"28-[0-9a-f]{12}", value.lower()):
            return cls(value.lower())
        expected, hint = Message("driver.a-ds18b20"), Message("driver.suggest")
        raise ValueError(Joined(unlike(expected, value), hint))


@register("ds18b20")
@dataclass(kw_only=True)
class Ds18b20(SlowSensor):
    """A temperature sensor DS18B20 on a 1-Wire bus, in °C. Measuring takes 0.75 s; the sensors of
    a bus take turns.

    Data with a wrong checksum is no reading, nor is the 85 °C that the sensor shows at power-on
    before its first measurement (Analog Devices DS18B20 Rev. 6, table 1).

    Example::

        temp: {driver: ds18b20, id: 28-0316a4a1f2ff, sample_every: 1s, stale_after: 5s}
    """

    id: Annotated[SensorId, Doc("The sensor's serial number, as in /sys/bus/w1/devices.")]
    pin: Annotated[Pin, Doc("The pin of the bus, as in the Pi's config.txt.")] = _DEFAULT_PIN
    unit: str = "°C"
    sample_every: Annotated[Duration, Between(0.8)] = 2.0

    root: ClassVar[Path] = Path("/sys/bus/w1/devices")
    resolution = 1 / 16  # °C, of 12 bits: as it is at power-on

    def claims(self) -> list[Claim]:
        return one_wire_claims(self.pin, self.id)

    def boot_config(self) -> list[str]:
        return one_wire_boot_config(self.pin)

    def read(self) -> float:
        try:
            text = (self.root / self.id / "w1_slave").read_text(errors="replace")
        except OSError as error:
            raise DeviceGone(f"sensor {self.id} does not answer ({error.strerror})") from error
        found = _READING.search(text)
        if found is None:
            raise DeviceGone(f"sensor {self.id} does not answer")
        scratchpad, crc = bytes.fromhex(found[1]), found[2]
        if crc != "YES" or not any(scratchpad):  # all 0: the wire is shorted
            raise DeviceError(f"what sensor {self.id} says is damaged on its way")
        thousandths = int(found[3])
        if thousandths == _POWER_ON and scratchpad[6] != _MEASURED:
            raise DeviceError(f"sensor {self.id} has just got power and not measured yet")
        return thousandths / 1000
