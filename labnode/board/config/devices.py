"""The devices of a board file: one driver each, what it claims, what it is linked to."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from labnode.board.simulation import Link
from labnode.drivers.buses.bus_pins import RESERVED
from labnode.drivers.framework.driver import (
    Claim,
    Derived,
    Driver,
    Lendable,
    PinProvider,
    PinUse,
    Ref,
    Simulatable,
)
from labnode.drivers.framework.expressions import WORDS, Expression, ExpressionError, Words
from labnode.drivers.framework.output import Output
from labnode.drivers.framework.readings import ValueType
from labnode.errors import BadInput
from labnode.locale import Joined, Message
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
    unlike,
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

    @property
    def types(self) -> Mapping[str, ValueType]:
        """What is known of the values of devices; as far as they are known."""
        return {n: d.value_type for n, d in self.devices.items() if d is not None}

    def condition(
        self, section: Section, what: str, *, named: Mapping[str, type | None] | None = None
    ) -> Expression | None:
        """The expression that a scalar is, which is true or false."""
        found = self.expression(section, what, named=named)
        if found is not None and found.kind is str:
            text = f"the expression {found.text!r} for {what} is a text, neither true nor false"
            self.problems.add(section, text)
        return found

    def expression(
        self,
        section: Section,
        what: str,
        *,
        named: Mapping[str, type | None] | None = None,
        history: bool = False,
    ) -> Expression | None:
        """The expression that a scalar is, with `named` values; `history`: it may look back."""
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
            return Expression.parse(
                text, self.devices, types=self.types, named=named, history=history
            )
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
        _check_remote_pins(name, devices[name], options, lookup, claims)
    _check_expressions(devices, section, lookup)
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
        elif (built := _link(name, driver, link, lookup)) is not None:
            links[name] = built
    derived = sources_of(lookup.devices)
    try:
        return following(links, derived), scripts
    except ValueError as error:
        if links:  # or formulas alone do, which is told with their line
            lookup.problems.add(section, f"the links go in a circle: {error}")
        return {}, {}


def _link(name: str, driver: Driver, section: Section, lookup: Lookup) -> Link | None:
    if section.bad:
        return None
    spec: LinkKeys | None = LinkKeys(value=section)
    if isinstance(section.content, dict):
        spec = build(LinkKeys, section, lookup.problems, name=f"the simulated '{name}'")
    value = None if spec is None else lookup.expression(spec.value, f"'{name}'")
    if spec is None or value is None:
        return None
    kind = driver.value_type.kind
    if str in (value.kind, kind) and {value.kind, kind} - {str, None}:
        what = "a text" if kind is str else "no text"
        lookup.problems.add(spec.value, f"'{name}' shows {what}, other than {value.text!r}")
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
    what = Message("board.device", name=repr(name))
    if options.bad:
        return None
    if not isinstance(options.content, dict):
        expected = Message("board.options", example="{driver: led, pin: GPIO17}")
        problems.add(options, Joined(what, ": ", unlike(expected, options.value)))
        return None
    kind = options.child("driver")
    if "driver" not in options:
        inside = Message("yaml.inside", whole=what)
        problems.add(options, Message("yaml.missing-key", name="'driver'", inside=inside))
    elif not isinstance(kind.content, str) or kind.content not in drivers:
        wanted = str(kind.content)
        hint = did_you_mean(wanted, _of_same_chip(wanted, drivers))
        if not hint:
            hint = Message("board.drivers", names=", ".join(sorted(drivers)))
            chip = Message("board.iio") if re.search(r"\d", wanted) else ""
            hint = Joined(hint, chip)
        problems.add(kind, Message("board.no-driver", name=repr(wanted), what=what, hint=hint))
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


def _check_remote_pins(
    name: str, driver: Driver | None, options: Section, lookup: Lookup, claims: Claims
) -> None:
    """Check the pins that a device uses of others, and tell those of it."""
    for pin in driver.remote_pins() if driver is not None else ():
        other = lookup.device(pin.device, options)
        if other is None:
            continue
        if not isinstance(other, PinProvider):
            lookup.problems.add(options, f"'{pin.device}' has no pins: it is a {other.kind}")
            continue
        try:
            claims.take(name, options, [other.pin_claim(pin.pin)])
        except ValueError as error:
            lookup.problems.add(options, f"'{name}': {error}")
            continue
        is_output = isinstance(driver, Output)
        why = None if is_output else other.refusal(getattr(driver, "pull_up", None))
        if why is not None:
            lookup.problems.add(options, f"'{name}': {why}")
        active_high = is_output and getattr(driver, "active_high", True)
        other.pin_uses[pin.pin] = PinUse(name, active_high)


def _check_expressions(
    devices: Mapping[str, Driver | None], section: Section, lookup: Lookup
) -> None:
    """Check those that are options of devices, each after those that it follows from."""
    try:
        ordered = in_order({**dict.fromkeys(devices, ()), **sources_of(devices)})
    except ValueError as error:
        name = str(error).partition(" ")[0]
        where = section.child(name).key_where
        lookup.problems.add(where, f"'{name}' follows from itself: {error}")
        return
    for name in ordered:
        driver = devices[name]
        for field in fields(driver) if driver is not None else ():
            if isinstance(getattr(driver, field.name), Expression):
                place = section.child(name).child(field.metadata.get("key", field.name))
                checked = lookup.expression(place, f"'{name}'", history=True)
                setattr(driver, field.name, checked or getattr(driver, field.name))
    for name, driver in devices.items():
        for key, why in driver.misfits(devices) if driver is not None else ():
            lookup.problems.add(section.child(name).child(key), f"'{name}': {why}")


def sources_of(devices: Mapping[str, Driver | None]) -> dict[str, Collection[str]]:
    """What each device that follows from others does so from."""
    found = {name: driver for name, driver in devices.items() if driver is not None}
    return {name: one.sources for name, one in found.items() if isinstance(one, Derived)}


def in_order(sources: Mapping[str, Collection[str]]) -> list[str]:
    """The names, each after those of its sources that are names, too; ValueError with a circle."""
    ordered: list[str] = []

    def add(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            raise ValueError(" -> ".join((*way[way.index(name) :], name)))
        if name in sources and name not in ordered:
            for source in sorted(sources[name]):
                add(source, (*way, name))
            ordered.append(name)

    for name in sources:
        add(name, ())
    return ordered


def derived_in_order(devices: Mapping[str, Driver]) -> dict[str, Derived]:
    """The devices that follow from others, each after those that it follows from."""
    found = {name: driver for name, driver in devices.items() if isinstance(driver, Derived)}
    return {name: found[name] for name in in_order({n: d.sources for n, d in found.items()})}


def following(links: Mapping[str, Link], derived: Mapping[str, Collection[str]]) -> dict[str, Link]:
    """The links, each after those whose inputs it reads; ValueError when they form a circle.

    A link with a lag follows values that were there before, so it may be part of a circle.
    `derived` are the sources of devices that follow others in between.
    """
    sources = {name: () if link.lag else link.value.names for name, link in links.items()}
    return {name: links[name] for name in in_order({**derived, **sources}) if name in links}


class Claims:
    """What devices claim, collected device by device; a conflict names both places."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._owners: dict[Claim, tuple[str, Section, Claim]] = {}

    def add(self, name: str, place: Section, driver: Driver) -> None:
        """Take what a device claims."""
        self.take(name, place, driver.claims())

    def take(self, name: str, place: Section, claims: Iterable[Claim]) -> None:
        """Take some more for a device."""
        reasons = {""}  # each once: a bus has several pins, all of which may be used by one device
        for claim in claims:
            reason = self._conflict(name, place, claim)
            if reason not in reasons:
                self._problems.add(place.key_where, f"'{name}' uses {claim}{reason}")
                reasons.add(reason)
            self._owners.setdefault(claim, (name, place, claim))

    def _conflict(self, name: str, place: Section, claim: Claim) -> str:
        """Why the device cannot have the claim, "" when it can."""
        for reserved in RESERVED:
            if claim == reserved and claim.bus != reserved.bus:
                return (
                    ", which belongs to the memory of add-on boards (HATs): "
                    "the Pi drives it while it boots"
                )
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
