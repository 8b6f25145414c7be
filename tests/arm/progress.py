"""A plugin of pytest for a run that is stopped after a time and goes on with the tests left.

Loaded with `-p tests.arm.progress`. Results go to the file LABNODE_TEST_PROGRESS, and a test whose
result stands there is not run again. After LABNODE_TEST_SECONDS the run stops.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.arm.results import results_in

FILE = Path(os.environ.get("LABNODE_TEST_PROGRESS", "progress.jsonl"))
SECONDS = float(os.environ.get("LABNODE_TEST_SECONDS", "3600"))
LONGEST = 400  # characters of a reason


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Progress(), "labnode-progress")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    done = results_in(FILE)
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
    items[:] = [item for item in items if item.nodeid not in done]


class _Progress:
    """In the process that the workers of xdist report to."""

    def __init__(self) -> None:
        self._until = time.monotonic() + SECONDS
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._session: pytest.Session | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(nodeid, "begun")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reports = self._reports.setdefault(report.nodeid, [])
        reports.append(report)
        if report.when in ("setup", "call"):
            return
        del self._reports[report.nodeid]
        by_outcome = {each.outcome: each for each in reports}
        worst = by_outcome.get("failed") or by_outcome.get("skipped") or report
        seconds = round(sum(each.duration for each in reports), 2)
        self._write(report.nodeid, worst.outcome, why=_why(worst), seconds=seconds)
        if time.monotonic() > self._until and self._session is not None:
            self._session.shouldstop = "the time of this part is over"

    def _write(self, test: str, outcome: str, **more: str | float) -> None:
        with FILE.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"test": test, "outcome": outcome, **more}) + "\n")


def _why(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else report.longreprtext)[:LONGEST]
