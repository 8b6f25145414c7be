from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.lab import Lab
from tests.kit.clock import WatchedClock
from tests.kit.node import SmallNode


@pytest.fixture
def lab() -> Lab:
    """A lab without hooks, for the test to give some."""
    return Lab()


@pytest.fixture
def clock() -> WatchedClock:
    return WatchedClock()


@pytest.fixture
def boot(tmp_path: Path, lab: Lab, clock: WatchedClock) -> Iterator[Callable[..., SmallNode]]:
    """Start a node with these rules; the one before, with the same store, has to be stopped.

    With `start` False the test enters it.
    """
    nodes: list[SmallNode] = []

    def boot(**options: Any) -> SmallNode:
        options.setdefault("clock", clock)
        start = options.pop("start", True)
        node = SmallNode(tmp_path, options.pop("lab", lab), **options)
        nodes.append(node)
        return node.__enter__() if start else node

    yield boot
    for node in nodes:
        node.stop()


@pytest.fixture
def node(boot: Callable[..., SmallNode]) -> SmallNode:
    """A node with the rules of the design."""
    return boot()
