"""Sequences: what a board does by itself when a session starts or ends, and in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from labnode.board import steps
from labnode.board.config.devices import NAME, Lookup, in_order, sources_of
from labnode.board.steps import RunTask, Stage, Step
from labnode.clock.schedules import At, Every, Schedule
from labnode.drivers.framework.driver import Driver
from labnode.errors import TooLate
from labnode.locale import Joined, Message, Wording
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
)

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
SHUTDOWN_LIMIT = 2.0  # seconds for on_shutdown: a node stops within 10
_TEST_EVERY = 21600.0  # seconds, for a self-test that does not say when


@dataclass(frozen=True)
class Trigger:
    """A change of a device that starts a sequence, a reaction."""

    device: str
    press: bool  # only when it comes on
    student: bool  # only while a student has the board, and as that student
    rest: float  # seconds from one start to the next one

    @property
    def words(self) -> Message:
        """ "when button comes on, every 10 s at most"."""
        who, rest = Message("board.while-student") if self.student else "", f"{self.rest:g}"
        if self.press:
            return Message("board.when-on", device=self.device, who=who, seconds=rest)
        return Message("board.when-changes", device=self.device, who=who, seconds=rest)


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
    trigger: Trigger | None = None  # the device that starts it

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
        return self.name not in _DEFAULT_ON_ERROR and self.trigger is None

    def outputs(self) -> set[str]:
        """The outputs that it commands."""
        return steps.outputs_of(self.steps)

    def warnings(self, devices: Mapping[str, Driver]) -> list[Message]:
        """A sentence when its waits and the rests of outputs are longer than its timeout."""
        name, limit = self.name, f"{self.timeout:g}"
        if (least := steps.least_time(self.steps, devices, -math.inf)) > self.timeout:
            return [Message("board.never-completed", name=name, least=f"{least:g}", timeout=limit)]
        if (least := steps.least_time(self.steps, devices, 0.0)) > self.timeout:
            return [Message("board.long-rests", name=name, least=f"{least:g}", timeout=limit)]
        return []

    def tasks(self) -> list[str]:
        """The tasks of the lab that it runs."""
        return [s.name for s in steps.with_inner(self.steps) if isinstance(s, RunTask)]

    def explain(self) -> list[Wording]:
        """What it does and when, in sentences."""
        head = Message(
            "board.explains",
            name=self.name,
            when=self._when,
            seconds=f"{self.timeout:g}",
            means=Message(f"board.means:{self.on_error}"),
        )
        return [
            head,
            *(steps.indented(self.steps) or [Joined("  ", Message("board.does-nothing"))]),
        ]

    @property
    def _when(self) -> str | Wording:
        if self.label is not None:
            return Message("board.when-pressed", label=self.label)
        if self.trigger is not None:
            return self.trigger.words
        when = Message(f"board.when:{self.name}") if self.name in _DEFAULT_ON_ERROR else ""
        if self.name == "on_idle":
            return Joined(when, Message("board.after", seconds=f"{self.after:g}"))
        if self.schedule is None:
            return when
        return Joined(when, ", " if when else "", self.schedule.words)


def check_tasks(sequences: Mapping[str, Sequence], known: Mapping[str, Any]) -> list[Message]:
    """A sentence for each task that a sequence runs and the lab's module does not have."""
    return [
        Message(
            "board.no-task",
            sequence=sequence.name,
            name=repr(name),
            hint=did_you_mean(name, known),
        )
        for sequence in sequences.values()
        for name in sequence.tasks()
        if name not in known
    ]


# ---------------------------------------------------------------------- the keys of sequences


Steps = Annotated[list[Section], Like(list[dict[str, Any]])]
"""Steps, whose keys (`StepKeys`) only boards with sequences load."""


@dataclass(frozen=True, kw_only=True)
class _Steps:
    steps: Annotated[
        list[Section], Like(list[dict[str, Any]]), Doc("What is done, one after the other.")
    ]
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
            raise ValueError(Message("board.every-and-at"))
        if self.at is None and (self.days is not None or self.catch_up):
            raise ValueError(Message("board.days-without-at"))
        if self.every is not None and self.every < self.timeout:
            every, timeout = f"{self.every:g}", f"{self.timeout:g}"
            raise ValueError(Message("board.every-too-short", every=every, timeout=timeout))
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
            raise ValueError(Message("board.no-time"))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class ReactionKeys:
    """A short sequence that a device starts."""

    on_press: Annotated[
        str | None, Doc("A device that is on or off: it starts when that comes on.")
    ] = None
    on_change: Annotated[str | None, Doc("A device: it starts when the value of that changes.")] = (
        None
    )
    by: Annotated[
        Literal["student", "system"],
        Doc("student: only while one has the board, and in their name; system: at any time."),
    ] = "student"
    rest: Annotated[
        Duration, Between(0.1), Doc("From one start to the next one; changes meanwhile count not.")
    ] = 1.0
    steps: Annotated[
        list[Section], Like(list[dict[str, Any]]), Doc("What is done, one after the other.")
    ]
    timeout: Annotated[
        Duration, Between(0.1, 10), Doc("How long all of it may take: students wait meanwhile.")
    ] = 5.0

    def __post_init__(self) -> None:
        if (self.on_press is None) == (self.on_change is None):
            if self.on_press is not None:
                raise ValueError(Message("board.two-triggers"))
            raise ValueError(Message("board.no-trigger"))


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
    reactions: Annotated[
        dict[str, Section],
        Like(dict[str, ReactionKeys]),
        Doc("Short sequences that a device starts when it is pressed or changes, by name."),
    ] = field(default_factory=dict)


# ---------------------------------------------------------------------- reading


def read_sequences(section: Section, lookup: Lookup, folder: Path) -> dict[str, Sequence]:
    """The sequences by name; `folder` is where the board file is."""
    if section.content is None:
        return {}
    from labnode.board.config.steps import StepReader  # noqa: PLC0415 - many boards have none

    problems = lookup.problems
    section = _with_steps(section, problems, deep=True)
    keys = build(SequenceKeys, section, problems, name="sequences")
    reader = StepReader(lookup, folder)
    found: dict[str, Sequence] = {}

    def add(name: str, spec: Any, on_error: OnError, trigger: Trigger | None = None) -> None:
        if spec is not None:
            timeout = min(spec.timeout, SHUTDOWN_LIMIT if name == "on_shutdown" else math.inf)
            found[name] = Sequence(
                name=name,
                steps=reader.read_sequence(name, spec.steps, timeout),
                timeout=timeout,
                on_error=getattr(spec, "on_error", None) or on_error,
                after=getattr(spec, "after", 0.0),
                schedule=getattr(spec, "schedule", None),
                catch_up=getattr(spec, "catch_up", False),
                label=getattr(spec, "label", None),
                trigger=trigger,
            )

    for name, on_error in _DEFAULT_ON_ERROR.items():
        add(name, getattr(keys, name, None), on_error)
    for name, place in section.child("buttons").items():
        if _is_free(name, place, found, problems):
            what = Message("board.button", name=repr(name))
            add(name, build(ButtonKeys, place, problems, name=what), "fail")
    for name, place in section.child("scheduled").items():
        if _is_free(name, place, found, problems):
            what = Message("board.scheduled", name=repr(name))
            add(name, build(ScheduledKeys, place, problems, name=what), "fail")
    for name, place in section.child("reactions").items():
        if _is_free(name, place, found, problems):
            what = Message("board.reaction", name=repr(name))
            keys_of = build(ReactionKeys, place, problems, name=what)
            add(name, keys_of, "warn", _trigger(keys_of, place, lookup))
    _check_circles(found, section.child("reactions"), lookup)
    return found


def _trigger(spec: ReactionKeys | None, place: Section, lookup: Lookup) -> Trigger | None:
    if spec is None:
        return None
    key = "on_press" if spec.on_press is not None else "on_change"
    device = getattr(spec, key)
    driver = lookup.device(device, place.child(key))
    if driver is not None and spec.on_press and driver.value_type.kind not in (bool, None):
        why = Message("board.never-pressed", name=device, kind=driver.kind)
        lookup.problems.add(place.child(key), why)
    return Trigger(device, spec.on_press is not None, spec.by == "student", spec.rest)


def _check_circles(found: Mapping[str, Sequence], section: Section, lookup: Lookup) -> None:
    """No reaction may start itself, directly or through others and formulas."""
    sources: dict[str, set[str]] = {n: set(of) for n, of in sources_of(lookup.devices).items()}
    for sequence in found.values():
        if sequence.trigger is not None:
            for output in sequence.outputs():
                sources.setdefault(output, set()).add(sequence.trigger.device)
    try:
        in_order(sources)
    except ValueError as error:
        circle = str(error).split(" -> ")
        names = [
            name
            for name, sequence in found.items()
            if sequence.trigger is not None
            and sequence.trigger.device in circle
            and not sequence.outputs().isdisjoint(circle)
        ]
        place = section.child(names[0]).key_where if names else section
        way = " -> ".join(reversed(circle))
        lookup.problems.add(place, Message("board.reactions-circle", way=way))


def _with_steps(section: Section, problems: Problems, deep: bool = False) -> Section:
    """Sequences; one whose steps are not under `steps:` is a problem, and bad."""
    from labnode.board.config.steps import KINDS  # noqa: PLC0415

    content = dict(section.items())
    for name, place in content.items():
        if deep and name in ("buttons", "scheduled", "reactions"):
            content[name] = _with_steps(place, problems)
        elif isinstance(place.content, list) or (
            "steps" not in place and set(KINDS) & dict(place.items()).keys()
        ):
            example = f"{name}: {{steps: [{{safe: all}}]}}"
            why = Message("board.steps-belong", name=repr(name), example=example)
            problems.add(place.key_where, why)
            content[name] = replace(place, content=None, bad=True)
    return replace(section, content=content) if isinstance(section.content, dict) else section


def _is_free(name: str, place: Section, others: Mapping[str, Sequence], problems: Problems) -> bool:
    """Whether a sequence may be called so; else that is a problem."""
    if NAME.fullmatch(name) and name not in _DEFAULT_ON_ERROR and name not in others:
        return True
    problems.add(place.key_where, Message("board.sequence-name", name=repr(name)))
    return False
