"""A programmer in a simulation: it takes its time, and fails when asked to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.framework.services import Services
from labnode.drivers.framework.subprocess import Cause, Ended
from labnode.schema import Between, Doc, Duration

_STEPS = 20


@dataclass(kw_only=True)
class ToolScript:
    """A programmer's entry in `simulate:`, such as `mcu: {takes: 5s, fails: 1}`."""

    takes: Annotated[Duration, Doc("How long one attempt takes.")] = 2.0
    fails: Annotated[
        int, Between(-1), Doc("How many attempts fail after the start of labnode; -1: all.")
    ] = 0
    says: Annotated[str, Doc("What the program prints when it fails.")] = "simulated failure"

    def __post_init__(self) -> None:
        self._failures = 0

    def play(self, services: Services, progress: Callable[[float], None]) -> Ended:
        for step in range(_STEPS):
            progress(100 * step / _STEPS)
            if not services.wait(self.takes / _STEPS):
                return Ended(-15, (), Cause.STOPPED)
        if self.fails == -1 or self._failures < self.fails:
            self._failures += 1
            return Ended(1, (self.says,))
        return Ended(0, ())
