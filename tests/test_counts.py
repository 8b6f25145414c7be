"""Counts that do not depend on how fast the machine is; see docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import counts


def test_what_a_node_does_costs_no_more_than_what_is_kept(tmp_path: Path) -> None:
    assert not list(counts.regressions(counts.kept(), counts.count(tmp_path)))


def test_a_count_that_has_grown_is_told_with_how_to_keep_it() -> None:
    before = {"a click": {"commits": 1.0, "function calls": 100.0}}
    now = {"a click": {"commits": 2.0, "function calls": 119.0}}
    assert list(counts.regressions(before, now)) == [
        "a click: 2 commits, where tests/benchmarks/counts.json has 1 and allows 1. "
        "If it is worth that: python -m tests.benchmarks counts --renew"
    ]
