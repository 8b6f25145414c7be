"""A board without hardware: outputs linked to inputs, as if there were wires between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from labnode.board.expressions import Expression, Readings


def in_order(links: Mapping[str, Expression]) -> dict[str, Expression]:
    """The links, each after those whose inputs it looks at; ValueError when they go in a circle."""
    ordered: dict[str, Expression] = {}

    def add(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " -> ".join((*way[way.index(name) :], name))
            raise ValueError(f"the links go in a circle: {circle}")
        if name in links and name not in ordered:
            for source in sorted(links[name].names):
                add(source, (*way, name))
            ordered[name] = links[name]

    for name in links:
        add(name, ())
    return ordered


class Simulation:
    """Drives the mock hardware of inputs: by their links, or by hand. Hardware thread only."""

    def __init__(
        self,
        links: Mapping[str, Expression],
        drive: Callable[[str, Any], None],
        snapshot: Callable[[], Mapping[str, Mapping[str, Any]]],
    ) -> None:
        self._links = in_order(links)
        self._drive = drive
        self._snapshot = snapshot
        self._driven: dict[str, Any] = {}

    def drive(self, name: str, value: Any) -> None:
        """Make the input `name` show `value` until its link has something new to say."""
        self._drive(name, value)
        self.settle()

    def settle(self) -> None:
        """Bring to every linked input what its expression says now.

        An input keeps what it shows while its expression is missing a value, or says the same as
        before: what was driven by hand in between stays.
        """
        for name, link in self._links.items():
            value = link.evaluate(Readings(self._snapshot()))
            if value is not None and self._driven.get(name) != value:
                self._driven[name] = value
                self._drive(name, value)

    def restart(self) -> None:
        """Forget what was driven: the hardware has been opened anew."""
        self._driven.clear()
        self.settle()
