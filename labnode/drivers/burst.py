"""Bursts: many readings of a converter in one go, faster than a page could ask for them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, Any

from labnode.drivers.framework.driver import Driver, Ref
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.samples import MOST, Burstable, BurstSource, Sampler, Samples
from labnode.errors import DeviceError, DeviceGone
from labnode.locale import Message, Wording
from labnode.schema import Between, Doc

_LONGEST = 60.0  # seconds of a burst


class ConverterRef(Ref):
    """An option that names a converter that can give bursts."""

    def mistake(self, device: Driver) -> str | Wording:
        fits = isinstance(device, Burstable) and isinstance(device, Sensor)
        if fits:
            return ""
        return Message("driver.no-bursts", name=f"'{self}'", kind=device.kind)


@register("burst")
@dataclass(kw_only=True)
class Burst(Sampler):
    """Many readings of a converter at a rate, on command: its value is an array.

    `of` is a device of the drivers mcp3xxx (or one of its chips), ads1115 or iio, whose scale,
    offset and calibration count. An array says the rate that was achieved (`rate`); one that cannot
    be reached gives a lower one. A device that the kernel drives with a buffer is read from that.

    Example::

        step_response: {driver: burst, of: level, count: 500, rate: 1000}
    """

    of: Annotated[ConverterRef, Doc("The device that is the converter.")]
    count: Annotated[int, Between(2, MOST), Doc("How many readings.")] = 1000
    rate: Annotated[float, Between(0.1, 1e6), Doc("How many per second.")] = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count / self.rate > _LONGEST:
            seconds = self.count / self.rate
            most, value = f"{_LONGEST:g}", f"{seconds:g}"
            raise ValueError(Message("driver.burst-lasts", most=most, value=value))

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._ended = threading.Event()

    def open(self) -> None:
        self._ended.clear()
        super().open()
        if not self.services.simulated:
            self.unit = self.unit or self._converter.unit

    def reset(self) -> None:
        self._ended.set()  # or the next student would have to wait for its end
        super().reset()

    def interrupt(self) -> None:
        self._ended.set()

    def _begin(self) -> None:
        self._ended.clear()
        super()._begin()

    @property
    def _converter(self) -> Sensor:
        converter = self.services.device(self.of)
        assert isinstance(converter, Sensor)
        return converter

    def take(self) -> Samples:
        converter = self._converter
        assert isinstance(converter, Burstable)
        source = converter.burst_source(self._ended)
        try:
            found = self._from(source)
        finally:
            source.close()
        return Samples([converter.corrected(value) for value in found.y], found.step)

    def _from(self, source: BurstSource) -> Samples:
        own = source.burst(self.count, self.rate, self._ended)
        return self._timed(source) if own is None else own

    def _timed(self, source: BurstSource) -> Samples:
        """Readings one by one, each when its time has come."""
        clock = self.services.clock
        begin, y = clock.now(), []
        last = begin
        for number in range(self.count):
            left = begin + number / self.rate - clock.now()
            if self._ended.wait(max(0.0, left)):
                raise DeviceError("the burst was ended")
            last = clock.now()
            value = source.read()
            if value is None:
                raise DeviceGone(f"'{self.of}' gives no reading")
            y.append(value)
        return Samples(y, (last - begin) / (self.count - 1) or 1 / self.rate)

    def simulated_axis(self) -> tuple[int, float]:
        return self.count, 1 / self.rate
