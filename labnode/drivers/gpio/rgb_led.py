"""A light of three colours on three pins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.driver import Widget, command
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Pin
from labnode.drivers.gpio.pwm_pins import Group, doubts, pulsing, rest_level
from labnode.errors import BadInput
from labnode.schema import Between, Doc

_COLOUR = re.compile(r"#[0-9a-f]{6}")


@register("rgb_led")
@dataclass(kw_only=True)
class RgbLed(Output):
    """A light of three colours on three pins; its value is a colour as on the web, "#ff8000".

    With `active_high: false` the three lights share their positive side (common anode).

    Example::

        mood: {driver: rgb_led, red: GPIO17, green: GPIO27, blue: GPIO22, safe: "#000000"}
    """

    widget: ClassVar[Widget] = "rgb"

    red: Annotated[Pin, Doc("The pin of the red light.")]
    green: Annotated[Pin, Doc("The pin of the green light.")]
    blue: Annotated[Pin, Doc("The pin of the blue light.")]
    active_high: Annotated[bool, Doc("false: a light is lit by a low pin (common anode).")] = True
    frequency: Annotated[float, Between(0.1, 10_000), Doc("Pulses per second, in Hz.")] = 100.0
    safe: str = "#000000"
    initial: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.safe = _colour("safe", self.safe)

    def rest_level(self) -> dict[int, bool]:
        return {
            pin.number: rest_level(part, self.active_high)
            for pin, part in zip(self._pins, _parts(self.safe), strict=True)
        }

    def doubts(self) -> list[str]:
        lasts = "only while labnode runs: before and after it"
        return doubts(self.safe, _parts(self.safe), lasts)

    def open(self) -> None:
        with Group() as group:
            for pin, part in zip(self._pins, _parts(self.safe), strict=True):
                light = pulsing(
                    self.services,
                    pin,
                    part,
                    frequency=self.frequency,
                    active_high=self.active_high,
                )
                group.add(light)
        self.hardware = group
        self.opened()

    def close(self) -> None:
        if self.hardware is None:
            return
        group, self.hardware = self.hardware, None
        try:
            group.values = [float(part > 0.5) for part in _parts(self.safe)]
        finally:
            group.close()

    def check(self, where: str, value: Any) -> str:
        try:
            return _colour("value", value)
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from None

    def drive(self, value: str) -> None:
        self.hardware.values = _parts(value)

    @property
    def value(self) -> str:
        return "#" + "".join(f"{round(part * 255):02x}" for part in self.hardware.values)

    @command
    def set(self, value: str) -> None:
        self.put(value)

    @command
    def on(self) -> None:
        self.put("#ffffff", "on")

    @command
    def off(self) -> None:
        self.put("#000000", "off")

    @property
    def _pins(self) -> tuple[Pin, Pin, Pin]:
        return self.red, self.green, self.blue


def _colour(name: str, value: str) -> str:
    if not _COLOUR.fullmatch(value.lower()):
        raise ValueError(f"'{name}' must be a colour such as \"#ff8000\", not {value!r}")
    return value.lower()


def _parts(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
