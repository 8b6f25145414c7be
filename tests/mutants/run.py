"""Which tests run which line, and what they say of a mutant."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.mutants.mutate import Mutant, mutants

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).parent / "survivors.json"
"""Mutants that no test can notice, or need not, each with the reason."""

FILES = {
    "labnode/board/interlocks.py": "tests/board/test_interlocks.py",
    "labnode/drivers/framework/output.py": "tests/drivers/test_output.py",
    "labnode/sessions/state_machine.py": "tests/sessions/",
    "labnode/store/backup.py": "tests/test_backup.py",
    "labnode/store/file.py": "tests/test_store",
    "labnode/store/known_addresses.py": "tests/security/test_guesses.py",
    "labnode/store/pruning.py": "tests/test_pruning.py",
    "labnode/store/store.py": "tests/test_store",
}
"""The files that get mutants, and how the names of the tests begin that are about each."""
TESTS = (
    "tests/board",
    "tests/boards",
    "tests/control",
    "tests/drivers",
    "tests/lab",
    "tests/sessions",
    "tests/tasks",
    "tests/test_backup.py",
    "tests/test_board_change.py",
    "tests/test_estop.py",
    "tests/test_lifecycle.py",
    "tests/test_operating.py",
    "tests/test_pruning.py",
    "tests/test_recordings.py",
    "tests/test_routines.py",
    "tests/test_runtime.py",
    "tests/test_safe.py",
    "tests/test_store.py",
    "tests/test_store_file.py",
    "tests/test_telemetry.py",
    "tests/test_testing.py",
    "tests/security/test_guesses.py",
)
_COPIED = (
    "labnode",
    "tests",
    "boards",
    "deploy",
    "docs",
    "mkdocs.yml",
    "pyproject.toml",
    "README.md",
)
_STARTUP = 30.0  # seconds for the start of pytest, on a busy machine
_SLOWER = 6  # times as long as the tests took: then the mutant hangs
_MOST_SECONDS = 120.0  # of tests that one mutant gets, the part's own first, then the quickest

Verdict = Literal["killed", "hangs", "survived"]


@dataclass
class Coverage:
    """What the tests of `TESTS` run, as `measure` writes it."""

    seconds: dict[str, float] = field(default_factory=dict)
    """How long each test took, by its node id."""
    tests: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """The tests that run a line, by file and line."""
    branches: dict[str, str] = field(default_factory=dict)
    """The branch coverage of each file and what is not covered, in words."""

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that may notice it, those that are about its file and are quick first.

        What runs when the module is imported is noticed by whoever uses the module.
        """
        lines = self.tests[mutant.file]
        ids = set(lines.get(mutant.line, ()))
        if not ids or not mutant.where:
            ids = {test for tests in lines.values() for test in tests}

        def turn(test: str) -> tuple[bool, float, str]:
            return not test.startswith(FILES[mutant.file]), self.seconds.get(test, 0.0), test

        chosen, total = [], 0.0
        for test in sorted(ids, key=turn):
            total += self.seconds.get(test, 0.0)
            if chosen and total > _MOST_SECONDS:
                break
            chosen.append(test)
        return chosen


def drawn(count: int, seed: int, files: Iterable[str] = FILES) -> list[Mutant]:
    """`count` mutants of these files, the same for the same seed and code."""
    every = [m for file in files for m in mutants(file, (ROOT / file).read_text(encoding="utf-8"))]
    return random.Random(seed).sample(every, min(count, len(every)))


def reasons() -> dict[str, str]:
    """Why a mutant may survive, by its name."""
    known: dict[str, str] = json.loads(SURVIVORS.read_text(encoding="utf-8"))
    return known


class Workshop:
    """A copy of the project in which mutants are tried, one at a time."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "labnode"
        self._root.mkdir()
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source, self._root / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(source, self._root / name)
        self._coverage = directory / "coverage.json"

    def measure(self, tests: Sequence[str] = TESTS) -> Coverage:
        """Run the tests once with branch coverage, and note which test runs which line."""
        command = [sys.executable, "-m", "tests.mutants.measure", str(self._coverage), *tests]
        subprocess.run(command, cwd=self._root, env=self._environment(), check=True)
        return read_coverage(self._coverage)

    def verdicts(self, chosen: Sequence[Mutant], coverage: Coverage) -> Iterator[Verdict | None]:
        """The verdict on each, by forks; None where that takes a process of its own."""
        jobs = self._root.parent / "jobs.json"
        asked = [{"file": m.file, "source": m.source, "tests": coverage.of(m)} for m in chosen]
        jobs.write_text(json.dumps({"mutants": asked, "seconds": coverage.seconds}))
        read, write = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.forked", jobs, str(write)],
            cwd=self._root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[write],
            start_new_session=True,
        )
        os.close(write)
        try:
            with os.fdopen(read, encoding="utf-8") as results:
                for line in results:
                    word = line.strip()
                    yield None if word == "elsewhere" else word
        finally:
            _end_group(process)

    def verdict(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> Verdict:
        """What `tests`, which take `seconds` without the mutant, say of it."""
        path = self._root / mutant.file
        original = path.read_text(encoding="utf-8")
        path.write_text(mutant.source, encoding="utf-8")
        self._forget_compiled(path)  # it may have the same size, and the time to the second
        try:
            return self._run(tests, _STARTUP + _SLOWER * seconds)
        finally:
            path.write_text(original, encoding="utf-8")
            self._forget_compiled(path)

    def _run(self, tests: Sequence[str], limit: float) -> Verdict:
        arguments = self._root.parent / "tests.txt"  # more than fit into a command
        arguments.write_text("\n".join(tests), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        process = subprocess.Popen(
            [*command, f"@{arguments}"],
            cwd=self._root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return "survived" if process.wait(limit) == 0 else "killed"
        except subprocess.TimeoutExpired:
            return "hangs"
        finally:
            _end_group(process)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self._root)}

    @staticmethod
    def _forget_compiled(path: Path) -> None:
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def judge(
    workshop: Workshop, coverage: Coverage, chosen: Sequence[Mutant]
) -> Iterator[tuple[Mutant, Verdict]]:
    """What the tests say of each mutant."""
    for mutant, verdict in zip(chosen, workshop.verdicts(chosen, coverage), strict=True):
        if verdict is None:
            tests = coverage.of(mutant)
            seconds = sum(coverage.seconds.get(test, 0.0) for test in tests)
            yield mutant, workshop.verdict(mutant, tests, seconds)
        else:
            yield mutant, verdict


def read_coverage(path: Path) -> Coverage:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    by_line: dict[str, dict[int, list[str]]] = defaultdict(dict)
    for file, lines in found["tests"].items():
        by_line[file] = {int(line): tests for line, tests in lines.items()}
    return Coverage(found["seconds"], dict(by_line), found["branches"])


def _end_group(process: subprocess.Popen[bytes]) -> None:
    import signal
    from contextlib import suppress

    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
