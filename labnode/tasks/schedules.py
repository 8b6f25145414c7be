"""Schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    def next(self, after: float) -> float: ...


@dataclass(frozen=True)
class Every:
    seconds: float

    def next(self, after: float) -> float:
        return after + self.seconds
