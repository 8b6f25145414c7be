"""Several pins that are read together, as a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import gpiozero

from labnode.drivers.framework.bank import InputBank, number
from labnode.drivers.framework.registry import register
from labnode.drivers.pins import Pin
from labnode.drivers.pulses import Group
from labnode.schema import Doc, Duration


@register("digital_input_bank")
@dataclass(kw_only=True)
class DigitalInputBank(InputBank):
    """Several pins that are read together, as a number: the lights of another board.

    The first of `pins` is the lowest bit. With `pull_up: true` the pins rest high and a bit is 1
    while its pin is pulled low; else they rest low and a bit is 1 while its pin is high.

    Example::

        lights: {driver: digital_input_bank, pins: [GPIO5, GPIO6, GPIO13, GPIO19]}
    """

    pins: Annotated[list[Pin], Doc("The pins, the lowest bit first.")]
    pull_up: Annotated[
        bool, Doc("Whether the pins rest high, and a bit is 1 while its pin is low.")
    ] = False
    bounce_time: Annotated[
        Duration | None, Doc("Changes that are shorter than this are not seen.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for pin in self.pins:
            if pin.fixed_pull_up and not self.pull_up:
                raise ValueError(f"{pin.name} has a resistor that pulls it up: say pull_up: true")

    @property
    def width(self) -> int:
        return len(self.pins)

    def open(self) -> None:
        with Group() as group:
            for pin in self.pins:
                member = gpiozero.DigitalInputDevice(
                    pin.name,
                    pull_up=self.pull_up,
                    bounce_time=self.bounce_time,
                    pin_factory=self.services.pins,
                )
                member.when_activated = member.when_deactivated = self._edge
                group.add(member)
        self.hardware = group
        self.opened()
        self.arrived(self.read())

    @property
    def value(self) -> int:
        return self.read()

    def read(self) -> int:
        return number(self.hardware.values)

    def simulate(self, value: Any) -> None:
        for place, member in enumerate(self.hardware.members):
            if bool(int(value) >> place & 1) == self.pull_up:
                member.pin.drive_low()
            else:
                member.pin.drive_high()
        self.arrived(self.read())

    def _sample(self) -> int:
        return self.read()  # of mock pins, in a simulation

    def _edge(self) -> None:  # on the pin library's thread
        self.services.post(self._changed)

    def _changed(self) -> None:
        if self.hardware is not None:
            self.arrived(self.read())
            self.services.publish()
