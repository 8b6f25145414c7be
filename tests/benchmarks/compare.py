"""labnode beside weblablib: the same lab on both, in turns, in one run."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks import proc
from tests.benchmarks.scenarios import FIGURES, SCENARIOS, Figure, Figures
from tests.benchmarks.stacks import Incumbent, Labnode, Stack, environment_of_weblablib

STACKS: tuple[type[Stack], ...] = (Incumbent, Labnode)


@dataclass
class Comparison:
    """What came out: for each stack a list of values for each figure, one a round."""

    machine: str
    labnode: str
    quick: bool
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    noise: list[float] = field(default_factory=list)  # percent of all processors, for each turn

    def add(self, stack: str, figures: Figures) -> None:
        for name, value in figures.items():
            self.figures.setdefault(stack, {}).setdefault(name, []).append(value)

    def value(self, stack: str, name: str) -> float | None:
        values = self.figures.get(stack, {}).get(name)
        return statistics.median(values) if values else None

    def rows(self) -> list[Row]:
        """Every figure that was measured."""
        rows = []
        for name, figure in FIGURES.items():
            ours = self.value(Labnode.name, name)
            if ours is not None:
                rows.append(Row(figure, ours, self.value(Incumbent.name, name)))
        return rows

    @property
    def noise_text(self) -> str:
        if not self.noise:
            return "not measured"
        middle, most = statistics.median(self.noise), max(self.noise)
        return f"{middle:.1f} % of all processors in the median of the turns, at most {most:.1f} %"


@dataclass(frozen=True)
class Row:
    figure: Figure
    ours: float
    theirs: float | None

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """What, weblablib, labnode, their ratio, the goal."""
        theirs = "" if self.theirs is None else shown(self.theirs, self.figure.unit)
        ratio = f"{self.ours / self.theirs:.3g}" if self.theirs else ""
        ours = shown(self.ours, self.figure.unit)
        return (self.figure.title, theirs, ours, ratio, self.figure.goal)

    @property
    def verdict(self) -> str:
        reached = self.figure.reached(self.ours, self.theirs)
        return "" if reached is None else ("yes" if reached else "no")


def shown(value: float, unit: str) -> str:
    if value and abs(value) < 10:
        return f"{value:.3g} {unit}".rstrip()
    return f"{value:,.0f} {unit}".rstrip()


def compare(
    names: Iterable[str],
    *,
    rounds: int,
    quick: bool,
    directory: Path | None,
    alone: bool,
    on_progress: Callable[[Comparison], None],
) -> Comparison:
    """Measure the scenarios with these names; `alone` without weblablib.

    Each turn is printed, and `on_progress` gets what there is after each scenario.
    """
    stacks = [Labnode] if alone else list(STACKS)
    if not alone:
        environment_of_weblablib()
    result = Comparison(proc.machine(), version("labnode"), quick)
    for name in names:
        for number in range(1, rounds + 1):
            for kind in stacks:
                with tempfile.TemporaryDirectory(dir=directory) as home:
                    figures, noise = turn(kind(Path(home)), name, quick)
                result.add(kind.name, figures)
                result.noise.append(noise)
                found = ", ".join(
                    f"{each}: {shown(value, FIGURES[each].unit)}" for each, value in figures.items()
                )
                print(f"{name} {number}/{rounds} {kind.name}: {found}", flush=True)
        on_progress(result)
    return result


def turn(stack: Stack, name: str, quick: bool) -> tuple[Figures, float]:
    """One scenario on one stack, and percent of the machine that others used meanwhile."""
    noise = proc.Noise()
    try:
        if name != "cold":
            stack.start()
        figures = SCENARIOS[name](stack, quick)
    finally:
        stack.end()
    return figures, noise.share()


def report(result: Comparison, tell: Callable[[str], None] = print) -> None:
    """The table, as it is pasted into a document."""
    tell(f"\n{result.machine}. labnode {result.labnode}.")
    tell(f"Other processes used {result.noise_text}.\n")
    tell("| What | weblablib | labnode | Ratio | Goal | Reached |")
    tell("| --- | ---: | ---: | ---: | --- | --- |")
    for row in result.rows():
        tell(f"| {' | '.join(row.cells)} | {row.verdict} |")


def write_json(result: Comparison, path: Path) -> None:
    path.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Comparison:
    return Comparison(**json.loads(path.read_text()))
