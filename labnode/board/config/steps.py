"""The steps of a sequence as a board file has them."""

from __future__ import annotations

import keyword
import math
from dataclasses import dataclass, field, fields
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from labnode.board import steps
from labnode.board.config.devices import NAME, Lookup
from labnode.board.steps import RunProgram, RunTask, Step
from labnode.drivers.framework.driver import Conversing, Programmable
from labnode.drivers.framework.expressions import WORDS, Expression, Words
from labnode.drivers.framework.output import NumberOutput, Output, SwitchOutput
from labnode.errors import BadInput
from labnode.files import lies_in
from labnode.locale import Joined, Message, Wording
from labnode.schema import (
    Between,
    Doc,
    Duration,
    Like,
    Section,
    Text,
    build,
    did_you_mean,
    shown,
    unlike,
)

T = TypeVar("T")

_UNKNOWN = object()  # a value that is known when the step runs


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


_Inner = Annotated[list[Section], Like(list[dict[str, Any]])]  # steps: the schema is recursive


@dataclass(frozen=True, kw_only=True)
class _If:
    expr: Annotated[Section, Like(Words), Doc("What decides; a missing value is not true.")]
    then: Annotated[_Inner, Doc("The steps while it is true.")]
    otherwise: Annotated[_Inner, Doc("The steps while it is not.")] = field(
        default_factory=list, metadata={"key": "else"}
    )


@dataclass(frozen=True, kw_only=True)
class _Repeat:
    steps: Annotated[_Inner, Doc("What is done in each round.")]
    until: Annotated[Section | None, Like(Words), Doc("It ends after a round with this true.")] = (
        None
    )
    times: Annotated[
        int | None, Between(1, 100_000), Doc("How many rounds; with `until`: at most.")
    ] = None
    timeout: Annotated[
        Duration | None, Between(0.1), Doc("How long all rounds may take before it is a failure.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class StepKeys:
    """The key that a step has, and what may stand there: for the JSON Schema and the docs."""

    set: Annotated[
        dict[str, Any],
        Doc("Set outputs to values, as the student could: {fan: 0.5}, {fan: {expr: x / 2}}."),
    ]
    pulse: Annotated[dict[str, Duration | _Pulse], Doc("Switch outputs on for a time.")]
    ramp: Annotated[dict[str, _Ramp], Doc("Bring an output to a value little by little.")]
    wait: Annotated[Duration, Doc("Wait, while everything else goes on.")]
    wait_for: Annotated[Words | _WaitFor, Doc("Wait until an expression is true.")]
    safe: Annotated[Literal["all"] | list[str], Doc("Make devices safe.")]
    program: Annotated[dict[str, str], Doc("Write a file with a programmer: {mcu: blank}.")]
    serial: Annotated[dict[str, str | _Serial], Doc("Talk on a serial port.")]
    run: Annotated[list[str] | RunProgram, Doc("Run a program of the Pi.")]
    task: Annotated[str | RunTask, Doc("Run a task of the lab's module.")]
    call: Annotated[str | dict[str, Any], Doc("A command of a device: {leds.set_bit: [0, true]}.")]
    if_: Annotated[_If, Doc("Steps that depend on an expression.")] = field(metadata={"key": "if"})
    repeat: Annotated[_Repeat, Doc("Steps again and again.")]
    let: Annotated[dict[str, Words], Doc("Names for values, for expressions in later steps.")]
    notify: Annotated[Text, Doc("Tell the student something.")]
    log: Annotated[str, Doc("Write a line into the log.")]


KINDS = [step.metadata.get("key", step.name) for step in fields(StepKeys)]


class StepReader:
    """Reads the steps of one board, each by the method that has the name of its key."""

    def __init__(self, lookup: Lookup, folder: Path) -> None:
        self._lookup = lookup
        self._problems = lookup.problems
        self._folder = folder
        self._named: dict[str, type | None] = {}  # values that have names, and their types
        self._sequence, self._timeout = "", math.inf  # of the steps that are read
        outputs = {n: d for n, d in lookup.devices.items() if isinstance(d, Output)}
        self._owners = {owned: n for n, output in outputs.items() for owned in output.owns}

    def read_sequence(self, name: str, sections: list[Section], timeout: float) -> tuple[Step, ...]:
        """The steps of a sequence, none of which may wait for longer than its `timeout`."""
        self._sequence, self._timeout = name, timeout
        return self.read_all(sections)

    def read_all(self, sections: list[Section]) -> tuple[Step, ...]:
        """The steps of a sequence, or of one that contains them; names end with them."""
        before = dict(self._named)
        found = tuple(step for step in map(self.read, sections) if step is not None)
        self._named = before
        return found

    def read(self, section: Section) -> Step | None:
        if section.bad:
            return None
        items = section.items()
        if len(items) != 1:
            keys = reduce(_both, section.content) if items else shown(section.value)
            kinds = ", ".join(KINDS)
            return self._wrong(section, Message("board.one-step", kinds=kinds, keys=keys))
        ((kind, content),) = items
        if kind not in KINDS:
            all_kinds = Message("board.there-are", names=", ".join(KINDS))
            hint = did_you_mean(kind, KINDS) or all_kinds
            return self._wrong(
                content.key_where, Message("board.no-step", name=repr(kind), hint=hint)
            )
        before = len(self._problems)
        method = f"{kind}_" if keyword.iskeyword(kind) else kind
        step: Step | None = None if content.bad else getattr(self, method)(content)
        return step if len(self._problems) == before else None

    def set(self, section: Section) -> Step | None:
        fixed, following = dict(self._by_device(section)), {}
        for name, content in section.items():
            if isinstance(content.content, dict) and list(content.content) == ["expr"]:
                following[name] = self._followed(name, fixed.pop(name).child("expr"))
        values = self._lookup.values(fixed)
        for name, value in values.items():
            self._check_owner(name, value, fixed[name])
        values |= following
        return steps.Set({name: values[name] for name, _ in section.items() if name in values})

    def _followed(self, name: str, section: Section) -> Expression | None:
        """The expression that an output is set to."""
        output, found = self._lookup.output(name, section), self._expression(section, f"'{name}'")
        self._check_owner(name, _UNKNOWN, section)
        if output is not None and found is not None:
            kinds = {output.value_type.kind, found.kind} - {None}
            if len(kinds) > 1:
                self._wrong(
                    section, Message("board.types-differ", name=name, value=repr(found.text))
                )
        return found

    def _expression(self, section: Section, what: str) -> Expression | None:
        return self._lookup.expression(section, what, named=self._named)

    def _condition(self, section: Section, what: str) -> Expression | None:
        return self._lookup.condition(section, what, named=self._named)

    def let(self, section: Section) -> Step | None:
        if not section.items():
            example = "{let: {begin: temp}}"
            return self._wrong(section, Message("board.names-and-values", example=example))
        values = {}
        for name, content in section.items():
            if name in self._lookup.devices:
                self._wrong(content.key_where, Message("board.device-has-name", name=repr(name)))
            elif not NAME.fullmatch(name) or name in WORDS:
                self._wrong(content.key_where, Message("board.names-no-value", name=repr(name)))
            found = self._expression(content, f"{name!r}")
            if found is not None:
                values[name] = found
                self._named[name] = found.kind
        return steps.Let(values)

    def if_(self, section: Section) -> Step | None:
        spec = self._build(_If, section)
        if spec is None:
            return None
        condition = self._condition(spec.expr, "'if'")
        then, otherwise = self.read_all(spec.then), self.read_all(spec.otherwise)
        return None if condition is None else steps.If(condition, then, otherwise)

    def repeat(self, section: Section) -> Step | None:
        spec = self._build(_Repeat, section)
        if spec is None:
            return None
        inner = self.read_all(spec.steps)
        until = None if spec.until is None else self._condition(spec.until, "'until'")
        if spec.until is None and spec.times is None:
            return self._wrong(section, Message("board.endless"))
        if until is not None and not until.names and until.constant is not None:
            one_round, no_end = Message("board.until-true"), Message("board.until-false")
            return self._wrong(spec.until or section, one_round if until.constant else no_end)
        step = steps.Repeat(inner, until, spec.times, spec.timeout)
        devices = {n: d for n, d in self._lookup.devices.items() if d is not None}
        least = steps.least_time([step], devices, -math.inf)
        if spec.timeout is not None and least > spec.timeout:
            limit = f"{spec.timeout:g}"
            return self._wrong(
                section, Message("board.long-loop", least=f"{least:g}", timeout=limit)
            )
        return step

    def call(self, section: Section) -> Step | None:
        items = [(section.content, section)] if isinstance(section.content, str) else []
        items = items or section.items()
        if len(items) != 1:
            example = "{call: {leds.set_bit: [0, true]}}"
            return self._wrong(section, Message("board.one-command", example=example))
        ((where, given),) = items
        device, _, command = where.partition(".")
        driver = self._lookup.device(device, given.key_where or given.where)
        if driver is None:
            return None
        spec = driver.commands.get(command)
        if spec is None:
            there = Message("board.it-has", names=", ".join(driver.commands))
            hint = did_you_mean(command, driver.commands) or (there if driver.commands else "")
            missing = Message("board.no-command", device=device, name=repr(command), hint=hint)
            return self._wrong(given, missing)
        arguments = None if isinstance(section.content, str) else given.value
        if arguments is not None and not isinstance(arguments, dict | list):
            arguments = [arguments]
        try:
            bound = spec.bind(where, arguments)
        except BadInput as error:
            return self._wrong(given, error.words)
        value = False if command == "off" else bound.get("value", _UNKNOWN)
        self._check_owner(device, value, given)
        return steps.CallCommand(device, command, bound)

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
            value = self._lookup.accepted(name, output, value, content)
            self._check_owner(name, value, content)
            self._check_time(spec.seconds, content)
            pulses.append((name, value, spec.seconds))
        return steps.Pulse(tuple(pulses))

    def ramp(self, section: Section) -> Step | None:
        wanted = Message("board.one-ramp", example="{ramp: {fan: {to: 1, over: 5s}}}")
        name, content = self._one_device(section, wanted)
        if content is None:
            return None
        output = self._lookup.output(name, content)
        spec = self._build(_Ramp, content)
        if output is None or spec is None:
            return None
        if not isinstance(output, NumberOutput):
            return self._wrong(content, Message("board.no-ramp", name=name))
        value = self._lookup.accepted(name, output, spec.to, content)
        self._check_owner(name, value, content)
        self._check_time(spec.over, content)
        return steps.Ramp(name, value, spec.over)

    def wait(self, section: Section) -> Step | None:
        seconds: Any = build(Duration, section, self._problems, name="wait")
        self._check_time(seconds, section)
        return steps.Wait(seconds)

    def wait_for(self, section: Section) -> Step | None:
        spec = self._build(_WaitFor, section, "expr")
        condition = None if spec is None else self._condition(spec.expr, "wait_for")
        if spec is None or condition is None:
            return None
        if isinstance(section.content, dict) and "timeout" in section:
            self._check_time(spec.timeout, section.child("timeout"))
        return steps.WaitFor(condition, spec.timeout)

    def safe(self, section: Section) -> Step | None:
        if section.content == "all":
            return steps.Safe(None)
        entries = section.entries()
        if not entries:
            return self._wrong(section, Message("board.all-or-devices"))
        for entry in entries:
            self._lookup.device(str(entry.content), entry)
        return steps.Safe(tuple(entry.content for entry in entries))

    def program(self, section: Section) -> Step | None:
        wanted = Message("board.one-programmer", example="{program: {mcu: blank}}")
        name, content = self._one_device(section, wanted)
        if content is None:
            return None
        driver = self._lookup.device(name, content)
        if driver is not None and not isinstance(driver, Programmable):
            why = Message("board.programs-nothing", name=name, kind=driver.kind)
            return self._wrong(content, why)
        if content.content == "blank":
            return steps.Program(name, None)
        path = self._folder / str(content.content)
        if isinstance(content.content, str) and not lies_in(self._folder, content.content):
            return self._wrong(content, unlike(Message("driver.a-file-beside"), content.value))
        if not isinstance(content.content, str) or not path.is_file():
            return self._wrong(content, Message("board.no-file-to-write", path=repr(str(path))))
        return steps.Program(name, path)

    def serial(self, section: Section) -> Step | None:
        wanted = Message("board.one-port", example='{serial: {console: {send: "x"}}}')
        name, content = self._one_device(section, wanted)
        if content is None:
            return None
        driver = self._lookup.device(name, content)
        spec = self._build(_Serial, content, "send")
        if driver is not None and not isinstance(driver, Conversing):
            why = Message("board.no-serial-port", name=name, kind=driver.kind)
            return self._wrong(content, why)
        if spec is None:
            return None
        return steps.Converse(name, spec.send, spec.expect, spec.timeout)

    def run(self, section: Section) -> Step | None:
        step = self._build(RunProgram, section, "argv")
        if step is not None and not step.argv:
            return self._wrong(section, Message("board.no-program"))
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
            self._wrong(section, unlike(Message("board.by-device"), section.value))
        return section.items()

    def _one_device(self, section: Section, wanted: Message) -> tuple[str, Section | None]:
        items = self._by_device(section)
        if len(items) == 1:
            return items[0]
        self._wrong(section, wanted)
        return "", None

    def _build(self, kind: type[T], section: Section, short: str = "") -> T | None:
        """A `kind`; what is not a mapping is its one key `short`."""
        if short and not isinstance(section.content, dict):
            section = Section({short: section}, section.where, section.key_where, bad=section.bad)
        return build(kind, section, self._problems, name=Message("board.step"))

    def _check_time(self, seconds: float | None, place: Section) -> None:
        if seconds is not None and seconds > self._timeout:
            fixed = self._sequence == "on_shutdown"
            too_long = Message(
                "board.too-long",
                seconds=f"{seconds:g}",
                limit=f"{self._timeout:g}",
                name=repr(self._sequence),
            )
            self._wrong(place, Joined(too_long, "" if fixed else Message("board.longer-timeout")))

    def _check_owner(self, name: str, value: Any, place: Section) -> None:
        """An output that only another one commands may be made safe, and no more."""
        owner, output = self._owners.get(name), self._lookup.devices.get(name)
        if owner is None or value is None or not isinstance(output, Output):
            return
        if output.is_safe(value):
            return
        if choices := ", ".join(self._lookup.types[owner].choices):
            why = Message("board.owned-choices", name=name, owner=owner, choices=choices)
        else:
            why = Message("board.owned", name=name, owner=owner)
        self._wrong(place, why)

    def _wrong(self, place: Section | str, message: str | Wording) -> Step | None:
        self._problems.add(place, message)
        return None


def _both(one: str | Wording, other: str) -> Message:
    return Message("board.and", one=one, other=other)
