"""Programmers: they write a student's file into the chip on the board."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from labnode.drivers.framework.driver import Programmable


@runtime_checkable
class Programmer(Programmable, Protocol):
    """A device that students upload files for."""

    accept: list[str]  # ".hex"
    max_size: int
    estimated_time: float | None

    def check(self, image: Path) -> None:
        """BadFile when a file cannot be written; any thread may ask."""
