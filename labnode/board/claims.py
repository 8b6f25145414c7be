"""What the devices of a board take for themselves: nothing may be taken by two."""

from __future__ import annotations

from labnode.drivers.base import Claim, Driver
from labnode.drivers.buses import RESERVED
from labnode.schema import Problems, Section


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
