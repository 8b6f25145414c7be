"""The time from an edge of one pin to an edge of another: light gates, echoes, falling bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from labnode.drivers.framework.driver import command
from labnode.drivers.framework.input import Sensor
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.services import PendingPost
from labnode.drivers.gpio.gpiochips import LineRequest, events_in
from labnode.drivers.gpio.line_events import LineEventInput
from labnode.drivers.gpio.pin import Pin
from labnode.locale import Message
from labnode.schema import Doc, Duration


@register("gate_timer")
@dataclass(kw_only=True)
class GateTimer(Sensor, LineEventInput):
    """The time from an edge of the pin `start` to the next edge of the pin `stop`, in µs.

    The kernel stamps both edges, so that a busy moment of labnode changes nothing; what remains is
    how long the machine takes to notice an edge, usually less than 50 µs. Of several starts before
    a stop the last one counts. If edges were lost, the measurement that they may belong to is
    dropped (`lost` in the state). `scale: 0.001` and `unit: ms` show milliseconds.

    Example::

        flight: {driver: gate_timer, start: GPIO17, stop: GPIO27}
    """

    start: Annotated[Pin, Doc("The pin whose edge starts the time.")]
    stop: Annotated[Pin, Doc("The pin whose edge ends it.")]
    start_edge: Annotated[Literal["rising", "falling"], Doc("Which edge of `start` counts.")] = (
        "rising"
    )
    stop_edge: Annotated[Literal["rising", "falling"], Doc("Which edge of `stop` counts.")] = (
        "rising"
    )
    sample_every: Duration | None = None
    unit: str = "µs"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_pull(self.start, self.stop)
        if self.start == self.stop:
            raise ValueError(Message("driver.two-pins"))

    def attach(self, name: str, services: Any) -> None:
        super().attach(name, services)
        self._measured: float | None = None  # microseconds; by the io thread
        self._lost = 0
        self._turn = PendingPost(services, self._changed)

    def request(self) -> LineRequest:
        lines = [self.start.number, self.stop.number]
        edge = self.start_edge if self.start_edge == self.stop_edge else "both"
        return LineRequest(lines, edge, self.pull_up, self.bounce_time)

    def restarted(self) -> None:
        self._number = 0  # of the last event
        self._started: int | None = None  # when, in nanoseconds

    def take(self, data: bytes, now: float) -> int:  # noqa: ARG002
        measured, before = None, self._number
        for event in events_in(data):
            if lost := event.number - self._number - 1 & 0xFFFFFFFF:
                self._lost += lost
                self._started = None
            self._number = event.number
            edge = "rising" if event.rising else "falling"
            if event.line == self.start.number and edge == self.start_edge:
                self._started = event.time
            elif event.line == self.stop.number and edge == self.stop_edge:
                if self._started is not None:
                    measured = (event.time - self._started) / 1000
                self._started = None
        if measured is not None:
            self._measured = measured
            self._turn.post()
        return self._number - before & 0xFFFFFFFF

    def read(self) -> float | None:
        return self._measured

    def state(self) -> dict[str, Any]:
        return {**super().state(), **({"lost": self._lost} if self._lost else {})}

    def _changed(self) -> None:
        if self._reader is not None and self._measured is not None:
            self.arrived(self._measured)
            self.services.publish()

    @command
    def reset(self) -> None:
        """Forget the last measurement."""
        self._measured, self._lost = None, 0
        self._value = self._sampled = None
