"""Thousands of orders in which things may happen: one owner of the board, one clean-up each.

Every round is a random walk over what central servers, students, hooks and time can do, on a clock
that stands still between two steps, so that a seed always tells the same story. What also changes
boards and presses the emergency stop is in tests/reliability/test_interleavings.py.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import labnode.store.file
from tests.kit.node import SmallNode
from tests.kit.walk import Hooks, Walk

SHORT, LONG = 120, 5000  # walks in each part


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody pulls the plug here."""
    pragmas = labnode.store.file._PRAGMAS.replace("synchronous = FULL", "synchronous = OFF")
    monkeypatch.setattr(labnode.store.file, "_PRAGMAS", pragmas)
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def walks(long_run: bool) -> int:
    return LONG if long_run else SHORT


def walk(directory: Path, users: int, seeds: range, *, reaper: bool = False, **rules: Any) -> None:
    hooks = Hooks()
    hooks.users = users
    options = {"connect_timeout": 40, "start_wait": 30, "dispose_wait": 5, "max_time": 500}
    options |= {"users": users, "seats": 100, "keep_expired": 200, **rules}
    with SmallNode(directory, hooks.lab, reaper=reaper, **options) as node:
        for seed in seeds:
            try:
                Walk(node, hooks, seed, reaped=reaper)()
            except BaseException:
                print(f"seed {seed}")
                raise


@pytest.mark.parametrize("part", range(3))
def test_one_student_at_a_time(tmp_path: Path, part: int, walks: int) -> None:
    walk(tmp_path, 1, range(part * walks, (part + 1) * walks))


@pytest.mark.parametrize("part", range(2))
def test_two_students_at_a_time(tmp_path: Path, part: int, walks: int) -> None:
    walk(tmp_path, 2, range(part * walks, (part + 1) * walks))


@pytest.mark.parametrize("users", [1, 2])
def test_the_real_reaper_misses_nothing_that_is_due(tmp_path: Path, users: int, walks: int) -> None:
    walk(tmp_path, users, range(walks), reaper=True)
