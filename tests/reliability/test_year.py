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


def parts_of_a_year(directory: Path, sessions: int) -> list[Part]:
    """The parts of a year, but for those in which caches still filled up."""
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


def test_a_year_of_sessions_leaves_everything_as_it_was(
    tmp_path: Path, long_run: bool, figure: FigureReporter
) -> None:
    parts = parts_of_a_year(tmp_path, LONG if long_run else SHORT)
    first, last = parts[0], parts[-1]
    sessions = f"{last.use.sessions:,} sessions"
    drift = last.use.memory - first.use.memory
    figure(
        "memory in a year",
        "at most 5 MB more at its end",
        f"{drift / 1e6:+.1f} MB from session {first.use.sessions:,} to {last.use.sessions:,}",
    )
    threads = {part.use.threads for part in parts}
    files = {part.use.files for part in parts}
    figure(
        "threads and open files in a year",
        "as many at its end",
        f"{min(threads)} to {max(threads)} threads, {min(files)} to {max(files)} files, "
        f"looked at {len(parts)} times in {sessions}",
    )
    largest = max(part.use.database for part in parts)
    figure(
        "database in a year with `history: 7d`",
        "at most 20 MB",
        f"{largest / 1e6:.1f} MB at most in {sessions}",
    )
    told = f"{first.statements:.1f} and {last.statements:.1f} SQL statements"
    if first.fsyncs is not None and last.fsyncs is not None:
        told += f", {first.fsyncs:.2f} and {last.fsyncs:.2f} fsyncs"
    figure(
        "statements and fsyncs per session in a year",
        "no more at its end",
        f"{told} per session in the first and the last part of {sessions}",
    )
    assert last.use.cleaned == last.use.sessions
    assert drift <= 5e6
    assert max(threads) - min(threads) <= 1  # `pruning` has come and gone
    assert len(files) == 1
    assert largest <= 20e6
    assert last.statements <= first.statements * 1.1 + 2
    if first.fsyncs is not None and last.fsyncs is not None:
        assert last.fsyncs <= first.fsyncs * 1.1 + 0.2
