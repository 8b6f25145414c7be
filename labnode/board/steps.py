"""The steps of a sequence: each is one thing that a board does by itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, cast

from labnode.drivers.framework.driver import Conversing, Driver, Programmable
from labnode.drivers.framework.expressions import Expression
from labnode.drivers.framework.output import NumberOutput, Output
from labnode.errors import DeviceError
from labnode.locale import Joined, Message, Wording
from labnode.schema import Doc, Duration, Text

log = logging.getLogger(__name__)

_RAMP_STEP = 0.1  # seconds
_ROUND_REST = 0.02  # seconds between two rounds of a loop, for everybody else


class Stage(Protocol):
    """What steps act on (hardware thread only)."""

    devices: Mapping[str, Driver]
    values: dict[str, Any]  # that have been named

    def refresh(self, device: str) -> None: ...
    def evaluate(self, expression: Expression) -> Any: ...

    def check(self) -> None:
        """Interlocked after an emergency stop: no further step may run."""

    def put(self, device: str, value: Any) -> None:
        """Command an output, within its limits and the interlocks.

        Waits while it has to rest; TooLate when that is longer than the sequence may take.
        """

    def command(self, device: str, command: str, arguments: Mapping[str, Any]) -> None:
        """Have a device do one of its commands; waits as `put` does."""

    def demand(self, expression: Expression) -> Any:
        """The value of an expression; DeviceError when it is missing."""

    def at_most(self, seconds: float | None, what: str) -> AbstractContextManager[None]:
        """Inside the block, TooLate after so many seconds; None: no limit of its own."""

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
    """One step. Some have the `outputs` that they command, and steps that are `inner`."""

    def run(self, stage: Stage) -> None: ...

    def explain(self) -> list[Wording]:
        """What it does, in sentences for the owner of the lab."""


def outputs_of(steps: Iterable[Step]) -> set[str]:
    """What steps command, those inside of them too."""
    return {name for step in steps for name in getattr(step, "outputs", ())}


def with_inner(steps: Iterable[Step]) -> Iterator[Step]:
    """All steps, and those inside of them."""
    for step in steps:
        yield step
        for inner in getattr(step, "inner", ()):
            yield from with_inner(inner)


@dataclass(frozen=True)
class Set:
    """Outputs get values, or what expressions are at that moment."""

    values: Mapping[str, Any | Expression]

    @property
    def outputs(self) -> Collection[str]:
        return self.values.keys()

    def run(self, stage: Stage) -> None:
        for device, value in self.values.items():
            stage.put(device, self._now(device, value, stage))

    def _now(self, device: str, value: Any, stage: Stage) -> Any:
        if not isinstance(value, Expression):
            return value
        output, found = cast(Output, stage.devices[device]), stage.demand(value)
        if output.value_type.width and isinstance(found, float) and found.is_integer():
            found = int(found)  # of a bank
        return output.accept(device, found)

    def explain(self) -> list[Wording]:
        each = [Message("board.to", name=n, value=_shown(to)) for n, to in self.values.items()]
        return [Message("board.does-set", what=Joined(*each, between=", "))]


@dataclass(frozen=True)
class CallCommand:
    """A command of a device, with arguments by name."""

    device: str
    command: str
    arguments: Mapping[str, Any]

    @property
    def outputs(self) -> Collection[str]:
        return (self.device,)

    def run(self, stage: Stage) -> None:
        stage.command(self.device, self.command, self.arguments)

    def explain(self) -> list[Wording]:
        command = f"{self.device}.{self.command}"
        return [Message("board.does-command", command=command, given=_given(self.arguments))]


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

    def explain(self) -> list[Wording]:
        return [
            Message("board.does-pulse", name=name, value=_shown(value), seconds=f"{seconds:g}")
            for name, value, seconds in self.pulses
        ]


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

    def explain(self) -> list[Wording]:
        to, seconds = f"{self.to:g}", f"{self.over:g}"
        return [Message("board.does-ramp", name=self.device, value=to, seconds=seconds)]


@dataclass(frozen=True)
class Wait:
    seconds: float

    def run(self, stage: Stage) -> None:
        stage.pause(self.seconds)

    def explain(self) -> list[Wording]:
        return [Message("board.does-wait", seconds=f"{self.seconds:g}")]


@dataclass(frozen=True)
class WaitFor:
    """Until the expression is true; DeviceError when it is not within `timeout` seconds."""

    expression: Expression
    timeout: float

    def run(self, stage: Stage) -> None:
        if not stage.pause(self.timeout, lambda: bool(stage.evaluate(self.expression))):
            values = ", ".join(
                f"{name} is {stage.devices[name].value!r}" for name in sorted(self.expression.names)
            )
            raise DeviceError(
                f"'{self.expression.text}' did not become true within {self.timeout:g} s"
                f"{values and f' ({values})'}"
            )

    def explain(self) -> list[Wording]:
        text, seconds = self.expression.text, f"{self.timeout:g}"
        return [Message("board.does-wait-for", expression=text, seconds=seconds)]


@dataclass(frozen=True)
class Safe:
    devices: tuple[str, ...] | None  # None: all

    def run(self, stage: Stage) -> None:
        stage.make_safe(self.devices)

    def explain(self) -> list[Wording]:
        if self.devices is None:
            return [Message("board.does-safe-all")]
        return [Message("board.does-safe", names=", ".join(self.devices))]


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

    def explain(self) -> list[Wording]:
        if self.image is None:
            return [Message("board.does-blank", name=self.device)]
        return [Message("board.does-program", name=self.device, image=self.image.name)]


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

    def explain(self) -> list[Wording]:
        sent, expected, seconds = repr(self.send), repr(self.expect), f"{self.timeout:g}"
        if self.expect is None:
            return [Message("board.does-send", text=sent, name=self.device)]
        if self.send is None:
            return [Message("board.does-expect", text=expected, name=self.device, seconds=seconds)]
        return [
            Message(
                "board.does-ask", sent=sent, name=self.device, expected=expected, seconds=seconds
            )
        ]


@dataclass(frozen=True, kw_only=True)
class RunProgram:
    argv: Annotated[list[str], Doc("A program and its arguments.")]
    timeout: Annotated[Duration, Doc("How long it may take.")] = 10.0

    def run(self, stage: Stage) -> None:
        succeeded, output = stage.run_program(tuple(self.argv), self.timeout)
        if not succeeded:
            last = f": {output[-1]}" if output else ""
            raise DeviceError(f"the program '{self.argv[0]}' failed{last}")

    def explain(self) -> list[Wording]:
        program, seconds = " ".join(self.argv), f"{self.timeout:g}"
        return [Message("board.does-run", program=program, seconds=seconds)]


@dataclass(frozen=True, kw_only=True)
class RunTask:
    name: Annotated[str, Doc("A task of the lab's module.")]
    args: Annotated[dict[str, Any], Doc("Its arguments by name.")] = field(default_factory=dict)

    def run(self, stage: Stage) -> None:
        stage.run_task(self.name, self.args)

    def explain(self) -> list[Wording]:
        return [Message("board.does-task", name=self.name, given=_given(self.args))]


@dataclass(frozen=True)
class Notify:
    text: Text

    def run(self, stage: Stage) -> None:
        stage.notify(self.text)

    def explain(self) -> list[Wording]:
        return [Message("board.does-notify", text=self.text)]


@dataclass(frozen=True)
class Log:
    text: str

    def run(self, stage: Stage) -> None:  # noqa: ARG002
        log.info("%s", self.text)

    def explain(self) -> list[Wording]:
        return [Message("board.does-log", text=self.text)]


def run_all(steps: Sequence[Step], stage: Stage) -> None:
    """Do steps, one after the other."""
    for step in steps:
        stage.check()
        step.run(stage)


@dataclass(frozen=True)
class If:
    """One of two lists of steps; with a missing value the condition is not true."""

    condition: Expression
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]

    @property
    def inner(self) -> Collection[tuple[Step, ...]]:
        return (self.then, self.otherwise)

    @property
    def outputs(self) -> Collection[str]:
        return outputs_of((*self.then, *self.otherwise))

    def run(self, stage: Stage) -> None:
        run_all(self.then if stage.evaluate(self.condition) else self.otherwise, stage)

    def explain(self) -> list[Wording]:
        lines = [Message("board.does-if", expression=self.condition.text), *indented(self.then)]
        otherwise = [Message("board.does-otherwise"), *indented(self.otherwise)]
        return [*lines, *otherwise] if self.otherwise else lines


@dataclass(frozen=True)
class Repeat:
    """Steps again and again: until an expression is true, or a number of times.

    With both, and after `timeout` seconds, it is a failure if the expression has not become true.
    """

    steps: tuple[Step, ...]
    until: Expression | None
    times: int | None
    timeout: float | None

    @property
    def inner(self) -> Collection[tuple[Step, ...]]:
        return (self.steps,)

    @property
    def outputs(self) -> Collection[str]:
        return outputs_of(self.steps)

    @property
    def least_rounds(self) -> int:
        return 1 if self.times is None or self.until is not None else self.times

    def run(self, stage: Stage) -> None:
        with stage.at_most(self.timeout, "the loop"):
            done = 0
            while self.times is None or done < self.times:
                run_all(self.steps, stage)
                done += 1
                if self.until is not None and stage.evaluate(self.until):
                    return
                stage.pause(_ROUND_REST)
        if self.until is not None:
            raise DeviceError(f"'{self.until.text}' did not become true in {done} rounds")

    def explain(self) -> list[Wording]:
        limits = []
        if self.until is not None:
            limits.append(Message("board.until", expression=self.until.text))
            if self.times is not None:
                limits.append(Message("board.times-at-most", n=self.times))
        elif self.times is not None:
            limits.append(Message("board.times", n=self.times))
        if self.timeout is not None:
            limits.append(Message("board.for-at-most", seconds=f"{self.timeout:g}"))
        head = Message("board.does-repeat", limits=Joined(*limits, between=", "))
        return [head, *indented(self.steps)]


@dataclass(frozen=True)
class Let:
    """Values that get names, for the expressions of the steps after it."""

    values: Mapping[str, Expression]

    def run(self, stage: Stage) -> None:
        for name, expression in self.values.items():
            stage.values[name] = stage.demand(expression)

    def explain(self) -> list[Wording]:
        return [
            Message("board.does-let", expression=each.text, name=name)
            for name, each in self.values.items()
        ]


def indented(steps: Iterable[Step]) -> list[Wording]:
    """What steps do, a sentence each, as the content of another one."""
    return [Joined("  ", line) for step in steps for line in step.explain()]


def _given(arguments: Mapping[str, Any]) -> str | Wording:
    given = ", ".join(f"{name} {_shown(value)}" for name, value in arguments.items())
    return given and Message("board.with", arguments=given)


def _shown(value: Any) -> str:
    """A value as a board file has it."""
    if isinstance(value, Expression):
        return value.text
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


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
                    if not isinstance(value, Expression):
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
            case _ if inner := getattr(step, "inner", ()):
                # What they leave on or off is not followed: it is the least time all the same.
                rounds = getattr(step, "least_rounds", 1)
                now += rounds * min(least_time(each, devices, -math.inf) for each in inner)
    return now
