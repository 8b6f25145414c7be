"""Arrays as values: many numbers that were taken in one go, a waveform or a burst."""

from __future__ import annotations

import math
import random
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from labnode.clock import earliest, utc
from labnode.drivers.framework.driver import Ref, Widget, command
from labnode.drivers.framework.slow import SlowDriver
from labnode.errors import Busy, DeviceError
from labnode.schema import Between, Doc, Duration

MOST = 20_000  # numbers of one array
_SHOWN = 1000  # … that a page gets of it
_DIGITS = 6  # that a page gets of each


@dataclass(frozen=True)
class Samples:
    """Numbers `y`, each `step` after the one before; the first is at `begin`."""

    y: Sequence[float]
    step: float = 1.0
    begin: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < len(self.y) <= MOST:
            raise DeviceError(f"it gave {len(self.y)} numbers; 1 to {MOST} are expected")
        if not (math.isfinite(self.step) and self.step > 0 and all(map(math.isfinite, self.y))):
            raise DeviceError("it gave something that is no number")

    def shown(self) -> dict[str, Any]:
        """JSON for pages: of more than 1,000 numbers the lowest and highest of each part."""
        y, step = self.y, self.step
        if len(y) > _SHOWN:
            parts = _SHOWN // 2
            y = list(_envelope(y, parts))
            step = self.step * len(self.y) / len(y)
        rounded = [float(f"{value:.{_DIGITS}g}") for value in y]
        rate = float(f"{1 / self.step:.{_DIGITS}g}")
        shape = {"begin": self.begin, "step": step, "count": len(self.y), "rate": rate}
        return {"y": rounded, **shape}

    def to_json(self) -> dict[str, Any]:
        return {"y": list(self.y), "begin": self.begin, "step": self.step, "count": len(self.y)}

    def csv(self, x: str, y: str) -> str:
        """With a header line of these two names."""
        step, begin = self.step, self.begin
        rows = (f"{begin + i * step:.9g},{value:.9g}" for i, value in enumerate(self.y))
        return "\r\n".join([f"{x},{y}", *rows, ""])


def _envelope(y: Sequence[float], parts: int) -> Iterator[float]:
    """The lowest and the highest of each part, in the order in which they come."""
    for part in range(parts):
        piece = y[part * len(y) // parts : (part + 1) * len(y) // parts]
        low, high = piece.index(min(piece)), piece.index(max(piece))
        yield piece[min(low, high)]
        yield piece[max(low, high)]


class BurstSource(Protocol):
    """A converter's hardware for one burst, opened for it; io thread only."""

    def read(self) -> float | None:
        """One reading, uncorrected."""

    def burst(self, count: int, rate: float, ended: threading.Event, /) -> Samples | None:
        """All readings, where the hardware keeps the time itself; None where it does not.

        DeviceError once `ended` is set.
        """

    def close(self) -> None: ...


@runtime_checkable
class Burstable(Protocol):
    """A sensor that can be read many times in one go."""

    def burst_source(self, ended: threading.Event) -> BurstSource:
        """Open the hardware once more (io thread); no wait lasts once `ended` is set."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a simulated array looks like; a number may be the name of a device that has it.

    Example::

        trace: {shape: sine, amplitude: volts, frequency: 50}
    """

    shape: Annotated[
        Literal["sine", "square", "triangle", "constant"], Doc("The form of the curve.")
    ] = "sine"
    amplitude: Annotated[float | Ref, Doc("How far it goes from its middle.")] = 1.0
    frequency: Annotated[float | Ref, Doc("Periods per unit of its axis, mostly Hz.")] = 1.0
    offset: Annotated[float | Ref, Doc("Its middle.")] = 0.0
    noise: Annotated[float, Between(0), Doc("The standard deviation of what is added.")] = 0.0

    def at(self, phase: float) -> float:
        """The curve from -1 to 1 at a number of periods."""
        part = phase % 1.0
        if self.shape == "sine":
            return math.sin(2 * math.pi * part)
        if self.shape == "square":
            return 1.0 if part < 0.5 else -1.0
        return 0.0 if self.shape == "constant" else 1 - 4 * abs((part + 0.25) % 1 - 0.5)


@dataclass(kw_only=True)
class Sampler(SlowDriver):
    """A device whose value is an array, taken on an io thread; one is taken at a time.

    A subclass has `take`, which runs on the io thread, and `simulated_axis`.
    """

    widget: ClassVar[Widget] = "samples"
    script: ClassVar[type | None] = Shape

    sample_every: Annotated[
        Duration | None, Between(0.5), Doc("The time between arrays; by default only on command.")
    ] = None
    x_unit: Annotated[str, Doc("The unit of the axis.")] = "s"

    @abstractmethod
    def take(self) -> Samples:
        """One array (io thread); DeviceError."""

    @abstractmethod
    def simulated_axis(self) -> tuple[int, float]:
        """How many numbers a simulated array has, and the step between them."""

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self.samples: Samples | None = None  # any thread may read it; replaced as a whole
        self._taken: str | None = None
        self._shown: dict[str, Any] | None = None
        self._running = False
        self._student = 0  # what was begun for one of them is not shown to the next
        self._next: float | None = None
        self._random = random.Random(0)

    def open(self) -> None:
        self._failure, self._running = None, False
        if not self.services.simulated:
            self._io = self.worker()
            self._io.start()
        self._next = None if self.sample_every is None else self.services.clock.now()
        self.opened()

    def close(self) -> None:
        io, self._io = self._io, None
        if io is not None:
            self.interrupt()
            io.stop()
        self._next = None
        self._forget()

    def reset(self) -> None:
        self._student += 1
        self._forget()

    def make_safe(self) -> None:
        """It drives nothing."""

    def due(self) -> float | None:
        return earliest(self._next)

    def poll(self) -> None:
        now = self.services.clock.now()
        if self._next is not None and self._next <= now:
            assert self.sample_every is not None
            self._next = now + self.sample_every
            if not self._running:
                self._begin()

    @command
    def acquire(self) -> None:
        """Take an array; the value is it as soon as it is there. Busy while one is being taken."""
        if self._running:
            raise Busy(f"'{self.name}' is taking samples already.")
        self._begin()

    @property
    def value(self) -> dict[str, Any] | None:
        return self._shown

    def state(self) -> dict[str, Any]:
        running = {"running": True} if self._running else {}
        return {**super().state(), **running}

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "x_unit": self.x_unit}

    def csv(self) -> str | None:
        """The array as a file, None while there is none (any thread)."""
        samples = self.samples
        x = {"s": "seconds", "": "index"}.get(self.x_unit, self.x_unit)
        return None if samples is None else samples.csv(x, self.name)

    def to_json(self) -> dict[str, Any] | None:
        """The whole array, None while there is none (any thread)."""
        samples, units = self.samples, {"unit": self.unit, "x_unit": self.x_unit}
        return None if samples is None else {**samples.to_json(), **units, "taken": self._taken}

    def _begin(self) -> None:
        if self._io is None:
            self._took(self._simulated(), self._student)
            return
        student = self._student
        self._io.submit(
            self.take,
            lambda found: self._took(found, student),
            lambda error: self._missed(error, student),
        )
        self._running = True

    def _took(self, samples: Samples, student: int) -> None:
        self._running, self._failure = False, None
        if student == self._student:
            self._taken = utc(self.services.clock.wall()).isoformat("T", "milliseconds")
            self.samples, self._shown = samples, {**samples.shown(), "taken": self._taken}
        self.services.publish()

    def _missed(self, error: Exception, student: int) -> None:
        self._running = False
        if student == self._student:
            self._failed(error, " gave no samples")
        self.services.publish()

    def _forget(self) -> None:
        self.samples = self._taken = self._shown = None

    def _simulated(self) -> Samples:
        count, step = self.simulated_axis()
        shape: Shape = self.scripted or Shape(frequency=2 / (count * step))
        amplitude, frequency, offset = map(
            self._number, (shape.amplitude, shape.frequency, shape.offset)
        )
        noise = (self._random.gauss(0, shape.noise) if shape.noise else 0.0 for _ in range(count))
        curve = (offset + amplitude * shape.at(frequency * i * step) for i in range(count))
        return Samples([a + b for a, b in zip(curve, noise, strict=True)], step)

    def _number(self, given: float | Ref) -> float:
        value = self.services.device(given).value if isinstance(given, Ref) else given
        return float(value) if isinstance(value, int | float) else 0.0
