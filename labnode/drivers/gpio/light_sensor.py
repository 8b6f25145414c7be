"""A light sensor: a light-dependent resistor that charges a capacitor."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, Any

import gpiozero

from labnode.drivers.framework.registry import register
from labnode.drivers.framework.slow import SlowSensor
from labnode.drivers.gpio.pin import Pin
from labnode.schema import Between, Doc, Duration

_DRAIN = 0.1  # seconds until the capacitor is empty


@register("light_sensor")
@dataclass(kw_only=True)
class LightSensor(SlowSensor):
    """A light-dependent resistor that charges a capacitor at a pin: from 0, dark, to 1, bright.

    The resistor is between 3.3 V and the pin, the capacitor (1 µF) between the pin and ground. The
    value is 0 if charging takes `charge_time_limit` or longer.

    Example::

        daylight: {driver: light_sensor, pin: GPIO18, charge_time_limit: 10ms}
    """

    pin: Annotated[Pin, Doc("The pin with the capacitor.")]
    charge_time_limit: Annotated[
        Duration, Between(0.001, 0.5), Doc("How long charging takes in the dark, in seconds.")
    ] = 0.01
    sample_every: Annotated[Duration, Between(0.2)] = 1.0

    def open(self) -> None:
        self._closing = threading.Event()
        self._charged = threading.Event()
        self.hardware = gpiozero.InputDevice(
            self.pin.name, pull_up=None, active_state=True, pin_factory=self.services.pins
        )
        super().open()

    def interrupt(self) -> None:
        self._closing.set()
        self._charged.set()

    def read(self) -> float | None:
        pin, ticks = self.hardware.pin, self.services.pins.ticks
        pin.output_with_state(False)
        closing = self._closing.wait(_DRAIN)
        pin.function = "input"
        if closing:
            return None
        self._charged.clear()
        start = ticks()
        pin.edges = "rising"
        pin.when_changed = self._rose  # only now: becoming an output has cleared it
        if not pin.state:
            self._charged.wait(self.charge_time_limit)
        end = self._at if self._charged.is_set() else ticks()
        pin.when_changed = None
        taken = float(self.services.pins.ticks_diff(end, start))
        return max(0.0, 1.0 - taken / self.charge_time_limit)

    def _rose(self, ticks: Any, _level: Any) -> None:  # on the pin library's thread
        self._at = ticks
        self._charged.set()
