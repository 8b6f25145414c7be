"""The interlocks of a board file: which outputs are held at which values, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from labnode.board.config.expressions import Expression, ExpressionError
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.output import Output
from labnode.errors import BadInput
from labnode.schema import (
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

Devices = Mapping[str, Driver | None]  # None: its own problems have been told
Words = str | bool | int | float  # what an expression may look like to YAML


@dataclass(frozen=True)
class _Named:
    """What every interlock has: a name, and what people are told while it acts."""

    name: str
    message: Text


@dataclass(frozen=True)
class Mutex(_Named):
    """At most one of `devices` is on; another may be only `wait` seconds after it went off."""

    devices: tuple[str, ...]
    wait: float


@dataclass(frozen=True)
class Require(_Named):
    """`devices` are held safe unless the expression is true."""

    expression: Expression
    devices: tuple[str, ...]


@dataclass(frozen=True)
class When(_Named):
    """While the expression is true, for `for_time` seconds at least, outputs are held at values.

    One that hangs on a missing value is not true. With `latch` what was true once holds until it
    is over and a person says so.
    """

    expression: Expression
    force: Mapping[str, Any]
    latch: bool
    for_time: float


Rule = Mutex | Require | When


@dataclass(frozen=True, kw_only=True)
class _Form:
    name: Annotated[str, Doc("What the log, the central server and people call it.")]
    message: Annotated[Text | None, Doc("What the student reads while it acts.")] = None


@dataclass(frozen=True, kw_only=True)
class _Mutex(_Form):
    mutex: Annotated[
        list[Section], Like(list[str]), Doc("Outputs of which only one may be on at a time.")
    ]
    wait: Annotated[
        Duration, Doc("How long one of them has been off before another may be on.")
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class _Require(_Form):
    require: Annotated[
        Section, Like(Words), Doc("The outputs are held safe while this expression is not true.")
    ]
    devices: Annotated[
        list[Section], Like(list[str]), Doc("The outputs that this interlock holds.")
    ] = field(metadata={"key": "for"})


@dataclass(frozen=True, kw_only=True)
class _When(_Form):
    when: Annotated[
        Section, Like(Words), Doc("The outputs are held while this expression is true.")
    ]
    force: Annotated[
        dict[str, Section], Doc("The outputs that this interlock holds, each with its value.")
    ]
    latch: Annotated[
        bool, Doc("Whether it holds on when the expression is over, until a person clears it.")
    ] = False
    for_time: Annotated[
        Duration, Doc("How long the expression has to be true before it counts.")
    ] = 0.0


RuleForm = _Mutex | _Require | _When

_FORMS: dict[str, type] = {"mutex": _Mutex, "require": _Require, "when": _When}


def read_rules(section: Section, devices: Devices, problems: Problems) -> tuple[Rule, ...]:
    """The interlocks that can be built; what is wrong with the others is added to `problems`."""
    rules: dict[str, Rule] = {}
    for entry in section.entries():
        rule = _rule(entry, devices, problems)
        if rule is None:
            continue
        if rule.name in rules:
            problems.add(entry, f"there are two interlocks called {rule.name!r}")
        rules[rule.name] = rule
    return tuple(rules.values())


def expression(
    section: Section, devices: Devices, problems: Problems, what: str
) -> Expression | None:
    """The expression that a scalar is."""
    if section.bad:
        return None
    if not isinstance(section.content, str | bool | int | float):
        problems.add(section, f"expected an expression for {what}, not {shown(section.value)}")
        return None
    content = section.content
    text = str(content).lower() if isinstance(content, bool) else section.text
    try:
        return Expression.parse(text, devices)
    except ExpressionError as error:
        problems.add(section, f"the expression {text!r} for {what}, {error}")
    return None


def output(name: str, place: Section, devices: Devices, problems: Problems) -> Output | None:
    """The output called `name`; None after telling that there is no such one."""
    if name not in devices:
        problems.add(place, f"there is no device {name!r}{did_you_mean(name, devices)}")
        return None
    driver = devices[name]
    if driver is not None and not isinstance(driver, Output):
        problems.add(place, f"'{name}' is no output: a {driver.kind} cannot be set")
    return driver if isinstance(driver, Output) else None


def values(section: Mapping[str, Section], devices: Devices, problems: Problems) -> dict[str, Any]:
    """The values that a mapping gives to outputs, each checked by its driver."""
    found: dict[str, Any] = {}
    for name, value in section.items():
        driver = output(name, value, devices, problems)
        if driver is None or value.bad:
            continue
        try:
            found[name] = driver.accept(name, value.value)
        except BadInput as error:
            problems.add(value, str(error))
    return found


def _rule(entry: Section, devices: Devices, problems: Problems) -> Rule | None:
    if entry.bad:
        return None
    forms = [key for key in _FORMS if key in entry]
    if len(forms) != 1:
        problems.add(
            entry,
            "an interlock has one of the keys 'when' (with 'force'), 'require' (with 'for') or "
            "'mutex'",
        )
        return None
    before = len(problems)
    spec = build(_FORMS[forms[0]], entry, problems, name="interlock")
    if spec is None:
        return None
    message = spec.message or Text(
        {"en": f"The interlock '{spec.name}' acts.", "es": f"Actúa el enclavamiento '{spec.name}'."}
    )
    rule = _built(spec, entry, message, devices, problems)
    return rule if len(problems) == before else None


def _built(
    spec: Any, entry: Section, message: Text, devices: Devices, problems: Problems
) -> Rule | None:
    what = f"the interlock '{spec.name}'"
    if isinstance(spec, _Mutex):
        names = _outputs(spec.mutex, devices, problems)
        if len(spec.mutex) < 2:
            place = spec.mutex[0] if spec.mutex else entry
            problems.add(place, f"{what}: a mutex is of two devices or more")
        return Mutex(spec.name, message, names, spec.wait)
    if isinstance(spec, _Require):
        condition = expression(spec.require, devices, problems, what)
        names = _outputs(spec.devices, devices, problems)
        return Require(spec.name, message, condition, names) if condition else None
    condition = expression(spec.when, devices, problems, what)
    force = values(spec.force, devices, problems)
    if condition is None:
        return None
    return When(spec.name, message, condition, force, spec.latch, spec.for_time)


def _outputs(entries: list[Section], devices: Devices, problems: Problems) -> tuple[str, ...]:
    names = []
    for entry in entries:
        if not isinstance(entry.content, str):
            problems.add(entry, f"expected the name of a device, not {shown(entry.value)}")
        elif output(entry.content, entry, devices, problems) is not None:
            names.append(entry.content)
    return tuple(names)
