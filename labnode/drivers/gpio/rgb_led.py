"""A light of three colours on three pins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from labnode.drivers.framework.driver import Widget, command
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.pin import Group, Pin
from labnode.drivers.gpio.pwm_output import (
    ONLY_WHILE_RUNNING,
    pwm_device,
    rest_level,
    safe_warnings,
)
from labnode.errors import BadInput
from labnode.schema import Between, Doc

_COLOUR = re.compile(r"#[0-9a-f]{6}")


@register("rgb_led")
@dataclass(kw_only=True)
class RgbLed(Output):
    """A light of three colours on three pins; its value is a colour as on the web, "#ff8000".

    With `active_high: false` the three lights have a common anode.

    Example::

        mood: {driver: rgb_led, red: GPIO17, green: GPIO27, blue: GPIO22, safe: "#000000"}
    """

    widget: ClassVar[Widget] = "rgb"

    red: Annotated[Pin, Doc("The pin of the red light.")]
    green: Annotated[Pin, Doc("The pin of the green light.")]
    blue: Annotated[Pin, Doc("The pin of the blue light.")]
    active_high: Annotated[bool, Doc("false: a light is lit by a low pin (common anode).")] = True
    frequency: Annotated[float, Between(0.1, 10_000), Doc("The PWM frequency, in Hz.")] = 100.0
    safe: str = "#000000"
    initial: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.safe = _colour("safe", self.safe)

    def rest_level(self) -> dict[int, bool]:
        return {pin.number: rest_level(duty, self.active_high) for pin, duty in self._safe_duties()}

    def warnings(self) -> list[str]:
        return safe_warnings(self.safe, _duties(self.safe), ONLY_WHILE_RUNNING)

    def open(self) -> None:
        self.hardware = Group(
            pwm_device(
                self.services, pin, duty, frequency=self.frequency, active_high=self.active_high
            )
            for pin, duty in self._safe_duties()
        )
        self.opened()

    def park(self) -> None:
        self.hardware.values = [float(duty > 0.5) for duty in _duties(self.safe)]

    def check(self, where: str, value: Any) -> str:
        try:
            return _colour("value", value)
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from None

    def drive(self, value: str) -> None:
        self.hardware.values = _duties(value)

    @property
    def value(self) -> str:
        return "#" + "".join(f"{round(duty * 255):02x}" for duty in self.hardware.values)

    @command
    def set(self, value: str) -> None:
        self.put(value)

    @command
    def on(self) -> None:
        self.put("#ffffff", "on")

    @command
    def off(self) -> None:
        self.put("#000000", "off")

    def _safe_duties(self) -> Iterable[tuple[Pin, float]]:
        return zip((self.red, self.green, self.blue), _duties(self.safe), strict=True)


def _colour(name: str, value: str) -> str:
    if not _COLOUR.fullmatch(value.lower()):
        raise ValueError(f"'{name}' must be a colour such as \"#ff8000\", not {value!r}")
    return value.lower()


def _duties(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
