"""Pins that pulse, which have a safe level before their first pulse and after their last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gpiozero

from labnode.drivers.framework.driver import Services
from labnode.drivers.gpio.pin import Pin


def rest_level(value: float, active_high: bool = True) -> bool:
    """The level that a pin keeps which is to be `value` (0 to 1) and cannot pulse any more."""
    return (value > 0.5) == active_high


@runtime_checkable
class Doubtful(Protocol):
    """A device whose options are allowed and may yet not be what one means."""

    def doubts(self) -> list[str]:
        """A sentence for each; `labnode check` tells them."""


def doubts(safe: object, parts: Sequence[float], lasts: str) -> list[str]:
    """What to say of a safe value whose `parts` are neither fully on nor off, if one is so."""
    levels = " and ".join("on" if part > 0.5 else "off" for part in parts)
    pins = "the pin is" if len(parts) == 1 else "the pins are"
    return [f"safe: {safe} lasts {lasts} {pins} {levels}"] if set(parts) - {0.0, 1.0} else []


def pulsing(
    services: Services,
    pin: Pin,
    value: float = 0.0,
    *,
    frequency: float = 100.0,
    active_high: bool = True,
) -> Any:
    """A gpiozero device for a pin that is on for a part of the time, `value` from 0 to 1.

    gpiozero makes the pin an output, then sets frequency and value: it has to have the right level
    already, or a fan whose safe value is 1 stops and an inverted heater heats.
    """
    services.pins.pin(pin.name).output_with_state(rest_level(value, active_high))
    return gpiozero.PWMOutputDevice(
        pin.name,
        active_high=active_high,
        initial_value=value,
        frequency=frequency,
        pin_factory=services.pins,
    )


class Group:
    """Several gpiozero devices that belong together: opened all or none, closed together."""

    def __init__(self) -> None:
        self.members: list[Any] = []

    def add(self, device: Any) -> Any:
        self.members.append(device)
        return device

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            self.close()

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
