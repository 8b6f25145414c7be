"""The interlocks of a board file: which outputs are held at which values, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from labnode.board.config.devices import Lookup
from labnode.drivers.framework.expressions import Expression, Words
from labnode.locale import Message, Wording
from labnode.schema import Doc, Duration, Like, Section, Text, build, unlike


@dataclass(frozen=True)
class _Named:
    """What every interlock has: a name, and what people read while it acts."""

    name: str
    message: Wording


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

    An expression with a missing value is not true. With `latch` the rule acts until the expression
    is false and a person clears it.
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
        list[Section], Like(list[str]), Doc("Outputs; only one of them may be on at a time.")
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


def read_rules(section: Section, lookup: Lookup) -> tuple[Rule, ...]:
    """The interlocks that have no problems."""
    rules: dict[str, Rule] = {}
    for entry in section.entries():
        rule = _rule(entry, lookup)
        if rule is None:
            continue
        if rule.name in rules:
            twice = Message("board.two-interlocks", name=repr(rule.name))
            lookup.problems.add(entry, twice)
        rules[rule.name] = rule
    return tuple(rules.values())


def _rule(entry: Section, lookup: Lookup) -> Rule | None:
    if entry.bad:
        return None
    forms = [form for key, form in _FORMS.items() if key in entry]
    if len(forms) != 1:
        lookup.problems.add(entry, Message("board.interlock-keys"))
        return None
    before = len(lookup.problems)
    spec: Any = build(forms[0], entry, lookup.problems, name=Message("board.an-interlock"))
    rule = None if spec is None else _built(spec, entry, lookup)
    return rule if len(lookup.problems) == before else None


def _built(spec: RuleForm, entry: Section, lookup: Lookup) -> Rule | None:
    what = Message("board.the-interlock", name=spec.name)
    message = spec.message or Message("page.interlock-acts", name=spec.name)
    if isinstance(spec, _Mutex):
        names = _outputs(spec.mutex, lookup)
        if len(spec.mutex) < 2:
            place = spec.mutex[0] if spec.mutex else entry
            message = Message("board.mutex-of-two")
            lookup.problems.add(place, Message("yaml.about", what=what, why=message))
        return Mutex(spec.name, message, names, spec.wait)
    if isinstance(spec, _Require):
        condition = lookup.condition(spec.require, what)
        names = _outputs(spec.devices, lookup)
        return Require(spec.name, message, condition, names) if condition else None
    condition = lookup.condition(spec.when, what)
    force = lookup.values(spec.force)
    if condition is None:
        return None
    return When(spec.name, message, condition, force, spec.latch, spec.for_time)


def _outputs(entries: list[Section], lookup: Lookup) -> tuple[str, ...]:
    names = []
    for entry in entries:
        if not isinstance(entry.content, str):
            lookup.problems.add(entry, unlike(Message("driver.device-name"), entry.value))
        elif lookup.output(entry.content, entry) is not None:
            names.append(entry.content)
    return tuple(names)
