"""An ultrasonic sensor that measures a distance by its echo."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

import gpiozero

from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowSensor
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_pins import Group
from labnode.errors import DeviceError
from labnode.schema import Between, Doc, Duration

_SOUND = 343.26  # m/s in air of 20 °C
_LONGEST = 0.1  # seconds until the echo has come and gone: 38 ms, if there is nothing to echo
_SMOOTH = 3  # the median of so many: now and then one is far off


@register("distance_sensor")
@dataclass(kw_only=True)
class DistanceSensor(SlowSensor):
    """An ultrasonic sensor (HC-SR04) that measures a distance by its echo, in metres.

    What is farther than `max_distance` is no reading: the value gets stale. The echo's 5 V must be
    brought down to 3.3 V by two resistors. A Pi measures to about 1 cm.

    Example::

        level: {driver: distance_sensor, trigger: GPIO23, echo: GPIO24, stale_after: 3s}
    """

    trigger: Annotated[Pin, Doc("The pin that starts a measurement.")]
    echo: Annotated[Pin, Doc("The pin that is high while the sound is under way.")]
    max_distance: Annotated[
        float, Between(0.02, 10), Doc("The greatest distance that can be, in metres.")
    ] = 4.0
    sample_every: Annotated[Duration, Between(0.06)] = 0.5  # an echo has to die away
    unit: str = "m"

    def rest_level(self) -> dict[int, bool]:
        return {self.trigger.number: False}

    def open(self) -> None:
        self._heard = threading.Event()
        self._edges: list[Any] = []
        self._recent: deque[float] = deque(maxlen=_SMOOTH)
        with Group() as group:
            pins = self.services.pins
            group.add(gpiozero.DigitalOutputDevice(self.trigger.name, pin_factory=pins))
            echo = group.add(gpiozero.InputDevice(self.echo.name, pin_factory=pins))
            echo.pin.edges = "both"
            echo.pin.when_changed = self._edge
        self.hardware = group
        super().open()

    def read(self) -> float | None:
        trigger, echo = self.hardware.members
        if echo.value:
            raise DeviceError("the echo does not end: is the sensor wired and powered?")
        self._edges.clear()
        self._heard.clear()
        trigger.on()  # 10 µs at least, and Python takes longer
        trigger.off()
        if not self._heard.wait(_LONGEST):
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
