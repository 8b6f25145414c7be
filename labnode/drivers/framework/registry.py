"""All drivers, by their names in board files."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import TypeVar

from labnode.drivers.framework.commands import commands_of
from labnode.drivers.framework.driver import Driver

D = TypeVar("D", bound=type[Driver])

registry: dict[str, type[Driver]] = {}


def register(kind: str) -> Callable[[D], D]:
    """Name a driver, as in `driver: led`; stands above `@dataclass(kw_only=True)`."""

    def add(cls: D) -> D:
        if kind in registry:
            raise ValueError(f"there are two drivers called {kind!r}")
        if not is_dataclass(cls):
            raise TypeError(f"{cls.__name__} is not a dataclass")
        cls.kind = kind
        cls.commands = commands_of(cls)
        registry[kind] = cls
        return cls

    return add


def load_drivers() -> dict[str, type[Driver]]:
    """Import every driver of labnode; all drivers by name."""
    for module in pkgutil.walk_packages([str(Path(__file__).parents[1])], "labnode.drivers."):
        if "._" not in module.name:
            importlib.import_module(module.name)
    return registry
