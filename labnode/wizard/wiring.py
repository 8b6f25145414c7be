"""Which pins of the header a board uses, and for what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from labnode.board.config.board_file import BoardFile
from labnode.drivers.buses.bus_pins import RESERVED, bus_in_words
from labnode.drivers.framework.driver import Driver
from labnode.drivers.gpio.pin import Pin, header
from labnode.locale import Message, Say
from labnode.schema import options


@dataclass(frozen=True)
class HeaderPin:
    """One of the 40 pins: where it is, what it is called, and who uses it."""

    position: int
    name: str  # "GPIO17", "3V3", "GND"
    users: tuple[str | Message, ...] = ()  # "heater", "motor forward", "temp (1-Wire bus)"
    is_bus: bool = False  # used by the kernel
    rests_high: bool | None = None  # the level of an output while it is safe

    @property
    def is_gpio(self) -> bool:
        return self.name.startswith("GPIO")

    @property
    def number(self) -> int:
        return int(self.name.removeprefix("GPIO"))

    @property
    def is_reserved(self) -> bool:
        return any(claim.name == self.name for claim in RESERVED)

    @property
    def is_free(self) -> bool:
        return self.is_gpio and not self.users and not self.is_reserved

    def label(self, say: Say = str) -> str:
        """Who uses it, and an output's safe level."""
        users = ", ".join(map(say, self.users))
        if not users and self.is_reserved:
            return say(Message("cli.pin-reserved"))
        if self.rests_high is None:
            return users
        return say(Message(f"cli.pin-users:{'high' if self.rests_high else 'low'}", users=users))


def wiring(board: BoardFile | None) -> list[HeaderPin]:
    """All pins by position; unused without a board."""
    users: dict[str, list[str | Message]] = {}
    buses: set[str] = set()
    levels: dict[int, bool] = {}
    for name, driver in board.devices.items() if board else ():
        levels |= driver.rest_level()
        words = _pin_options(driver)
        for claim in driver.claims():
            if claim.kind == "pin":
                user: str | Message = f"{name}{words.get(claim.name, '')}"
                if claim.bus:
                    user = Message("cli.pin-on-bus", name=name, bus=bus_in_words(claim.bus))
                buses |= {claim.name} if claim.bus or claim.name not in words else set()
                users.setdefault(claim.name, []).append(user)
    pins = []
    for position, name in header().items():
        pin = HeaderPin(position, name, tuple(users.get(name, ())), name in buses)
        level = levels.get(pin.number) if pin.is_gpio else None
        pins.append(replace(pin, rests_high=level))
    return pins


def _pin_options(driver: Driver) -> dict[str, str]:
    """{"GPIO17": " forward"}; the word is empty where the option is just called pin."""
    found: dict[str, str] = {}
    for option in options(type(driver)):
        value: Any = getattr(driver, option.name)
        word = "" if option.key in ("pin", "pins") else f" {option.key}"
        if isinstance(value, Pin):
            found[value.name] = word
        elif isinstance(value, list | tuple):
            pins = [(index, pin) for index, pin in enumerate(value) if isinstance(pin, Pin)]
            found |= {pin.name: f"{word}[{index}]" for index, pin in pins}
    return found
