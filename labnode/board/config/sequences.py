"""Sequences: what a board does by itself when a session starts or ends, and in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from labnode.board import steps
from labnode.board.config.devices import NAME, Lookup
from labnode.board.config.expressions import Words
from labnode.board.steps import RunProgram, RunTask, Stage, Step
from labnode.clock.schedules import At, Every, Schedule
from labnode.drivers.framework.driver import Conversing, Driver, Programmable
from labnode.drivers.framework.output import NumberOutput, SwitchOutput
from labnode.errors import TooLate
from labnode.files import lies_in
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

T = TypeVar("T")

OnError = Literal["warn", "fail", "quarantine"]

_DEFAULT_ON_ERROR: dict[str, OnError] = {
    "on_boot": "quarantine",
    "on_start": "fail",
    "on_dispose": "quarantine",
    "on_idle": "warn",
    "on_fault": "warn",
    "on_shutdown": "warn",
    "selftest": "quarantine",
}
_TEST_EVERY = 21600.0  # seconds, for a self-test that does not say when


@dataclass(frozen=True)
class Sequence:
    """Steps in order, `timeout` seconds at most; `on_error` says what a failure means."""

    name: str
    steps: tuple[Step, ...]
    timeout: float
    on_error: OnError
    after: float = 0.0  # seconds without a session (on_idle)
    schedule: Schedule | None = None  # when it comes by itself (selftest, scheduled)
    catch_up: bool = False  # whether a time that was missed comes as soon as it can
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

    @property
    def is_task(self) -> bool:
        """Whether it is one of the lab's tasks: a button, or one that comes by itself."""
        return self.name not in _DEFAULT_ON_ERROR

    def outputs(self) -> set[str]:
        """The outputs that it commands."""
        return {name for step in self.steps for name in getattr(step, "outputs", ())}

    def warnings(self, devices: Mapping[str, Driver]) -> list[str]:
        """A sentence when its waits and the rests of outputs are longer than its timeout."""
        limit = f"but its timeout is {self.timeout:g} s"
        if (least := steps.least_time(self.steps, devices, -math.inf)) > self.timeout:
            return [f"{self.name} takes at least {least:g} s, {limit}: it can never be completed."]
        if (least := steps.least_time(self.steps, devices, 0.0)) > self.timeout:
            return [
                f"{self.name} takes at least {least:g} s when an output has just been switched "
                f"off and has to rest (min_off_time), {limit}."
            ]
        return []

    def tasks(self) -> list[str]:
        """The tasks of the lab that it runs."""
        return [step.name for step in self.steps if isinstance(step, RunTask)]


def check_tasks(sequences: Mapping[str, Sequence], known: Mapping[str, Any]) -> list[str]:
    """A sentence for each task that a sequence runs and the lab's module does not have."""
    return [
        f"{sequence.name} runs the task {name!r}, which the lab's module does not have"
        f"{did_you_mean(name, known)}"
        for sequence in sequences.values()
        for name in sequence.tasks()
        if name not in known
    ]


# ---------------------------------------------------------------------- the keys of steps


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
    run: Annotated[list[str] | RunProgram, Doc("Run a program of the Pi.")]
    task: Annotated[str | RunTask, Doc("Run a task of the lab's module.")]
    notify: Annotated[Text, Doc("Tell the student something.")]
    log: Annotated[str, Doc("Write a line into the log.")]


_KINDS = [step.name for step in fields(StepKeys)]

# ---------------------------------------------------------------------- the keys of sequences


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
    every: Annotated[
        Duration | None,
        Between(1),
        Doc("How often, counted from the start of labnode: it needs no clock that is right."),
    ] = None
    at: Annotated[
        str | list[str] | None, Doc("At which local times of day: 03:00, or a list of them.")
    ] = None
    days: Annotated[
        str | list[str] | None, Doc("With `at`: on which days, such as mon-fri or [sat, sun].")
    ] = None
    catch_up: Annotated[
        bool, Doc("With `at`: whether what was missed, with labnode off, comes once afterwards.")
    ] = False

    def __post_init__(self) -> None:
        if self.every is not None and self.at is not None:
            raise ValueError("'every' and 'at' both say when it comes; only one of them can")
        if self.at is None and (self.days is not None or self.catch_up):
            raise ValueError("'days' and 'catch_up' belong to times of day, and 'at' is missing")
        if self.every is not None and self.every < self.timeout:
            raise ValueError(
                f"'every' is {self.every:g} s, which is shorter than the 'timeout' of "
                f"{self.timeout:g} s: it could come while it runs"
            )
        _ = self.schedule  # ValueError where a time or a day is none

    @property
    def schedule(self) -> Schedule:
        """When it comes."""
        if self.at is not None:
            return At(self.at, self.days)
        return Every(_TEST_EVERY if self.every is None else self.every)


@dataclass(frozen=True, kw_only=True)
class ScheduledKeys(SelfTest):
    """A sequence that the board runs from time to time or at times of day."""

    def __post_init__(self) -> None:
        if self.every is None and self.at is None:
            raise ValueError("it has to say when it comes, with 'every' or 'at'")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class SequenceKeys:
    """The keys under `sequences:`."""

    on_boot: Annotated[_Sequence | None, Doc("When the node has started.")] = None
    on_start: Annotated[_Sequence | None, Doc("Before a student gets the board.")] = None
    on_dispose: Annotated[_Sequence | None, Doc("After a student.")] = None
    on_idle: Annotated[_OnIdle | None, Doc("When nobody has used the board for a while.")] = None
    on_fault: Annotated[_Sequence | None, Doc("When an interlock begins to act.")] = None
    on_shutdown: Annotated[_Sequence | None, Doc("When the node stops: 2 seconds at most.")] = None
    selftest: Annotated[
        SelfTest | None,
        Doc("From time to time, every 6 hours if it does not say when: is the board all right?"),
    ] = None
    scheduled: Annotated[
        dict[str, Section],
        Like(dict[str, ScheduledKeys]),
        Doc("Sequences that come from time to time or at times of day, by name."),
    ] = field(default_factory=dict)
    buttons: Annotated[
        dict[str, Section],
        Like(dict[str, ButtonKeys]),
        Doc("Sequences that students start, by name, each with a button on the page."),
    ] = field(default_factory=dict)


# ---------------------------------------------------------------------- reading


def read_sequences(section: Section, lookup: Lookup, folder: Path) -> dict[str, Sequence]:
    """The sequences by name; `folder` is where the board file is."""
    problems = lookup.problems
    section = _with_steps(section, problems, deep=True)
    keys = build(SequenceKeys, section, problems, name="sequences")
    reader = _StepReader(lookup, folder)
    found: dict[str, Sequence] = {}

    def add(name: str, spec: Any, on_error: OnError) -> None:
        if spec is not None:
            found[name] = Sequence(
                name=name,
                steps=reader.read_all(spec.steps),
                timeout=spec.timeout,
                on_error=getattr(spec, "on_error", None) or on_error,
                after=getattr(spec, "after", 0.0),
                schedule=getattr(spec, "schedule", None),
                catch_up=getattr(spec, "catch_up", False),
                label=getattr(spec, "label", None),
            )

    for name, on_error in _DEFAULT_ON_ERROR.items():
        add(name, getattr(keys, name, None), on_error)
    for name, place in section.child("buttons").items():
        if _is_free(name, place, found, problems):
            add(name, build(ButtonKeys, place, problems, name=f"button {name!r}"), "fail")
    for name, place in section.child("scheduled").items():
        if _is_free(name, place, found, problems):
            add(name, build(ScheduledKeys, place, problems, name=f"scheduled {name!r}"), "fail")
    return found


def _with_steps(section: Section, problems: Problems, deep: bool = False) -> Section:
    """Sequences; one whose steps are not under `steps:` is a problem, and bad."""
    content = dict(section.items())
    for name, place in content.items():
        if deep and name in ("buttons", "scheduled"):
            content[name] = _with_steps(place, problems)
        elif isinstance(place.content, list) or (
            "steps" not in place and set(_KINDS) & dict(place.items()).keys()
        ):
            problems.add(
                place.key_where,
                f"the steps of {name!r} belong under 'steps:', as in "
                f"{name}: {{steps: [{{safe: all}}]}}",
            )
            content[name] = replace(place, content=None, bad=True)
    return replace(section, content=content) if isinstance(section.content, dict) else section


def _is_free(name: str, place: Section, others: Mapping[str, Sequence], problems: Problems) -> bool:
    """Whether a sequence may be called so; else that is a problem."""
    if NAME.fullmatch(name) and name not in _DEFAULT_ON_ERROR and name not in others:
        return True
    problems.add(
        place.key_where,
        f"{name!r} cannot be the name of a sequence: it is a letter, then letters, digits and '_', "
        "40 at most, and no other sequence's",
    )
    return False


class _StepReader:
    """Reads the steps of one board, each by the method that has the name of its key."""

    def __init__(self, lookup: Lookup, folder: Path) -> None:
        self._lookup = lookup
        self._problems = lookup.problems
        self._folder = folder

    def read_all(self, sections: list[Section]) -> tuple[Step, ...]:
        return tuple(step for step in map(self.read, sections) if step is not None)

    def read(self, section: Section) -> Step | None:
        if section.bad:
            return None
        items = section.items()
        if len(items) != 1:
            keys = " and ".join(key for key, _ in items) or shown(section.value)
            return self._wrong(
                section, f"a step has one key, one of {', '.join(_KINDS)}; here is {keys}"
            )
        ((kind, content),) = items
        if kind not in _KINDS:
            hint = did_you_mean(kind, _KINDS) or f"; there are {', '.join(_KINDS)}"
            return self._wrong(content.key_where, f"there is no step {kind!r}{hint}")
        before = len(self._problems)
        step: Step | None = None if content.bad else getattr(self, kind)(content)
        return step if len(self._problems) == before else None

    def set(self, section: Section) -> Step | None:
        return steps.Set(self._lookup.values(dict(self._by_device(section))))

    def pulse(self, section: Section) -> Step | None:
        pulses = []
        for name, content in self._by_device(section):
            output = self._lookup.output(name, content)
            spec = self._build(_Pulse, content, "for")
            if output is None or spec is None:
                continue
            value = spec.value
            if value is None and isinstance(output, SwitchOutput):
                value = not output.safe
            pulses.append((name, self._lookup.accepted(name, output, value, content), spec.seconds))
        return steps.Pulse(tuple(pulses))

    def ramp(self, section: Section) -> Step | None:
        wanted = "a ramp is of one output: {ramp: {fan: {to: 1, over: 5s}}}"
        name, content = self._one_device(section, wanted)
        if content is None:
            return None
        output = self._lookup.output(name, content)
        spec = self._build(_Ramp, content)
        if output is None or spec is None:
            return None
        if not isinstance(output, NumberOutput):
            return self._wrong(content, f"'{name}' has no values between: it cannot be ramped")
        return steps.Ramp(name, self._lookup.accepted(name, output, spec.to, content), spec.over)

    def wait(self, section: Section) -> Step | None:
        seconds: Any = build(Duration, section, self._problems, name="wait")
        return steps.Wait(seconds)

    def wait_for(self, section: Section) -> Step | None:
        spec = self._build(_WaitFor, section, "expr")
        condition = None if spec is None else self._lookup.expression(spec.expr, "wait_for")
        if spec is None or condition is None:
            return None
        return steps.WaitFor(condition, spec.timeout)

    def safe(self, section: Section) -> Step | None:
        if section.content == "all":
            return steps.Safe(None)
        entries = section.entries()
        if not entries:
            return self._wrong(section, "expected 'all' or a list of devices")
        for entry in entries:
            self._lookup.device(str(entry.content), entry)
        return steps.Safe(tuple(entry.content for entry in entries))

    def program(self, section: Section) -> Step | None:
        wanted = "one programmer at a time: {program: {mcu: blank}}"
        name, content = self._one_device(section, wanted)
        if content is None:
            return None
        driver = self._lookup.device(name, content)
        if driver is not None and not isinstance(driver, Programmable):
            return self._wrong(content, f"'{name}' programs nothing: it is a {driver.kind}")
        if content.content == "blank":
            return steps.Program(name, None)
        path = self._folder / str(content.content)
        if isinstance(content.content, str) and not lies_in(self._folder, content.content):
            return self._wrong(
                content, f"expected a file beside the board or below it, not {shown(content.value)}"
            )
        if not isinstance(content.content, str) or not path.is_file():
            return self._wrong(
                content, f"there is no file {str(path)!r} ('blank' is the blank one)"
            )
        return steps.Program(name, path)

    def serial(self, section: Section) -> Step | None:
        wanted = 'one port at a time: {serial: {console: {send: "x"}}}'
        name, content = self._one_device(section, wanted)
        if content is None:
            return None
        driver = self._lookup.device(name, content)
        spec = self._build(_Serial, content, "send")
        if driver is not None and not isinstance(driver, Conversing):
            return self._wrong(content, f"'{name}' is no serial port: it is a {driver.kind}")
        if spec is None:
            return None
        return steps.Converse(name, spec.send, spec.expect, spec.timeout)

    def run(self, section: Section) -> Step | None:
        step = self._build(RunProgram, section, "argv")
        if step is not None and not step.argv:
            return self._wrong(section, "expected a program and its arguments, as a list")
        return step

    def task(self, section: Section) -> Step | None:
        return self._build(RunTask, section, "name")

    def notify(self, section: Section) -> Step | None:
        text = build(Text, section, self._problems, name="notify")
        return None if text is None else steps.Notify(text)

    def log(self, section: Section) -> Step | None:
        text = build(str, section, self._problems, name="log")
        return None if text is None else steps.Log(text)

    # ------------------------------------------------------------------ what they share

    def _by_device(self, section: Section) -> list[tuple[str, Section]]:
        if not section.items():
            self._wrong(section, f"expected a mapping by device, not {shown(section.value)}")
        return section.items()

    def _one_device(self, section: Section, wanted: str) -> tuple[str, Section | None]:
        items = self._by_device(section)
        if len(items) == 1:
            return items[0]
        self._wrong(section, wanted)
        return "", None

    def _build(self, kind: type[T], section: Section, short: str = "") -> T | None:
        """A `kind`; what is not a mapping is its one key `short`."""
        if short and not isinstance(section.content, dict):
            section = Section({short: section}, section.where, section.key_where, bad=section.bad)
        return build(kind, section, self._problems, name="step")

    def _wrong(self, place: Section | str, message: str) -> Step | None:
        self._problems.add(place, message)
        return None
