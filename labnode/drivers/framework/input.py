"""Inputs, which know when they were last read, and sensors, whose value is a number."""

from __future__ import annotations

import math
from bisect import bisect
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from labnode.clock import earliest
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.readings import ValueType
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration, unlike


@dataclass(kw_only=True)
class Input(Driver):
    """A device that is read every `sample_every` seconds, or that says when it changes.

    A subclass has `read`, or calls `arrived` with each new value. A value is *stale* when it was
    read more than `stale_after` seconds ago, or never.
    """

    sample_every: Annotated[
        Duration | None, Between(0.001), Doc("The time between readings, in seconds.")
    ] = None
    stale_after: Annotated[
        Duration | None, Between(0.001), Doc("The age at which a value becomes stale.")
    ] = None

    at_first: ClassVar[Any] = None  # a simulated input's value until `simulate`

    def __post_init__(self) -> None:
        every, after = self.sample_every, self.stale_after
        if every is not None and after is not None and after <= every:
            raise ValueError(Message("driver.stale-soon", after=f"{after:g}", every=f"{every:g}"))

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._value: Any = None
        self._sampled: float | None = None
        self._simulated: Any = None
        self._next: float | None = None
        self._known_stale = False
        self._opened_at = float("-inf")

    def read(self) -> Any:
        """The value now; None if there is no reading this time.

        It runs on the hardware thread and takes a few milliseconds at most. If it raises an
        exception, the value stays and becomes stale.
        """
        return None

    def arrived(self, value: Any) -> None:
        """Take a value that was read just now (hardware thread)."""
        self._value = value
        self._sampled = self.services.clock.now()
        self._known_stale = False

    def simulate(self, value: Any) -> None:
        """In a simulation: read `value` from now on; None: there is nothing to read any more."""
        if value is not None:
            self.arrived(value)
        self._simulated = value  # last: a value that `arrived` refuses is not read again and again

    def close(self) -> None:
        super().close()
        self._forget()

    @property
    def value(self) -> Any:
        return self._value

    def state(self) -> dict[str, Any]:
        if self.sample_every is None and self.stale_after is None:  # it is read when it changes
            return super().state()
        awaited = {"awaited": True} if self._awaited else {}
        return {**super().state(), "sampled": self._sampled, "stale": self.stale, **awaited}

    @property
    def stale(self) -> bool:
        """Whether the value is too old, or there is none."""
        if self._sampled is None:
            return True
        after = self.stale_after
        return after is not None and self.services.clock.now() - self._sampled >= after

    def due(self) -> float | None:
        return earliest(self._next, self._stale_at())

    def poll(self) -> None:
        now = self.services.clock.now()
        self._known_stale = self.stale and not self._awaited
        if self._next is not None and self._next <= now:
            assert self.sample_every is not None
            self._next = now + self.sample_every  # before reading, which may fail
            value = self._sample()
            if value is not None:
                self.arrived(value)

    def opened(self) -> None:
        """For `open` to call at its end: reading begins."""
        self._forget()
        self._opened_at = self.services.clock.now()
        if self.sample_every is not None:
            self._next = self.services.clock.now()

    @property
    def _awaited(self) -> bool:
        """Whether its first reading may still come: a value that is missing is no fault yet."""
        after = float("inf") if self.stale_after is None else self.stale_after
        return self._sampled is None and self.services.clock.now() - self._opened_at < after

    def _sample(self) -> Any:
        return self._simulated if self.services.simulated else self.read()

    def _stale_at(self) -> float | None:
        if self.stale_after is None or self._known_stale:
            return None
        return (self._opened_at if self._sampled is None else self._sampled) + self.stale_after

    def _forget(self) -> None:
        self._value = self._sampled = self._next = None
        self._simulated = self.at_first
        self._known_stale = False


@dataclass(kw_only=True)
class Sensor(Input):
    """An input whose value is a number: what `read` returns, corrected.

    The value is reading * `scale` + `offset`; or `calibration` has pairs of a reading and its true
    value, `[[0, 0], [1023, 100]]`, which straight lines connect and extend. It is rounded to
    `digits` decimals. A simulated sensor shows its value uncorrected.
    """

    sample_every: Annotated[Duration | None, Between(0.001)] = 1.0
    at_first: ClassVar[Any] = 0.0

    scale: Annotated[float, Doc("The reading is multiplied by this.")] = 1.0
    offset: Annotated[float, Doc("Added to the reading, after scale.")] = 0.0
    calibration: Annotated[
        list[tuple[float, float]] | None,
        Doc("Pairs of a reading and its true value, [[0, 0], [1023, 100]], instead of scale."),
    ] = None
    digits: Annotated[
        int | None,
        Between(0, 12),
        Doc("The decimals of the value; by default those of the sensor's resolution."),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calibration is None:
            return
        if (self.scale, self.offset) != (1.0, 0.0):
            raise ValueError(Message("driver.calibration-or-scale"))
        reads = [read for read, _ in self.calibration]
        if len(reads) < 2 or any(a >= b for a, b in pairwise(reads)):
            raise ValueError(Message("driver.calibration-pairs"))

    @property
    def value_type(self) -> ValueType:
        return ValueType(float)

    def arrived(self, value: Any) -> None:
        if not isinstance(value, int | float):
            raise ValueError(unlike(Message("yaml.a-number"), value))
        number = float(value) if self.services.simulated else self.corrected(float(value))
        super().arrived(
            round(number, max(3, self.decimals or 0) if self.digits is None else self.digits)
        )

    @property
    def resolution(self) -> float | None:
        """The smallest difference between two readings, before the correction; None: unknown.

        By it, the page knows how many decimals to show.
        """
        return None

    @property
    def decimals(self) -> int | None:
        """How many decimals of the value are significant; None: unknown."""
        if self.digits is not None or self.resolution is None:
            return self.digits
        slopes = [abs(self.scale)]
        if self.calibration is not None:
            slopes = [abs((b - a) / (y - x)) for (x, a), (y, b) in pairwise(self.calibration)]
        least = self.resolution * (min(filter(None, slopes), default=1.0))
        return min(12, max(0, math.ceil(-math.log10(least) - 1e-9)))

    def describe(self) -> dict[str, Any]:
        decimals = self.decimals
        return {**super().describe(), **({} if decimals is None else {"digits": decimals})}

    def corrected(self, read: float) -> float:
        """A reading, corrected by `scale` and `offset` or by `calibration`."""
        if self.calibration is None:
            return read * self.scale + self.offset
        after = bisect([point for point, _ in self.calibration[1:-1]], read) + 1
        (read0, real0), (read1, real1) = self.calibration[after - 1 : after + 1]
        return real0 + (read - read0) * (real1 - real0) / (read1 - read0)
