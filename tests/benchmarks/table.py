"""A table of figures of a real node, printed beside what they should be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import proc
from tests.process.machine import Machine

HERE = Path(__file__).parent


@contextmanager
def table() -> Iterator[Machine]:
    """This machine and the head of a table for `row`, and where what is measured runs."""
    head()
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory))
        try:
            yield machine
        finally:
            machine.end()


def head() -> None:
    print(f"{proc.machine()}\n")
    print("| What | Measured | Target | Measured / target |")
    print("| --- | --- | --- | --- |")


def row(what: str, measured: float, target: float | None, unit: str) -> None:
    wanted, ratio = ("", "") if target is None else (f"{target:g} {unit}", _ratio(measured, target))
    print(f"| {what} | {measured:.3g} {unit} | {wanted} | {ratio} |", flush=True)


def _ratio(measured: float, target: float) -> str:
    if target:
        return f"{measured / target:.2f}"
    return "as it should be" if measured == 0 else "more than it should be"
