"""Counted pulses, and what follows from them: frequencies, speeds, rates, flows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.drivers.gpio.gpiochips import EVENT, LineRequest
from labnode.drivers.gpio.line_events import LineEventInput
from labnode.drivers.gpio.pin import Pin
from labnode.locale import Message
from labnode.schema import Between, Doc, Duration

_MARKS = 200  # in a gate: the edges between two are only counted
_UNITS = {"frequency": "Hz", "rpm": "rpm", "cpm": "cpm", "flow": "L/min", "volume": "L"}


@dataclass(frozen=True)
class Mark:
    """How many pulses there were at one of them; `time` is the kernel's, in nanoseconds."""

    received: float
    time: int
    count: int


class Tally:
    """Counts pulses by the numbers that the kernel gives them, so that lost ones count as well.

    The io thread adds; `marks`, `count` and `lost` may be read by any thread.
    """

    def __init__(self, gate: float) -> None:
        self.count = 0
        self.lost = 0  # of these, those that nobody could read in time
        self.marks: tuple[Mark, ...] = ()
        self._gate = gate
        self._kept: deque[Mark] = deque()
        self._number = 0  # of the last event

    def restart(self) -> None:
        """The next event has the number 1."""
        self._number = 0

    def add(self, data: bytes, now: float) -> int:
        """Add a batch of events; how many pulses they stand for."""
        begun, _, _, _, first = EVENT.unpack_from(data)
        ended, _, _, _, last = EVENT.unpack_from(data, len(data) - EVENT.size)
        before = first - self._number - 1 & 0xFFFFFFFF  # lost; the numbers have 32 bits
        pulses = int(last - self._number & 0xFFFFFFFF)
        if not self._kept or now - self._kept[-1].received > self._gate:
            self._kept.append(Mark(now, begun, self.count + before + 1))
        if len(self._kept) > 2 and now - self._kept[-2].received < self._gate / _MARKS:
            self._kept.pop()
        self._kept.append(Mark(now, ended, self.count + pulses))
        while len(self._kept) > 2 and self._kept[1].received <= now - self._gate:
            self._kept.popleft()
        self._number = last
        self.lost += pulses - len(data) // EVENT.size
        self.marks = tuple(self._kept)
        self.count += pulses
        return pulses


def frequency(marks: Sequence[Mark], now: float, gate: float) -> float:
    """The pulses per second of the last `gate` seconds, by the times of the pulses themselves.

    0 with fewer than two pulses that are no further apart than that.
    """
    if not marks or marks[-1].received <= now - gate:
        return 0.0
    last = marks[-1]
    inside = next(mark for mark in marks if mark.received > now - gate)
    first = inside if inside is not last else marks[-2] if len(marks) > 1 else last
    return (last.count - first.count) / (last.time - first.time) * 1e9 if last != first else 0.0


def counts_within(marks: Sequence[Mark], count: int, since: float) -> int:
    """How many of `count` pulses came after `since`, as exactly as the marks are dense."""
    return count - max((mark.count for mark in marks if mark.received <= since), default=0)


@register("pulse_counter")
@dataclass(kw_only=True)
class PulseCounter(Sensor, LineEventInput):
    """Counts the pulses at a pin, up to 10,000 a second: a Geiger counter, a flow meter, a slotted
    disc, a fan's tachometer.

    The kernel numbers and stamps every pulse, and labnode reads them in batches: a busy moment
    loses none. If more come than the kernel keeps (1,024), the numbers say how many could not be
    read (`lost` in the state); they are counted all the same. With more than 20,000 pulses in a
    second counting pauses for a second (`edges_paused`), so that a pin that floats cannot use up
    the processor.

    `measure` says what the value is: `count` and `volume` (litres) since the last reset, which
    every student begins with; `frequency`, `rpm` and `flow` (litres per minute) from the times of
    the first and the last pulse of the last `gate` seconds; `cpm`, counts per minute, from the
    number of counts in the last `gate` seconds. A simulated counter shows what `simulate:` says.

    Example::

        fan: {driver: pulse_counter, pin: GPIO17, pull_up: true, measure: rpm, pulses_per_turn: 2}
    """

    pin: Annotated[Pin, Doc("The pin that is counted.")]
    measure: Annotated[
        Literal["count", "frequency", "rpm", "cpm", "flow", "volume"],
        Doc("What the value is; see above."),
    ] = "count"
    edge: Annotated[
        Literal["rising", "falling", "both"], Doc("Which edges of the pin are a pulse.")
    ] = "rising"
    pulses_per_turn: Annotated[float, Between(0.001), Doc("For rpm: the pulses of one turn.")] = 1.0
    pulses_per_litre: Annotated[
        float | None, Between(0.001), Doc("For flow and volume: the pulses of one litre.")
    ] = None
    gate: Annotated[
        Duration | None,
        Between(0.01, 3600),
        Doc("The time that is looked back upon; by default 1 s, for cpm 60 s."),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_pull(self.pin)
        if self.measure in ("flow", "volume") and self.pulses_per_litre is None:
            raise ValueError(Message("driver.needs-per-litre", measure=self.measure))
        self.unit = self.unit or _UNITS.get(self.measure, "")

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._span = self.gate or (60.0 if self.measure == "cpm" else 1.0)

    def request(self) -> LineRequest:
        return LineRequest([self.pin.number], self.edge, self.pull_up, self.bounce_time)

    def open(self) -> None:
        self._tally = Tally(self._span)
        self._begin()
        super().open()

    def take(self, data: bytes, now: float) -> int:
        return self._tally.add(data, now)

    def restarted(self) -> None:
        self._tally.restart()

    def read(self) -> float | None:
        if self._failure is not None:
            return None
        now, marks, count = self.services.clock.now(), self._tally.marks, self._tally.count
        if self.measure == "cpm":
            seconds = min(self._span, now - self._since)
            counted = count - self._base
            if seconds == self._span:
                counted = min(counted, counts_within(marks, count, now - seconds))
            return 60 * counted / seconds if seconds > 0 else 0.0
        if self.measure == "count":
            return count - self._base
        if self.measure == "volume":
            return (count - self._base) / (self.pulses_per_litre or 1.0)
        hertz = frequency(marks, now, self._span)
        return hertz * {
            "rpm": 60 / self.pulses_per_turn,
            "flow": 60 / (self.pulses_per_litre or 1.0),
        }.get(self.measure, 1.0)

    def state(self) -> dict[str, Any]:
        lost = {"lost": self._tally.lost - self._lost} if self._tally.lost > self._lost else {}
        return {**super().state(), **lost}

    @command
    def reset(self) -> None:
        self._begin()
        if self._sampled is not None and self.measure in ("count", "volume", "cpm"):
            self.arrived(0)

    def _begin(self) -> None:
        """Count from here."""
        self._base, self._lost = self._tally.count, self._tally.lost
        self._since = self.services.clock.now()
