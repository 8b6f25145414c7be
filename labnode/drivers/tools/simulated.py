"""A programmer in a simulation: it takes its time, and fails when it shall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from labnode.drivers.framework.services import Services
from labnode.drivers.framework.subprocess import Cause, Ended
from labnode.schema import Between, Doc, Duration

_TURNS = 20


@dataclass(kw_only=True)
class Rehearsal:
    """What `simulate:` may say of a programmer, such as `mcu: {takes: 5s, fails: 1}`."""

    takes: Annotated[Duration, Doc("How long one attempt takes.")] = 2.0
    fails: Annotated[
        int, Between(-1), Doc("How many attempts fail from the start of the node on; -1: all.")
    ] = 0
    says: Annotated[str, Doc("What the program prints when it fails.")] = "simulated failure"

    def __post_init__(self) -> None:
        self._failures = 0

    def play(self, services: Services, tell: Callable[[float], None]) -> Ended:
        for turn in range(_TURNS):
            tell(100 * turn / _TURNS)
            if not services.wait(self.takes / _TURNS):
                return Ended(-15, (), Cause.STOPPED)
        if self.fails == -1 or self._failures < self.fails:
            self._failures += 1
            return Ended(1, (self.says,))
        return Ended(0, ())
