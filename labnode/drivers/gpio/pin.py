"""GPIO pins by name, and groups of gpiozero devices on several pins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import gpiozero
from gpiozero.pins.pi import PiBoardInfo

from labnode.drivers.framework.driver import Claim
from labnode.locale import Joined, Message
from labnode.schema import unlike

GENERIC_REVISION = 0xC03111  # a Pi 4B: the 40-pin header that every Pi since 2014 has
_HEADER = PiBoardInfo.from_revision(GENERIC_REVISION).headers["J8"]


@dataclass(frozen=True)
class Pin:
    """A GPIO pin of the 40-pin header, written as 17, GPIO17 or BOARD11."""

    number: int

    expected = Message("driver.a-pin")
    json_schema: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 27},
            {"enum": [f"GPIO{number}" for number in range(28)]},
            {"type": "string", "pattern": "^(BOARD|GPIO|BCM|WPI|J8:|board|gpio)?[0-9]{1,2}$"},
        ]
    }

    @property
    def name(self) -> str:
        """gpiozero's name: "GPIO17"."""
        return f"GPIO{self.number}"

    @property
    def claim(self) -> Claim:
        return Claim("pin", self.name, called=Message("driver.claim-pin", name=self.name))

    @property
    def fixed_pull_up(self) -> bool:
        """Whether a resistor on the Pi pulls it up, as for the pins of the I2C bus."""
        return any(pin.name == self.name and pin.pull == "up" for pin in _HEADER.pins.values())

    def rest_level(self, high: bool) -> dict[int, bool]:
        """Itself with a level, for a driver's `rest_level`."""
        return {self.number: high}

    def output(self, services: Any, *, active_high: bool, value: bool) -> Any:
        """A gpiozero output on it, which has its first value from the first moment."""
        return gpiozero.DigitalOutputDevice(
            self.name, active_high=active_high, initial_value=value, pin_factory=services.pins
        )

    def input(
        self,
        services: Any,
        *,
        pull_up: bool | None,
        active_state: bool | None = None,
        bounce_time: float | None,
    ) -> Any:
        """A gpiozero input on it."""
        return gpiozero.DigitalInputDevice(
            self.name,
            pull_up=pull_up,
            active_state=active_state,
            bounce_time=bounce_time,
            pin_factory=services.pins,
        )

    def to_yaml(self) -> str:
        return self.name

    @classmethod
    def from_yaml(cls, value: object) -> Pin:
        """The pin that a board file names; ValueError with a sentence."""
        if isinstance(value, int | str) and not isinstance(value, bool):
            name = value.upper() if isinstance(value, str) else value
            for pin in _HEADER.pins.values():
                if name in pin.names and "gpio" in pin.interfaces:
                    return cls(int(pin.name.removeprefix("GPIO")))
                if name in pin.names and name != pin.name:
                    raise ValueError(Message("driver.not-gpio", value=value, name=str(pin.name)))
        raise ValueError(Joined(unlike(cls.expected, value), _on_header(value)))


@dataclass(frozen=True)
class RemotePin:
    """A pin of another device of the board, such as an I/O expander, written as `expander.A3`."""

    device: str
    pin: str

    fixed_pull_up: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"{self.device}.{self.pin}"

    def rest_level(self, high: bool) -> dict[int, bool]:  # noqa: ARG002 - not one of the Pi's
        return {}

    def output(self, services: Any, *, active_high: bool, value: bool) -> Any:
        return services.device(self.device).output(self.pin, active_high=active_high, value=value)

    def input(
        self,
        services: Any,
        *,
        pull_up: bool | None,
        active_state: bool | None = None,
        bounce_time: float | None,
    ) -> Any:
        return services.device(self.device).input(
            self.pin,
            pull_up=pull_up,
            active_high=bool(active_state) if pull_up is None else not pull_up,
            bounce=bounce_time or 0.0,
        )


class _AnyPin:
    """Reads a pin of the Pi, or of another device."""

    expected = Message("driver.any-pin")
    json_schema: ClassVar[dict[str, Any]] = {
        "anyOf": [
            *Pin.json_schema["anyOf"],
            {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*[.][A-Za-z0-9_]+$"},
        ]
    }

    @staticmethod
    def from_yaml(value: object) -> Pin | RemotePin:
        if isinstance(value, str) and (match := re.fullmatch(r"([A-Za-z]\w*)\.(\w+)", value)):
            return RemotePin(match[1], match[2])
        return Pin.from_yaml(value)

    @staticmethod
    def to_yaml(pin: Pin | RemotePin) -> str:
        return pin.name


AnyPin = Annotated[Pin | RemotePin, _AnyPin()]
"""A pin of the Pi's header, or of a device that has pins for others."""


def _on_header(value: object) -> str | Message:
    """What a number that is no GPIO pin is on the header, at the end of a sentence."""
    for pin in _HEADER.pins.values():
        if type(value) is int and f"BOARD{value}" in pin.names:
            if "gpio" in pin.interfaces:
                return Message("driver.header-pin", number=value, name=str(pin.name))
            return Message("driver.header-no-gpio", number=value, name=str(pin.name))
    return ""


class PinGroup:
    """Several gpiozero devices: opened all or none, closed together.

    `devices` opens one after the other: a generator.
    """

    def __init__(self, devices: Iterable[Any]) -> None:
        self.members: list[Any] = []
        try:
            self.members.extend(devices)
        except BaseException:
            self.close()
            raise

    @property
    def values(self) -> list[Any]:
        return [member.value for member in self.members]

    @values.setter
    def values(self, values: Sequence[Any]) -> None:
        for member, value in zip(self.members, values, strict=True):
            member.value = value

    def close(self) -> None:
        for member in self.members:
            member.close()


def header() -> dict[int, str]:
    """The 40 pins by position: {1: "3V3", 2: "5V", 3: "GPIO2", ...}."""
    return {position: str(pin.name) for position, pin in sorted(_HEADER.pins.items())}
