"""What the page has to know of a device, in a student's language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labnode.drivers.base import Driver


def describe(name: str, driver: Driver, locales: Sequence[str | None]) -> dict[str, Any]:
    """JSON: what a device is called, how it is shown, which commands it has."""
    confirm = driver.confirm
    return {
        "name": name,
        "driver": driver.kind,
        "label": driver.label.pick(*locales) if driver.label else _readable(name),
        "group": driver.group.pick(*locales) if driver.group else None,
        "unit": driver.unit,
        "icon": driver.icon,
        "widget": driver.widget,
        "commands": [each.describe() for each in driver.commands.values() if each.students],
        "confirm": confirm if isinstance(confirm, bool) else confirm.pick(*locales),
        **driver.describe(),
    }


def _readable(name: str) -> str:
    return name.replace("_", " ").capitalize()
