"""A scale: a load cell with the converter HX711 on two pins."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import gpiozero

from labnode.drivers import Pin, PinGroup, SlowSensor, command, register
from labnode.errors import BadInput, DeviceError
from labnode.schema import Between, Doc, Duration

# Avia Semiconductor, HX711 data sheet, "Serial Interface"
LONGEST_PULSE = 60e-6  # seconds; a clock that is high for longer switches the converter off
LOWEST, HIGHEST = -0x800000, 0x7FFFFF  # what it says beyond its range


@register("hx711")
@dataclass(kw_only=True)
class Hx711(SlowSensor):
    """A scale: a load cell with the 24-bit converter HX711 on two pins.

    The reading is the converter's number. Set `calibration`, or `scale`, with known weights.

    Example::

        weight: {driver: hx711, data: GPIO5, clock: GPIO6, scale: 0.00234, max_tare: 100}
    """

    simulates = True  # in a simulation, SlowSensor reads nothing, and the pins are mock pins

    data: Annotated[Pin, Doc("The pin at DOUT.")]
    clock: Annotated[Pin, Doc("The pin at PD_SCK.")]
    max_tare: Annotated[
        float, Between(0), Doc("The most that can be tared: interlocks see the weight after it.")
    ]
    sample_every: Annotated[Duration, Between(0.1)] = 0.2  # it converts 10 times per second
    unit: str = "g"

    def rest_level(self) -> dict[int, bool]:
        return {self.clock.number: False}

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._zero = 0.0

    def open(self) -> None:
        self.hardware = PinGroup(self._devices())
        super().open()  # starts the io thread, which calls `read`

    def _devices(self) -> Iterator[Any]:
        pins = self.services.pins
        # Pulled up: a wire that is missing looks like a converter that is never ready.
        yield gpiozero.InputDevice(self.data.name, pull_up=True, pin_factory=pins)
        yield gpiozero.DigitalOutputDevice(self.clock.name, pin_factory=pins)

    def read(self) -> int | None:
        data, clock = (device.pin for device in self.hardware.members)
        if data.state:
            raise DeviceError("the HX711 has no number ready: is it wired and powered?")
        number, intact = 0, True
        for _ in range(24):
            intact &= self._pulse(clock)
            number = number << 1 | int(data.state)
        intact &= self._pulse(clock)  # the 25th: the next number is that of input A, gain 128
        if not intact:
            return None  # this reading is lost; the next one comes soon
        number -= (number >> 23) << 24  # two's complement
        if number in (LOWEST, HIGHEST):
            raise DeviceError("the load cell is overloaded or not connected")
        return number

    def _pulse(self, clock: Any) -> bool:
        """One pulse; False if it was too long, because another program had the processor."""
        began = self.services.clock.now()
        clock.state = True
        clock.state = False
        return self.services.clock.now() - began < LONGEST_PULSE

    @property
    def value(self) -> float | None:
        weight = super().value
        return None if weight is None else round(weight - self._zero, 3)

    @command
    def tare(self) -> None:
        """Show 0 for what is on the scale now."""
        weight = super().value
        if weight is None:
            raise DeviceError("nothing has been weighed yet")
        if abs(weight) > self.max_tare:
            raise BadInput(f"{weight:g} {self.unit} is more than can be tared ({self.max_tare:g})")
        self._zero = weight

    def reset(self) -> None:
        self._zero = 0.0
