"""Figures that tests measure: a table at the end; a long run writes it into the documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability-figures.md"
PROPERTY = "figure"
BEGIN = "<!-- figures: written by ./install.sh test --long -->"
END = "<!-- end of figures -->"
HEAD = ("| what | promised | measured |", "| --- | --- | --- |")


@dataclass(frozen=True)
class Figure:
    """What was measured, in words that a lab owner understands."""

    what: str
    promised: str
    measured: str

    def __post_init__(self) -> None:
        for text in (self.what, self.promised, self.measured):
            if not text or "|" in text or "\n" in text:
                raise ValueError(f"a cell of a table is one line without '|', not {text!r}")

    def row(self) -> str:
        return f"| {self.what} | {self.promised} | {self.measured} |"


FigureReporter = Callable[[str, str, str], None]


def reporter(node: pytest.Item) -> FigureReporter:
    """Report a figure: what, what is promised, what was measured (with how many of what)."""

    def report(what: str, promised: str, measured: str) -> None:
        figure = Figure(what, promised, measured)
        node.user_properties.append((PROPERTY, (figure.what, figure.promised, figure.measured)))

    return report


def reported(reports: Iterable[pytest.TestReport]) -> list[Figure]:
    """The figures of these reports, wherever their tests ran, sorted by what they are."""
    figures = {
        value[0]: Figure(*value)
        for report in reports
        for name, value in report.user_properties
        if name == PROPERTY
    }
    return [figures[what] for what in sorted(figures)]


def written_into(text: str, figures: Iterable[Figure]) -> str:
    """The document with these figures; rows of figures that were not measured stay."""
    before, found, rest = text.partition(BEGIN)
    old, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{DOCUMENT.name} has no lines {BEGIN!r} and {END!r}")
    rows = {row.split("|")[1].strip(): row for row in old.split("\n") if row.startswith("|")}
    for line in HEAD:
        rows.pop(line.split("|")[1].strip(), None)
    rows.update({figure.what: figure.row() for figure in figures})
    table = "\n".join([*HEAD, *(rows[what] for what in sorted(rows))])
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"
