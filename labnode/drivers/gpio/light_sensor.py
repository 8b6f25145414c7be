"""A light-dependent resistor that charges a capacitor, the faster the brighter it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, Any

import gpiozero

from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowSensor
from labnode.drivers.gpio.digital_input import DigitalInput
from labnode.drivers.gpio.pin import Pin
from labnode.schema import Between, Doc, Duration

_DRAIN = 0.1  # seconds until the capacitor is empty


@register("light_sensor")
@dataclass(kw_only=True)
class LightSensor(SlowSensor):
    """A light-dependent resistor that charges a capacitor at a pin: from 0, dark, to 1, bright.

    The resistor is between 3.3 V and the pin, the capacitor (1 µF) between the pin and ground. 0 is
    where charging takes `charge_time_limit` or longer.

    Example::

        daylight: {driver: light_sensor, pin: GPIO18, charge_time_limit: 10ms}
    """

    pin: Annotated[Pin, Doc("The pin with the capacitor.")]
    charge_time_limit: Annotated[
        Duration, Between(0.001, 0.5), Doc("How long charging takes in the dark, in seconds.")
    ] = 0.01
    sample_every: Annotated[Duration, Between(0.2)] = 1.0

    def open(self) -> None:
        self._drained = threading.Event()  # never set: what waits for it waits for its time
        self._charged = threading.Event()
        self.hardware = gpiozero.InputDevice(
            self.pin.name, pull_up=None, active_state=True, pin_factory=self.services.pins
        )
        super().open()

    def interrupt(self) -> None:
        self._drained.set()
        self._charged.set()

    def read(self) -> float | None:
        pin, ticks = self.hardware.pin, self.services.pins.ticks
        pin.output_with_state(False)
        closed = self._drained.wait(_DRAIN)
        pin.function = "input"
        if closed:
            return None
        self._charged.clear()
        start = ticks()
        pin.edges = "rising"
        pin.when_changed = self._rose  # only now: becoming an output has ended it
        if not pin.state:
            self._charged.wait(self.charge_time_limit)
        end = self._at if self._charged.is_set() else ticks()
        pin.when_changed = None
        taken = float(self.services.pins.ticks_diff(end, start))
        return max(0.0, 1.0 - taken / self.charge_time_limit)

    def _rose(self, ticks: Any, _level: Any) -> None:  # on the pin library's thread
        self._at = ticks
        self._charged.set()


@register("line_sensor")
@dataclass(kw_only=True)
class LineSensor(DigitalInput):
    """A sensor that looks at the floor (TCRT5000, CNY70): on while it sees a dark line.

    The modules pull their pin low over the line; `active_state: true` is for those that do not.

    Example::

        line: {driver: line_sensor, pin: GPIO27, bounce_time: 2ms}
    """

    pull_up: bool | None = None
    active_state: bool | None = False


@register("motion_sensor")
@dataclass(kw_only=True)
class MotionSensor(DigitalInput):
    """A passive infrared sensor (HC-SR501): on while it sees somebody move.

    Example::

        somebody: {driver: motion_sensor, pin: GPIO27}
    """
