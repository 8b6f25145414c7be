"""The devices of a board file: one driver each, what it claims, what it is linked to."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from labnode.board.config.expressions import WORDS, Expression, ExpressionError, Words
from labnode.board.simulation import Link, in_order
from labnode.drivers.buses.bus_pins import RESERVED
from labnode.drivers.framework.driver import Claim, Driver, Lendable, Ref, Simulatable
from labnode.drivers.framework.output import Output
from labnode.errors import BadInput
from labnode.schema import (
    Between,
    Doc,
    Duration,
    Like,
    Problems,
    Section,
    build,
    did_you_mean,
    shown,
)

_TWO_STATES = ("switch", "button", "lamp", "bank")  # widgets of what is on or off
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


@dataclass(frozen=True)
class Lookup:
    """Finds the devices that other parts of the file name; a mistake is added to `problems`.

    A device with problems of its own is None, and nothing more is said of it.
    """

    devices: Mapping[str, Driver | None]
    problems: Problems

    def device(self, name: str, where: Section | str) -> Driver | None:
        """The device called `name`, if there is one."""
        if name not in self.devices:
            hint = did_you_mean(name, self.devices)
            self.problems.add(where, f"there is no device {name!r}{hint}")
        return self.devices.get(name)

    def visible(self, name: str, where: Section | str, what: str) -> bool:
        """Whether there is such a device; `what` shows it, so students have to have access."""
        driver = self.device(name, where)
        if driver is not None and driver.access != "user":
            self.problems.add(where, f"'{name}' has access: {driver.access}, so no {what}")
        return name in self.devices

    def output(self, name: str, where: Section | str) -> Output | None:
        """The output called `name`, if there is one."""
        driver = self.device(name, where)
        if driver is not None and not isinstance(driver, Output):
            self.problems.add(where, f"'{name}' is no output: a {driver.kind} cannot be set")
        return driver if isinstance(driver, Output) else None

    def values(self, section: Mapping[str, Section]) -> dict[str, Any]:
        """The values that a mapping gives to outputs, each checked by its driver."""
        found: dict[str, Any] = {}
        for name, value in section.items():
            output = self.output(name, value)
            if output is not None and not value.bad:
                found[name] = self.accepted(name, output, value.value, value)
        return found

    def accepted(self, name: str, output: Output, value: Any, where: Section) -> Any:
        """The value as the output's `drive` gets it."""
        try:
            return output.accept(name, value)
        except BadInput as error:
            self.problems.add(where, str(error))
        return None

    def expression(self, section: Section, what: str) -> Expression | None:
        """The expression that a scalar is."""
        if section.bad:
            return None
        content = section.content
        if not isinstance(content, str | bool | int | float):
            self.problems.add(
                section, f"expected an expression for {what}, not {shown(section.value)}"
            )
            return None
        text = str(content).lower() if isinstance(content, bool) else section.text
        try:
            return Expression.parse(text, self.devices)
        except ExpressionError as error:
            self.problems.add(section, f"the expression {text!r} for {what}, {error}")
        return None


@dataclass(frozen=True, kw_only=True)
class LinkKeys:
    """What an input follows in a simulation, where it is more than an expression."""

    value: Annotated[Section, Like(Words), Doc("The expression that it follows.")]
    lag: Annotated[
        Duration, Doc("How long it takes to come near: after this time two thirds of the way.")
    ] = 0.0
    noise: Annotated[
        float, Between(0), Doc("How far it strays at random: the standard deviation.")
    ] = 0.0
    start: Annotated[float | None, Doc("Where it begins, with a lag.")] = None


def read_devices(
    section: Section, kinds: Mapping[str, type[Driver]], problems: Problems, folder: Path
) -> dict[str, Driver | None]:
    """The drivers by name; None for one that has problems, so that its name is known.

    `folder` is where the board file is.
    """
    devices: dict[str, Driver | None] = {}
    lookup = Lookup(devices, problems)
    claims = Claims(problems)
    for name, options in section.items():
        _check_name(name, options, problems)
        devices[name] = driver = _device(name, options, kinds, problems)
        if driver is not None:
            claims.add(name, options, driver)
            if driver.words is not None and _widget(driver) not in _TWO_STATES:
                where = options.child("words").key_where
                problems.add(where, f"'{name}' has words for on and off, and is neither")
            for mistake in driver.mistakes(folder):
                problems.add(options, f"'{name}': {mistake}")
    for name, options in section.items():
        _check_refs(devices[name], options, lookup)
    return devices


def read_links(section: Section, lookup: Lookup) -> tuple[dict[str, Link], dict[str, Any]]:
    """What `simulate:` says: the links of inputs, and the scripts of drivers that have one."""
    links: dict[str, Link] = {}
    scripts: dict[str, Any] = {}
    for name, link in section.items():
        driver = lookup.device(name, link.key_where)
        if driver is None:
            continue
        if driver.script is not None:
            what = f"the simulated '{name}'"
            scripts[name] = script = build(driver.script, link, lookup.problems, name=what)
            _check_refs(script, link, lookup)
        elif not isinstance(driver, Simulatable):
            lookup.problems.add(
                link.key_where, f"'{name}' cannot be simulated: a {driver.kind} is no input"
            )
        elif (built := _link(name, link, lookup)) is not None:
            links[name] = built
    try:
        return in_order(links), scripts
    except ValueError as error:
        lookup.problems.add(section, str(error))
        return {}, {}


def _link(name: str, section: Section, lookup: Lookup) -> Link | None:
    if section.bad:
        return None
    spec: LinkKeys | None = LinkKeys(value=section)
    if isinstance(section.content, dict):
        spec = build(LinkKeys, section, lookup.problems, name=f"the simulated '{name}'")
    value = None if spec is None else lookup.expression(spec.value, f"'{name}'")
    if spec is None or value is None:
        return None
    return Link(value, spec.lag, spec.noise, spec.start)


def in_opening_order(devices: Mapping[str, Driver]) -> list[str]:
    """The names of devices, each after those that it uses."""
    ordered: dict[str, None] = {}

    def add(name: str, way: tuple[str, ...]) -> None:
        if name not in ordered and name not in way:  # a circle is opened somewhere
            for other in devices[name].uses():
                add(other, (*way, name))
            ordered[name] = None

    for name in devices:
        add(name, ())
    return list(ordered)


def _check_name(name: str, options: Section, problems: Problems) -> None:
    if not NAME.fullmatch(name):
        why = "it is a letter, then letters, digits and '_', 40 at most"
    elif name in (*WORDS, "on", "off") or keyword.iskeyword(name):
        why = "it means something in expressions or Python"
    else:
        return
    problems.add(options.key_where, f"{name!r} cannot be the name of a device: {why}")


def _device(
    name: str, options: Section, drivers: Mapping[str, type[Driver]], problems: Problems
) -> Driver | None:
    what = f"device {name!r}"
    if options.bad:
        return None
    if not isinstance(options.content, dict):
        problems.add(
            options,
            f"{what}: expected its options, such as {{driver: led, pin: GPIO17}}, not "
            f"{shown(options.value)}",
        )
        return None
    kind = options.child("driver")
    if "driver" not in options:
        problems.add(options, f"missing key 'driver' in {what}")
    elif not isinstance(kind.content, str) or kind.content not in drivers:
        alike = _of_same_chip(str(kind.content), drivers)
        hint = did_you_mean(str(kind.content), alike) or (
            f"; the drivers are {', '.join(sorted(drivers))}"
        )
        problems.add(kind, f"there is no driver {str(kind.content)!r} for {what}{hint}")
    else:
        driver = build(drivers[kind.content], options, problems, name=what, ignore={"driver"})
        return driver if _is_valid(driver, name, options, problems) else None
    return None


def _widget(driver: Driver) -> str:
    return str({"widget": driver.widget, **driver.describe()}["widget"])


def _of_same_chip(name: str, drivers: Iterable[str]) -> list[str]:
    """The drivers that a misspelt name may mean: a part with digits is a chip, and no other one."""
    letters = re.sub(r"[\W_]", "", name).lower()
    return [d for d in drivers if _chips(d) == _chips(name) or d.replace("_", "") == letters]


def _chips(name: str) -> set[str]:
    return {part for part in re.split(r"[\W_]+", name.lower()) if re.search(r"\d", part)}


def _is_valid(driver: Driver | None, name: str, options: Section, problems: Problems) -> bool:
    """Whether the values in an output's options are allowed."""
    if not isinstance(driver, Output):
        return driver is not None
    before = len(problems)
    for key in ("safe", "initial"):
        value = getattr(driver, key)
        if key in options and value is not None:
            try:
                setattr(driver, key, driver.accept(name, value))
            except BadInput as error:
                problems.add(options.child(key), f"{key}: {error}")
    return len(problems) == before


def _check_refs(thing: Any, options: Section, lookup: Lookup) -> None:
    """The devices that a driver or its script names have to exist, and be what they are for."""
    for field in fields(thing) if thing is not None else ():
        name = getattr(thing, field.name)
        if not isinstance(name, Ref):
            continue
        place = options.child(field.metadata.get("key", field.name))
        other = lookup.device(name, place)
        if field.name == "port" and other is not None and not isinstance(other, Lendable):
            lookup.problems.add(place, f"'{name}' has no port to lend: it is a {other.kind}")
        if other is not None and (mistake := name.mistake(other)):
            lookup.problems.add(place, mistake)


class Claims:
    """What devices claim, collected device by device; a conflict names both places."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._owners: dict[Claim, tuple[str, Section, Claim]] = {}

    def add(self, name: str, place: Section, driver: Driver) -> None:
        reasons = {""}  # each once: a bus has several pins, all of which may be used by one device
        for claim in driver.claims():
            reason = self._conflict(name, place, claim)
            if reason not in reasons:
                self._problems.add(place.key_where, f"'{name}' uses {claim}{reason}")
                reasons.add(reason)
            self._owners.setdefault(claim, (name, place, claim))

    def _conflict(self, name: str, place: Section, claim: Claim) -> str:
        """Why the device cannot have the claim, "" when it can."""
        for reserved, reason in RESERVED.items():
            if claim == reserved and claim.bus != reserved.bus:
                return f", which {reason}"
        if claim not in self._owners:
            return ""
        owner, other, first = self._owners[claim]
        if first.bus and first.bus == claim.bus:
            return ""
        if owner == name:
            return " twice"
        use = f" for the {first.bus}" if first.bus else ""
        return f", which '{owner}' ({_line(other, place)}) already uses{use}"


def _line(other: Section, place: Section) -> str:
    """ "line 12", or with its file when that is another one."""
    file, _, line = other.key_where.rpartition(":")
    here = place.key_where.rpartition(":")[0] == file
    return f"line {line}" if here else other.key_where
