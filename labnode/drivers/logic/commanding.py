"""Outputs that command other outputs, as people and programs do."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from labnode.clock import earliest
from labnode.drivers.framework.driver import Claim
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import Readings
from labnode.errors import Busy, Interlocked, LabnodeError
from labnode.locale import Message

log = logging.getLogger(__name__)

RETRY = 0.25  # seconds until an output that did not obey is commanded again


@dataclass(kw_only=True)
class Commanding(Output):
    """An output whose value is what it does with others, within their limits and interlocks.

    It is their operator: their dead men hear the one who has switched it on. `make_safe` only ends
    what it does, because in an emergency the board makes all outputs safe; every other end brings
    those that it commands to safe, at once on the hardware thread, or in the next turn after an
    interlock has forced it. A subclass has `work`.
    """

    operates: ClassVar[bool] = True

    @staticmethod
    def output_claim(name: str) -> Claim:
        """An output that it alone commands."""
        return Claim("the output", name, called=Message("driver.claim-output", name=name))

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._value: Any = self.safe
        self._work_at: float | None = None
        self._used: set[str] = set()  # outputs that it may have brought away from safe
        self._hindered_by: str | None = None  # an output that did not obey
        self._rests_until: float | None = None  # until when that one rests

    def uses(self) -> list[str]:
        """None that has to be open before: each of them is made safe by its own close."""
        return []

    @abstractmethod
    def work(self, now: float) -> float | None:
        """Command others as the value demands; when to call this again."""

    def open(self) -> None:
        self._value = self.safe
        self._used.clear()
        self._work_at = self._hindered_by = None
        self.opened()

    def close(self) -> None:
        self._value, self._work_at = self.safe, None  # others are made safe by their own close
        self._used.clear()

    @property
    def value(self) -> Any:
        return self._value

    def drive(self, value: Any) -> None:
        self._value = value
        self._work_at = self.services.clock.now()

    def put(self, value: Any, where: str = "set") -> None:
        super().put(value, where)
        self._work()

    def reset(self) -> None:
        super().reset()
        self._work()

    def due(self) -> float | None:
        return earliest(super().due(), self._work_at)

    def poll(self) -> None:
        super().poll()
        if self._work_at is not None and self._work_at <= self.services.clock.now():
            self._work()

    def state(self) -> dict[str, Any]:
        if self._hindered_by is None:
            return super().state()
        why = Message("page.hindered", name=self._hindered_by)
        return {"locked": why.words, **super().state()}

    def heard_until(self, patience: float) -> float:
        if self._on_since is None and not self.is_safe(self._value):
            # An interlock has switched it on: no limit counts.
            return math.inf
        return super().heard_until(patience)

    def _work(self) -> None:
        self._hindered_by = None
        self._work_at = self.work(self.services.clock.now())

    # ------------------------------------------------------------------ for subclasses

    def bring(self, device: str, value: Any) -> bool:
        """Command an output, unless it is there; False when it did not obey: the state says so."""
        if Readings(self.services.snapshot).target(device) == value:
            return True
        self._used.add(device)
        self._rests_until = None
        try:
            self.services.command(device, "set", [value])
        except Busy as error:
            self._hindered_by = device
            self._rests_until = self.services.clock.now() + (error.retry_after or RETRY)
        except Interlocked:
            self._hindered_by = device
        except LabnodeError as error:
            self._hindered_by = device
            log.warning("'%s' did not obey '%s': %s", device, self.name, error)
        else:
            return True
        return False

    def give_up(self, device: str, safe: Any) -> bool:
        """Bring an output to safe if it was brought elsewhere; False: that has to be tried again.

        What an interlock holds elsewhere is the interlock's.
        """
        if device in self._used:
            done = self.bring(device, safe) or self.services.device(device).value == safe
            if not done and not self.services.snapshot[device].get("held"):
                return False
            self._used.discard(device)
            self._hindered_by = None
        return True
