"""A rotary encoder, which counts the steps of a knob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import gpiozero

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.edges import EdgeInput
from labnode.drivers.gpio.pin import Pin
from labnode.schema import Between, Doc, Duration


@register("rotary_encoder")
@dataclass(kw_only=True)
class RotaryEncoder(Sensor, EdgeInput):
    """A knob or a slow wheel that counts its steps, clockwise up, counter-clockwise down.

    It counts from 0 up to `max_steps` in each direction; a reset sets it to 0. `scale` turns steps
    into an angle. More than 1,000 steps in a second are not counted.

    Example::

        knob: {driver: rotary_encoder, a: GPIO17, b: GPIO27, max_steps: 0, scale: 18, unit: °}
    """

    a: Annotated[Pin, Doc("The pin of the first contact, A or CLK.")]
    b: Annotated[Pin, Doc("The pin of the second contact, B or DT.")]
    max_steps: Annotated[
        int, Between(0), Doc("How far it counts in each direction; 0: no limit.")
    ] = 16
    wrap: Annotated[bool, Doc("Whether it continues at the other end after max_steps.")] = False
    sample_every: Duration | None = None

    def open(self) -> None:
        self.hardware = gpiozero.RotaryEncoder(
            self.a.name,
            self.b.name,
            max_steps=self.max_steps,
            wrap=self.wrap,
            pin_factory=self.services.pins,
        )
        self.watch(self.hardware.a.pin, self.hardware.b.pin)
        self.hardware.when_rotated = self.edge
        self.opened()
        self.arrived(0)

    def read(self) -> int:
        return int(self.hardware.steps)

    @command
    def reset(self) -> None:
        self.hardware.steps = 0
        self.arrived(0)
