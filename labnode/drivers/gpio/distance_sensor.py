"""An ultrasonic distance sensor."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

import gpiozero

from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowSensor
from labnode.drivers.gpio.pin import Pin, PinGroup
from labnode.errors import DeviceError
from labnode.schema import Between, Doc, Duration

_SOUND = 343.26  # m/s in air of 20 °C
_ECHO_WITHIN = 0.1  # seconds until the echo has ended: 38 ms if nothing reflects the sound
_SMOOTH = 3  # the value is the median of so many readings, because single ones are far off


@register("distance_sensor")
@dataclass(kw_only=True)
class DistanceSensor(SlowSensor):
    """An ultrasonic distance sensor (HC-SR04), in metres, exact to about 1 cm.

    If nothing is within `max_distance`, there is no reading: the value gets stale. Two resistors
    must reduce the 5 V of the echo to 3.3 V.

    Example::

        level: {driver: distance_sensor, trigger: GPIO23, echo: GPIO24, stale_after: 3s}
    """

    trigger: Annotated[Pin, Doc("The pin that starts a measurement.")]
    echo: Annotated[Pin, Doc("The pin that is high from the sound to its echo.")]
    max_distance: Annotated[float, Between(0.02, 10), Doc("The greatest distance, in metres.")] = (
        4.0
    )
    sample_every: Annotated[Duration, Between(0.06)] = 0.5  # the last echo has to die away
    unit: str = "m"

    resolution = 0.01  # metres

    def rest_level(self) -> dict[int, bool]:
        return {self.trigger.number: False}

    def open(self) -> None:
        self._heard = threading.Event()
        self._edges: list[Any] = []
        self._recent: deque[float] = deque(maxlen=_SMOOTH)
        self.hardware = PinGroup(self._devices())
        super().open()

    def _devices(self) -> Iterator[Any]:
        pins = self.services.pins
        yield gpiozero.DigitalOutputDevice(self.trigger.name, pin_factory=pins)
        echo = gpiozero.InputDevice(self.echo.name, pin_factory=pins)
        yield echo
        echo.pin.edges = "both"
        echo.pin.when_changed = self._edge

    def read(self) -> float | None:
        trigger, echo = self.hardware.members
        if echo.value:
            raise DeviceError("the echo does not end: is the sensor wired and powered?")
        self._edges.clear()
        self._heard.clear()
        trigger.on()  # after at least 10 µs: Python takes longer
        trigger.off()
        if not self._heard.wait(_ECHO_WITHIN):
            raise DeviceError("there was no echo")
        rise, fall = self._edges[:2]
        flight = self.services.pins.ticks_diff(fall, rise)
        distance = flight * _SOUND / 2
        if not 0 < distance <= self.max_distance:
            self._recent.clear()
            return None
        self._recent.append(distance)
        return median(self._recent)

    def _edge(self, ticks: Any, level: Any) -> None:  # on the pin library's thread
        if bool(level) == (len(self._edges) == 0) and len(self._edges) < 2:
            self._edges.append(ticks)
            if len(self._edges) == 2:
                self._heard.set()
