"""A year of sessions leaves memory, threads, files and database as they were."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.kit.figures import FigureReporter
from tests.kit.strace import recording
from tests.reliability.year import PARTS, WARM_UP, Use

ROOT = Path(__file__).parents[2]
LONG, SHORT = 365_000, 500


@dataclass(frozen=True)
class Part:
    """What was used until the end of a part, and per session in it."""

    use: Use
    statements: float
    fsyncs: float | None


@pytest.fixture(scope="module")
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Part]:
    """The parts of a year whose caches were full at the beginning."""
    sessions = LONG if request.config.getoption("long") else SHORT
    directory = tmp_path_factory.mktemp("year")
    traced = shutil.which("strace") is not None
    syncs = directory / "syncs"
    command = [sys.executable, "-m", "tests.reliability.year", str(directory), str(sessions)]
    if traced:
        command = [*recording(["fsync", "fdatasync"], syncs), *command]
    uses = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            uses.append((Use(**json.loads(line)), _calls(syncs) if traced else None))
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    assert uses[-1][0].sessions == sessions
    found = []
    for (before, synced), (after, synced_after) in pairwise(uses):
        number = after.sessions - before.sessions
        if before.sessions >= WARM_UP:
            fsyncs = None if synced is None else ((synced_after or 0) - synced) / number
            statements = (after.statements - before.statements) / number
            found.append(Part(after, statements, fsyncs))
    assert len(found) >= PARTS // 5
    return found


def _calls(record: Path) -> int:
    with record.open("rb") as lines:
        return sum(b"sync(" in line for line in lines)


def test_every_session_of_the_year_was_cleaned_up_after(parts: list[Part]) -> None:
    assert parts[-1].use.cleaned == parts[-1].use.sessions


def test_memory_does_not_grow_in_a_year(parts: list[Part], figure: FigureReporter) -> None:
    first, last = parts[0].use, parts[-1].use
    drift = last.memory - first.memory
    figure(
        "memory in a year",
        "at most 5 MB more at its end",
        f"{drift / 1e6:+.1f} MB from session {first.sessions:,} to {last.sessions:,}",
    )
    assert drift <= 5e6


def test_threads_and_files_are_as_many_after_a_year(
    parts: list[Part], figure: FigureReporter
) -> None:
    threads = {part.use.threads for part in parts}
    files = {part.use.files for part in parts}
    figure(
        "threads and open files in a year",
        "as many at its end",
        f"{min(threads)} to {max(threads)} threads, {min(files)} to {max(files)} files, "
        f"looked at {len(parts)} times in {parts[-1].use.sessions:,} sessions",
    )
    assert max(threads) - min(threads) <= 1  # `pruning` has come and gone
    assert len(files) == 1


def test_the_database_has_a_bound_in_a_year(parts: list[Part], figure: FigureReporter) -> None:
    largest = max(part.use.database for part in parts)
    figure(
        "database in a year with `history: 7d`",
        "at most 20 MB",
        f"{largest / 1e6:.1f} MB at most in {parts[-1].use.sessions:,} sessions",
    )
    assert largest <= 20e6


def test_a_session_costs_no_more_at_the_end_of_a_year(
    parts: list[Part], figure: FigureReporter
) -> None:
    first, last = parts[0], parts[-1]
    told = f"{first.statements:.1f} and {last.statements:.1f} SQL statements"
    if first.fsyncs is not None and last.fsyncs is not None:
        told += f", {first.fsyncs:.2f} and {last.fsyncs:.2f} fsyncs"
        assert last.fsyncs <= first.fsyncs * 1.1 + 0.2
    figure(
        "statements and fsyncs per session in a year",
        "no more at its end",
        f"{told} per session in the first and the last part of {last.use.sessions:,} sessions",
    )
    assert last.statements <= first.statements * 1.1 + 2
