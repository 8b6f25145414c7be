"""The devices of a board file: one driver each, what it claims, what it is linked to."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from labnode.board.config.expressions import WORDS
from labnode.board.config.interlock_rules import Words, expression
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


class Claims:
    """Claims with their owners, collected device by device; a conflict names both places."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._owners: dict[Claim, tuple[str, Section, Claim]] = {}

    def add(self, name: str, place: Section, driver: Driver) -> None:
        told: set[str] = set()  # a bus has several pins; who wires over one may wire over all
        for claim in driver.claims():
            reason = self._conflict(name, place, claim)
            if reason and reason not in told:
                self._problems.add(place.key_where, f"'{name}' uses {claim}{reason}")
                told.add(reason)
            self._owners.setdefault(claim, (name, place, claim))

    def _conflict(self, name: str, place: Section, claim: Claim) -> str:
        """Why the claim cannot be had, "" where it can."""
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
    """ "line 12", or with its file where that is another one."""
    file, _, line = other.key_where.rpartition(":")
    here = place.key_where.rpartition(":")[0] == file
    return f"line {line}" if here else other.key_where


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

Devices = Mapping[str, Driver | None]  # None: it has problems, but its name is known


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
    claims = Claims(problems)
    for name, options in section.items():
        _check_name(name, options, problems)
        devices[name] = driver = _device(name, options, kinds, problems)
        if driver is not None:
            claims.add(name, options, driver)
            for mistake in driver.mistakes(folder):
                problems.add(options, f"'{name}': {mistake}")
    for name, options in section.items():
        _check_refs(devices[name], options, devices, problems)
    return devices


def read_links(
    section: Section, devices: Devices, problems: Problems
) -> tuple[dict[str, Link], dict[str, Any]]:
    """What `simulate:` says: the links of inputs, and the scripts of drivers that have one."""
    links: dict[str, Link] = {}
    scripts: dict[str, Any] = {}
    for name, link in section.items():
        if not is_known(name, link.key_where, devices, problems) or devices[name] is None:
            continue
        driver = devices[name]
        if driver is not None and driver.script is not None:
            scripts[name] = build(driver.script, link, problems, name=f"the simulated '{name}'")
        elif not isinstance(driver, Simulatable):
            problems.add(
                link.key_where,
                f"'{name}' cannot be simulated: a {driver and driver.kind} is no input",
            )
        elif (built := _link(name, link, devices, problems)) is not None:
            links[name] = built
    try:
        return in_order(links), scripts
    except ValueError as error:
        problems.add(section, str(error))
        return {}, {}


def is_known(name: str, where: str, devices: Devices, problems: Problems) -> bool:
    """Whether there is such a device; if not, that is a problem."""
    if name not in devices:
        problems.add(where, f"there is no device {name!r}{did_you_mean(name, devices)}")
    return name in devices


def _link(name: str, section: Section, devices: Devices, problems: Problems) -> Link | None:
    if section.bad:
        return None
    spec = LinkKeys(value=section)
    if isinstance(section.content, dict):
        built = build(LinkKeys, section, problems, name=f"the simulated '{name}'")
        if built is None:
            return None
        spec = built
    value = expression(spec.value, devices, problems, f"'{name}'")
    return None if value is None else Link(value, spec.lag, spec.noise, spec.start)


def _check_name(name: str, options: Section, problems: Problems) -> None:
    if not _NAME.fullmatch(name):
        problems.add(
            options.key_where,
            f"{name!r} cannot be the name of a device: it is a letter, then letters, digits and "
            "'_', 40 at most",
        )
    elif name in WORDS or keyword.iskeyword(name):
        problems.add(
            options.key_where,
            f"{name!r} cannot be the name of a device: it means something in expressions or Python",
        )


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
        hint = did_you_mean(str(kind.content), drivers) or (
            f"; the drivers are {', '.join(sorted(drivers))}"
        )
        problems.add(kind, f"there is no driver {str(kind.content)!r} for {what}{hint}")
    else:
        driver = build(drivers[kind.content], options, problems, name=what, ignore={"driver"})
        return driver if _is_valid(driver, name, options, problems) else None
    return None


def _is_valid(driver: Driver | None, name: str, options: Section, problems: Problems) -> bool:
    """Whether an output's own values are such as it may have."""
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


def _check_refs(
    driver: Driver | None, options: Section, devices: Devices, problems: Problems
) -> None:
    for field in fields(driver) if driver is not None else ():
        name = getattr(driver, field.name)
        if not isinstance(name, Ref):
            continue
        place = options.child(field.metadata.get("key", field.name))
        if is_known(name, place.where, devices, problems):
            other = devices[name]
            if field.name == "port" and other is not None and not isinstance(other, Lendable):
                problems.add(place, f"'{name}' has no port to lend: it is a {other.kind}")
