"""Pins that are on or off, one by one or as a bank: relays, lights, buzzers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.framework.bank import OutputBank, number
from labnode.drivers.framework.output import SwitchOutput
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import AnyPin, PinGroup
from labnode.schema import Doc


@register("digital_output")
@dataclass(kw_only=True)
class DigitalOutput(SwitchOutput):
    """A pin that is on or off. With `active_high: false` it is low while the value is on.

    Example::

        valve: {driver: digital_output, pin: GPIO17, active_high: false, safe: false}
    """

    pin: Annotated[AnyPin, Doc("The pin that is driven.")]
    active_high: Annotated[bool, Doc("false: the pin is low while the value is on.")] = True

    def rest_level(self) -> dict[int, bool]:
        return self.pin.rest_level(self.safe == self.active_high)

    def open(self) -> None:
        self.hardware = self.pin.output(
            self.services, active_high=self.active_high, value=self.safe
        )
        self.opened()

    def drive(self, value: bool) -> None:
        self.hardware.value = value

    @property
    def value(self) -> bool:
        return bool(self.hardware.value)


@register("relay")
@dataclass(kw_only=True)
class Relay(DigitalOutput):
    """A relay on a pin. Many relay boards switch on while the pin is low: `active_high: false`.

    Example::

        heater: {driver: relay, pin: GPIO17, active_high: false, safe: false}
    """


@register("led")
@dataclass(kw_only=True)
class Led(DigitalOutput):
    """A light on a pin. With `active_high: false` it is wired to 3V3 and on while the pin is low.

    Example::

        lamp: {driver: led, pin: GPIO17}
    """


@register("buzzer")
@dataclass(kw_only=True)
class Buzzer(DigitalOutput):
    """An active buzzer on a pin, with a tone of its own. See tonal_buzzer for passive ones.

    Example::

        horn: {driver: buzzer, pin: GPIO22, max_on_time: 2s}
    """


@register("digital_output_bank")
@dataclass(kw_only=True)
class DigitalOutputBank(OutputBank):
    """Several pins that are driven together, as a number: the switches of another board.

    Example::

        switches: {driver: digital_output_bank, pins: [GPIO17, GPIO27, GPIO22, GPIO23], safe: 0}
    """

    pins: Annotated[list[AnyPin], Doc("The pins, the lowest bit first.")]
    active_high: Annotated[bool, Doc("false: a pin is low while its bit is 1.")] = True

    @property
    def width(self) -> int:
        return len(self.pins)

    def rest_level(self) -> dict[int, bool]:
        levels: dict[int, bool] = {}
        for place, pin in enumerate(self.pins):
            levels |= pin.rest_level(bool(self.safe >> place & 1) == self.active_high)
        return levels

    def open(self) -> None:
        self.hardware = PinGroup(
            pin.output(
                self.services,
                active_high=self.active_high,
                value=bool(self.safe >> place & 1),
            )
            for place, pin in enumerate(self.pins)
        )
        self.opened()

    def drive(self, value: int) -> None:
        self.hardware.values = [value >> place & 1 for place in range(self.width)]

    @property
    def value(self) -> int:
        return number(self.hardware.values)
