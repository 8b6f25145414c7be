"""The temperature of the Pi's processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.schema import Between, Duration


@register("cpu_temperature")
@dataclass(kw_only=True)
class CpuTemperature(Sensor):
    """The temperature of the Pi's processor, in °C. The Pi slows down at 80 °C.

    Example::

        pi: {driver: cpu_temperature, sample_every: 10s, access: system}
    """

    unit: str = "°C"
    sample_every: Annotated[Duration | None, Between(0.1)] = 5.0
    digits: int | None = 1

    file: ClassVar[Path] = Path("/sys/class/thermal/thermal_zone0/temp")

    def read(self) -> float:
        return int(self.file.read_text()) / 1000
