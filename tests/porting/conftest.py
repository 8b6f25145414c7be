"""The bench with a lab that has just been started, and makers of others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from labnode.lab import Lab

from .bench import Bench


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with ExitStack() as started:

        def make(session: str = "", **settings: Any) -> Bench:
            return started.enter_context(Bench(tmp_path, session, **settings))

        yield make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def lab(bench: Bench) -> Lab:
    return bench.lab
