"""A rotary encoder, which counts the steps of a knob or tells how fast it turns."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Literal

import gpiozero

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.edges import EdgeInput
from labnode.drivers.gpio.pin import Pin
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration

_MARKS = 5  # in the time over which a speed is measured


@register("rotary_encoder")
@dataclass(kw_only=True)
class RotaryEncoder(Sensor, EdgeInput):
    """A knob or a slow wheel that counts its steps, clockwise up, counter-clockwise down.

    It counts from 0 up to `max_steps` in each direction; a reset sets it to 0. `scale` turns steps
    into an angle. With `measure: speed` its value is the steps per second of the last `gate`
    seconds, times `scale`. More than 1,000 steps in a second are not counted: for faster shafts
    there is `pulse_counter`, which knows no direction.

    Example::

        knob: {driver: rotary_encoder, a: GPIO17, b: GPIO27, max_steps: 0, scale: 18, unit: °}
    """

    a: Annotated[Pin, Doc("The pin of the first contact, A or CLK.")]
    b: Annotated[Pin, Doc("The pin of the second contact, B or DT.")]
    max_steps: Annotated[
        int, Between(0), Doc("How far it counts in each direction; 0: no limit.")
    ] = 16
    wrap: Annotated[bool, Doc("Whether it continues at the other end after max_steps.")] = False
    measure: Annotated[
        Literal["steps", "speed"], Doc("Whether its value is the steps or the steps per second.")
    ] = "steps"
    gate: Annotated[
        Duration, Between(0.05, 60), Doc("For speed: the time that is looked back upon.")
    ] = 0.5
    sample_every: Duration | None = None

    def __post_init__(self) -> None:
        if self.measure == "speed":
            if self.max_steps:
                raise ValueError(Message("driver.speed-max-steps"))
            self.sample_every = self.sample_every or self.gate / _MARKS
        super().__post_init__()

    def open(self) -> None:
        self.hardware = gpiozero.RotaryEncoder(
            self.a.name,
            self.b.name,
            max_steps=self.max_steps,
            wrap=self.wrap,
            pin_factory=self.services.pins,
        )
        self._marks: deque[tuple[float, int]] = deque()  # when there were how many steps
        self.watch(self.hardware.a.pin, self.hardware.b.pin)
        self.hardware.when_rotated = self.edge
        self.opened()
        self.arrived(0)

    def read(self) -> float:
        steps = int(self.hardware.steps)
        return steps if self.measure == "steps" else self._speed(steps)

    @command
    def reset(self) -> None:
        self.hardware.steps = 0
        self._marks.clear()
        self.arrived(0)

    def _speed(self, steps: int) -> float:
        now = self.services.clock.now()
        while len(self._marks) > 1 and self._marks[1][0] <= now - self.gate:
            self._marks.popleft()
        since, before = self._marks[0] if self._marks else (now, steps)
        if not self._marks or now - self._marks[-1][0] >= self.gate / _MARKS:
            self._marks.append((now, steps))
        return (steps - before) / (now - since) if now > since else 0.0
