"""Sequences: what a board does by itself when a session starts or ends, and in between."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from labnode.board import steps
from labnode.board.config.interlock_rules import Devices, Words, expression, output, values
from labnode.board.steps import RunTask, Stage, Step
from labnode.drivers.framework.driver import Conversing, Programmable
from labnode.drivers.framework.output import NumberOutput, SwitchOutput
from labnode.errors import BadInput, TooLate
from labnode.schema import (
    Between,
    Doc,
    Duration,
    Like,
    Problems,
    Section,
    Text,
    build,
    did_you_mean,
    shown,
)


@dataclass(frozen=True)
class Reader:
    """Reads steps for one board; what is wrong is added to `problems`, and the step is None."""

    devices: Devices
    folder: Path
    problems: Problems

    def read(self, section: Section) -> Step | None:
        if section.bad:
            return None
        items = section.items()
        if len(items) != 1:
            return self._wrong(
                section, f"a step has one key, one of {', '.join(KINDS)}; here is {_is(section)}"
            )
        kind, content = items[0]
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS) or f"; there are {', '.join(KINDS)}"
            return self._wrong(content.key_where, f"there is no step {kind!r}{hint}")
        before = len(self.problems)
        step = None if content.bad else KINDS[kind](self, content)
        return step if len(self.problems) == before else None

    # ------------------------------------------------------------------ the kinds

    def set(self, section: Section) -> Step | None:
        return steps.Set(values(self._mapping(section), self.devices, self.problems))

    def pulse(self, section: Section) -> Step | None:
        pulses = []
        for name, content in self._mapping(section).items():
            driver = output(name, content, self.devices, self.problems)
            spec = self._build(_Pulse, content, "for")
            if driver is None or spec is None:
                continue
            value = spec.value
            if value is None and isinstance(driver, SwitchOutput):
                value = not driver.safe
            try:
                pulses.append((name, driver.accept(name, value), spec.seconds))
            except BadInput as error:
                self._wrong(content, str(error))
        return steps.Pulse(tuple(pulses))

    def ramp(self, section: Section) -> Step | None:
        items = list(self._mapping(section).items())
        if len(items) != 1:
            return self._wrong(section, "a ramp is of one output: {ramp: {fan: {to: 1, over: 5s}}}")
        name, content = items[0]
        driver = output(name, content, self.devices, self.problems)
        spec = self._build(_Ramp, content)
        if driver is None or spec is None:
            return None
        if not isinstance(driver, NumberOutput):
            return self._wrong(content, f"'{name}' has no values between: it cannot be ramped")
        try:
            return steps.Ramp(name, driver.accept(name, spec.to), spec.over)
        except BadInput as error:
            return self._wrong(content, str(error))

    def wait(self, section: Section) -> Step | None:
        seconds: Any = build(Duration, section, self.problems, name="wait")
        return None if seconds is None else steps.Wait(seconds)

    def wait_for(self, section: Section) -> Step | None:
        spec = self._build(_WaitFor, section, "expr")
        if spec is None:
            return None
        condition = expression(spec.expr, self.devices, self.problems, "wait_for")
        return None if condition is None else steps.WaitFor(condition, spec.timeout)

    def safe(self, section: Section) -> Step | None:
        if section.content == "all":
            return steps.Safe(None)
        names = [entry.content for entry in section.entries()]
        if not names:
            return self._wrong(section, "expected 'all' or a list of devices")
        for entry in section.entries():
            self._device(str(entry.content), entry)
        return steps.Safe(tuple(names))

    def program(self, section: Section) -> Step | None:
        items = list(self._mapping(section).items())
        if len(items) != 1:
            return self._wrong(section, "one programmer at a time: {program: {mcu: blank}}")
        name, content = items[0]
        driver = self._device(name, content)
        if driver is not None and not isinstance(driver, Programmable):
            return self._wrong(content, f"'{name}' programs nothing: it is a {driver.kind}")
        if content.content == "blank":
            return steps.Program(name, None)
        path = self.folder / str(content.content)
        if not isinstance(content.content, str) or not path.is_file():
            return self._wrong(
                content, f"there is no file {str(path)!r} ('blank' is the blank one)"
            )
        return steps.Program(name, path)

    def serial(self, section: Section) -> Step | None:
        items = list(self._mapping(section).items())
        if len(items) != 1:
            return self._wrong(section, 'one port at a time: {serial: {console: {send: "x"}}}')
        name, content = items[0]
        driver = self._device(name, content)
        spec = self._build(_Serial, content, "send")
        if driver is not None and not isinstance(driver, Conversing):
            return self._wrong(content, f"'{name}' is no serial port: it is a {driver.kind}")
        if spec is None:
            return None
        return steps.Converse(name, spec.send, spec.expect, spec.timeout)

    def run(self, section: Section) -> Step | None:
        spec = self._build(_Run, section, "argv")
        if spec is None:
            return None
        if not spec.argv:
            return self._wrong(section, "expected a program and its arguments, as a list")
        return steps.RunProgram(tuple(spec.argv), spec.timeout)

    def task(self, section: Section) -> Step | None:
        spec = self._build(_Task, section, "name")
        return None if spec is None else steps.RunTask(spec.name, spec.args)

    def notify(self, section: Section) -> Step | None:
        text = build(Text, section, self.problems, name="notify")
        return None if text is None else steps.Notify(text)

    def log(self, section: Section) -> Step | None:
        text = build(str, section, self.problems, name="log")
        return None if text is None else steps.Log(text)

    # ------------------------------------------------------------------ what they share

    def _mapping(self, section: Section) -> dict[str, Section]:
        if not isinstance(section.content, dict) or not section.content:
            self._wrong(section, f"expected a mapping by device, not {shown(section.value)}")
        return dict(section.items())

    def _build(self, kind: type[Any], section: Section, short: str = "") -> Any:
        """A `kind`; what is no mapping is its one key `short`."""
        if short and not isinstance(section.content, dict):
            section = Section({short: section}, section.where, section.key_where, bad=section.bad)
        return build(kind, section, self.problems, name="step")

    def _device(self, name: str, place: Section) -> Any:
        if name not in self.devices:
            hint = did_you_mean(name, self.devices)
            self.problems.add(place, f"there is no device {name!r}{hint}")
        return self.devices.get(name)

    def _wrong(self, place: Section | str, message: str) -> Step | None:
        self.problems.add(place, message)
        return None


Kind = Callable[[Reader, Section], Step | None]
KINDS: dict[str, Kind] = {
    "set": Reader.set,
    "pulse": Reader.pulse,
    "ramp": Reader.ramp,
    "wait": Reader.wait,
    "wait_for": Reader.wait_for,
    "safe": Reader.safe,
    "program": Reader.program,
    "serial": Reader.serial,
    "run": Reader.run,
    "task": Reader.task,
    "notify": Reader.notify,
    "log": Reader.log,
}


@dataclass(frozen=True, kw_only=True)
class _Pulse:
    seconds: Annotated[Duration, Between(0.001), Doc("How long it has the value.")] = field(
        metadata={"key": "for"}
    )
    value: Annotated[Any, Doc("Its value meanwhile; by default on.")] = None


@dataclass(frozen=True, kw_only=True)
class _Ramp:
    to: Annotated[float, Doc("The value in the end.")]
    over: Annotated[Duration, Between(0.1), Doc("How long that takes.")]


@dataclass(frozen=True, kw_only=True)
class _WaitFor:
    expr: Annotated[Section, Like(Words), Doc("What has to be true.")]
    timeout: Annotated[Duration, Doc("How long to wait before that is a failure.")] = 30.0


@dataclass(frozen=True, kw_only=True)
class _Serial:
    send: Annotated[str | None, Doc("What is sent.")] = None
    expect: Annotated[str | None, Doc("A regular expression for what has to come.")] = None
    timeout: Annotated[Duration, Doc("How long to wait before that is a failure.")] = 3.0


@dataclass(frozen=True, kw_only=True)
class _Run:
    argv: Annotated[list[str], Doc("A program and its arguments.")]
    timeout: Annotated[Duration, Doc("How long it may take.")] = 10.0


@dataclass(frozen=True, kw_only=True)
class _Task:
    name: Annotated[str, Doc("A task of the lab's module.")]
    args: Annotated[dict[str, Any], Doc("Its arguments by name.")] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StepKeys:
    """The key that a step has, and what may stand there: for the JSON Schema and the docs."""

    set: Annotated[dict[str, Any], Doc("Set outputs to values, as the student could.")]
    pulse: Annotated[dict[str, Duration | _Pulse], Doc("Switch outputs on for a time.")]
    ramp: Annotated[dict[str, _Ramp], Doc("Bring an output to a value little by little.")]
    wait: Annotated[Duration, Doc("Wait, while everything else goes on.")]
    wait_for: Annotated[Words | _WaitFor, Doc("Wait until an expression is true.")]
    safe: Annotated[Literal["all"] | list[str], Doc("Make devices safe.")]
    program: Annotated[dict[str, str], Doc("Write a file with a programmer: {mcu: blank}.")]
    serial: Annotated[dict[str, str | _Serial], Doc("Talk on a serial port.")]
    run: Annotated[list[str] | _Run, Doc("Run a program of the Pi.")]
    task: Annotated[str | _Task, Doc("Run a task of the lab's module.")]
    notify: Annotated[Text, Doc("Tell the student something.")]
    log: Annotated[str, Doc("Write a line into the log.")]


def _is(section: Section) -> str:
    keys = [key for key, _ in section.items()]
    return f"{' and '.join(keys)}" if keys else shown(section.value)


log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

OnError = Literal["warn", "fail", "quarantine"]

_OTHERWISE: dict[str, OnError] = {
    "on_boot": "quarantine",
    "on_start": "fail",
    "on_dispose": "quarantine",
    "on_idle": "warn",
    "on_fault": "warn",
    "on_shutdown": "warn",
    "selftest": "quarantine",
}


@dataclass(frozen=True)
class Sequence:
    """Steps in order, `timeout` seconds at most; `on_error` says what a failure means."""

    name: str
    steps: tuple[Step, ...]
    timeout: float
    on_error: OnError
    after: float = 0.0  # seconds without a session (on_idle)
    every: float = 0.0  # seconds between two of them (selftest)
    label: Text | None = None  # of its button, for one that students start

    def run(
        self,
        stage: Stage,
        now: Callable[[], float],
        progress: Callable[[float], None] = lambda _percent: None,
    ) -> None:
        """Do the steps; what goes wrong is raised, and names the step."""
        end = now() + self.timeout
        for number, step in enumerate(self.steps, 1):
            try:
                stage.check()
                step.run(stage)
            except Exception as error:
                error.add_note(f"in step {number} of {self.name}")
                raise
            if now() > end:
                raise TooLate(f"{self.name} took longer than its timeout of {self.timeout:g} s.")
            progress(100 * number / len(self.steps))

    def outputs(self) -> set[str]:
        """The outputs that it commands."""
        return {name for step in self.steps for name in getattr(step, "outputs", ())}

    def tasks(self) -> list[str]:
        """The tasks of the lab that it runs."""
        return [step.name for step in self.steps if isinstance(step, RunTask)]


@dataclass(frozen=True, kw_only=True)
class _Steps:
    steps: Annotated[list[Section], Like(list[StepKeys]), Doc("What is done, one after the other.")]
    timeout: Annotated[Duration, Between(0.1), Doc("How long all of it may take.")] = 60.0


@dataclass(frozen=True, kw_only=True)
class ButtonKeys(_Steps):
    """A sequence that students start."""

    label: Annotated[Text, Doc("What its button on the page is called.")]


@dataclass(frozen=True, kw_only=True)
class _Sequence(_Steps):
    on_error: Annotated[
        OnError | None,
        Doc("warn: only a line in the log; fail: the session does not start; quarantine."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class _OnIdle(_Sequence):
    after: Annotated[Duration, Doc("How long nobody has used the board before it is run.")] = 60.0


@dataclass(frozen=True, kw_only=True)
class SelfTest(_Sequence):
    every: Annotated[Duration, Between(1), Doc("How often, while nobody uses the board.")] = 21600.0


@dataclass(frozen=True, kw_only=True)
class SequenceKeys:
    """The keys under `sequences:`."""

    on_boot: Annotated[_Sequence | None, Doc("When the node has started.")] = None
    on_start: Annotated[_Sequence | None, Doc("Before a student gets the board.")] = None
    on_dispose: Annotated[_Sequence | None, Doc("After a student.")] = None
    on_idle: Annotated[_OnIdle | None, Doc("When nobody has used the board for a while.")] = None
    on_fault: Annotated[_Sequence | None, Doc("When an interlock begins to act.")] = None
    on_shutdown: Annotated[_Sequence | None, Doc("When the node stops: 2 seconds at most.")] = None
    selftest: Annotated[SelfTest | None, Doc("From time to time: is the board all right?")] = None
    buttons: Annotated[
        dict[str, Section],
        Like(dict[str, ButtonKeys]),
        Doc("Sequences that students start, by name, each with a button on the page."),
    ] = field(default_factory=dict)


def read_sequences(
    section: Section, devices: Devices, folder: Path, problems: Problems
) -> dict[str, Sequence]:
    """The sequences by name."""
    keys = build(SequenceKeys, section, problems, name="sequences")
    reader = Reader(devices, folder, problems)
    found: dict[str, Sequence] = {}
    for name, otherwise in _OTHERWISE.items():
        spec: Any = getattr(keys, name, None)
        if spec is None:
            continue
        steps = [reader.read(step) for step in spec.steps]
        found[name] = Sequence(
            name=name,
            steps=tuple(step for step in steps if step is not None),
            timeout=spec.timeout,
            on_error=spec.on_error or otherwise,
            after=getattr(spec, "after", 0.0),
            every=getattr(spec, "every", 0.0),
        )
    for name, place in section.child("buttons").items():
        button = _button(name, place, reader, problems)
        if button is not None:
            found[name] = button
    return found


def _button(name: str, place: Section, reader: Reader, problems: Problems) -> Sequence | None:
    if not _NAME.fullmatch(name) or name in _OTHERWISE:
        problems.add(
            place.key_where,
            f"{name!r} cannot be the name of a button: it is a letter, then letters, digits and "
            "'_', 40 at most, and no sequence's",
        )
        return None
    spec = build(ButtonKeys, place, problems, name=f"button {name!r}")
    if spec is None:
        return None
    steps = tuple(step for step in map(reader.read, spec.steps) if step is not None)
    return Sequence(name, steps, spec.timeout, "fail", label=spec.label)


def check_tasks(sequences: Mapping[str, Sequence], known: Mapping[str, Any]) -> list[str]:
    """A sentence for each task that a sequence runs and the lab's module does not have."""
    return [
        f"{sequence.name} runs the task {name!r}, which the lab's module does not have"
        f"{did_you_mean(name, known)}"
        for sequence in sequences.values()
        for name in sequence.tasks()
        if name not in known
    ]
