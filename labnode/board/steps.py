"""The steps of a sequence: each is one thing that a board does by itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, cast

from labnode.board.config.expressions import Expression
from labnode.drivers.framework.driver import Conversing, Driver, Programmable
from labnode.drivers.framework.output import NumberOutput, Output
from labnode.errors import DeviceError
from labnode.schema import Doc, Duration, Text

log = logging.getLogger(__name__)

_RAMP_STEP = 0.1  # seconds


class Stage(Protocol):
    """What steps act on (hardware thread only)."""

    devices: Mapping[str, Driver]

    def refresh(self, device: str) -> None: ...
    def evaluate(self, expression: Expression) -> Any: ...

    def check(self) -> None:
        """Interlocked after an emergency stop: no further step may run."""

    def put(self, device: str, value: Any) -> None:
        """Command an output, within its limits and the interlocks.

        Waits while it has to rest; TooLate when that is longer than the sequence may take.
        """

    def make_safe(self, devices: tuple[str, ...] | None) -> None:
        """Reset some devices, or all."""

    def pause(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """True as soon as `until()` is, False after `seconds`; others are served meanwhile.

        Stopped when the sequence has to end, TooLate when its time is up.
        """

    def run_program(self, argv: tuple[str, ...], timeout: float) -> tuple[bool, tuple[str, ...]]:
        """Whether a program succeeded, and its output."""

    def run_task(self, name: str, arguments: Mapping[str, Any]) -> None:
        """Run one of the lab's tasks here; DeviceError when it fails."""

    def notify(self, text: Text) -> None:
        """Show the students a message."""


class Step(Protocol):
    def run(self, stage: Stage) -> None: ...


@dataclass(frozen=True)
class Set:
    values: Mapping[str, Any]

    @property
    def outputs(self) -> Collection[str]:
        return self.values.keys()

    def run(self, stage: Stage) -> None:
        for device, value in self.values.items():
            stage.put(device, value)


@dataclass(frozen=True)
class Pulse:
    """Outputs at a value for some seconds, then safe again; one after the other."""

    pulses: tuple[tuple[str, Any, float], ...]  # device, value, seconds

    def run(self, stage: Stage) -> None:
        for device, value, seconds in self.pulses:
            stage.put(device, value)
            try:
                stage.pause(seconds)
            finally:
                stage.make_safe((device,))


@dataclass(frozen=True)
class Ramp:
    """An output brought to a value in small steps that take `over` seconds in all."""

    device: str
    to: float
    over: float

    @property
    def outputs(self) -> Collection[str]:
        return (self.device,)

    def run(self, stage: Stage) -> None:
        output = cast(NumberOutput, stage.devices[self.device])
        begin = output.value
        if begin is None:
            raise DeviceError(f"nobody knows at which value '{self.device}' is, to ramp it from it")
        pause = max(_RAMP_STEP, 1.05 / (output.max_per_second or math.inf))
        steps = max(1, int(self.over / pause))
        for step in range(1, steps):
            stage.pause(self.over / steps)
            stage.put(self.device, output.nearest(begin + (self.to - begin) * step / steps))
        stage.pause(self.over / steps)
        stage.put(self.device, self.to)


@dataclass(frozen=True)
class Wait:
    seconds: float

    def run(self, stage: Stage) -> None:
        stage.pause(self.seconds)


@dataclass(frozen=True)
class WaitFor:
    """Until the expression is true; DeviceError when it is not within `timeout` seconds."""

    expression: Expression
    timeout: float

    def run(self, stage: Stage) -> None:
        if not stage.pause(self.timeout, lambda: bool(stage.evaluate(self.expression))):
            there = ", ".join(
                f"{name} is {stage.devices[name].value!r}" for name in sorted(self.expression.names)
            )
            raise DeviceError(
                f"'{self.expression.text}' did not become true within {self.timeout:g} s"
                f"{there and f' ({there})'}"
            )


@dataclass(frozen=True)
class Safe:
    devices: tuple[str, ...] | None  # None: all

    def run(self, stage: Stage) -> None:
        stage.make_safe(self.devices)


@dataclass(frozen=True)
class Program:
    """A programmer writes an image; None is its blank one."""

    device: str
    image: Path | None

    def run(self, stage: Stage) -> None:
        programmer = cast(Programmable, stage.devices[self.device])
        try:
            if self.image is None:
                programmer.blank()
            else:
                programmer.program(self.image)
        finally:
            stage.refresh(self.device)


@dataclass(frozen=True)
class Converse:
    """Send something to a serial device, and wait for the expected answer."""

    device: str
    send: str | None
    expect: str | None
    timeout: float

    def run(self, stage: Stage) -> None:
        port = cast(Conversing, stage.devices[self.device])
        if self.expect is None:
            port.send(self.send or "")
        elif self.send is None:
            port.expect(self.expect, self.timeout)
        else:
            port.ask(self.send, self.expect, self.timeout)


@dataclass(frozen=True, kw_only=True)
class RunProgram:
    argv: Annotated[list[str], Doc("A program and its arguments.")]
    timeout: Annotated[Duration, Doc("How long it may take.")] = 10.0

    def run(self, stage: Stage) -> None:
        succeeded, output = stage.run_program(tuple(self.argv), self.timeout)
        if not succeeded:
            last = f": {output[-1]}" if output else ""
            raise DeviceError(f"the program '{self.argv[0]}' failed{last}")


@dataclass(frozen=True, kw_only=True)
class RunTask:
    name: Annotated[str, Doc("A task of the lab's module.")]
    args: Annotated[dict[str, Any], Doc("Its arguments by name.")] = field(default_factory=dict)

    def run(self, stage: Stage) -> None:
        stage.run_task(self.name, self.args)


@dataclass(frozen=True)
class Notify:
    text: Text

    def run(self, stage: Stage) -> None:
        stage.notify(self.text)


@dataclass(frozen=True)
class Log:
    text: str

    def run(self, stage: Stage) -> None:  # noqa: ARG002
        log.info("%s", self.text)


def least_time(steps: Iterable[Step], devices: Mapping[str, Driver], off_at: float) -> float:
    """How many seconds steps take at least; `off_at` is when outputs went off before them."""
    now = 0.0
    rested: dict[str, float] = {}  # when each output may be on again
    on: set[str] = set()

    def put(name: str, value: Any) -> None:
        nonlocal now
        output = devices[name]
        assert isinstance(output, Output)
        rest = output.min_off_time or 0.0
        if not output.is_safe(value):
            if name not in on:
                now = max(now, rested.get(name, off_at + rest))
            on.add(name)
        elif name in on:
            on.discard(name)
            rested[name] = now + rest

    for step in steps:
        match step:
            case Set(values):
                for name, value in values.items():
                    put(name, value)
            case Pulse(pulses):
                for name, value, seconds in pulses:
                    put(name, value)
                    now += seconds
                    put(name, cast(Output, devices[name]).safe)
            case Ramp(name, to, over):
                now += over
                put(name, to)
            case Wait(seconds):
                now += seconds
            case Safe(names):
                for name in on & set(on if names is None else names):
                    put(name, cast(Output, devices[name]).safe)
    return now
