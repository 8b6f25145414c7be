"""Runs tests under coverage, and writes which of them runs which line.

    python -m tests.mutants.measure RESULT.json TEST...

A process of its own, because nothing of labnode may be imported before.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

from tests.mutants.run import FILES, ROOT


class Contexts:
    """A pytest plugin: what runs belongs to the test that runs."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._measured.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if not report.passed:
            self.failed.add(report.nodeid)


def main() -> int:
    result, *tests = sys.argv[1:]
    measured = coverage.Coverage(
        data_file=None, branch=True, include=[str(ROOT / file) for file in FILES]
    )
    contexts = Contexts(measured)
    measured.start()
    pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[contexts])
    measured.stop()
    data = measured.get_data()
    by_line: dict[str, dict[int, list[str]]] = {}
    branches: dict[str, str] = {}
    for file in FILES:
        path = str(ROOT / file)
        lines = data.contexts_by_lineno(path)
        by_line[file] = {
            n: sorted(test for test in found if test and test not in contexts.failed)
            for n, found in lines.items()
        }
        branches[file] = _in_words(measured, path)
    found = {"seconds": contexts.seconds, "tests": by_line, "branches": branches}
    Path(result).write_text(json.dumps(found), encoding="utf-8")
    # A few tests count what coverage itself allocates, or need hardware: they judge no mutant.
    return 0 if len(contexts.failed) <= 0.02 * len(contexts.seconds) else 1


def _in_words(measured: coverage.Coverage, path: str) -> str:
    """Such as "98 % of 120 branches and lines; not covered: 41, 77 -> 79"."""
    analysis = measured._analyze(path)
    numbers = analysis.numbers
    missing = [str(line) for line in sorted(analysis.missing)]
    for line, targets in sorted(analysis.missing_branch_arcs().items()):
        if line not in analysis.missing:
            missing += [f"{line} -> {'end' if to < 0 else to}" for to in targets]
    rest = f"; not covered: {', '.join(missing)}" if missing else ""
    return f"{numbers.pc_covered:.1f} % of lines and branches{rest}"


if __name__ == "__main__":
    sys.exit(main())
