"""Sequences: what a board does by itself when a session starts or ends, and in between."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from labnode.board.read_steps import Reader, StepKeys
from labnode.board.rules import Devices
from labnode.board.steps import RunTask, Stage, Step
from labnode.errors import TooLate
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
