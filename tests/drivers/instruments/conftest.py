"""A board with a scripted instrument that is really connected, and the test as hardware thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.boards import OpenBoards
from tests.kit.scpi import Supply, TcpPlug, plugged


@pytest.fixture
def lab(tmp_path: Path, tcp: Any) -> Iterator[OpenBoards]:  # closed while its instrument is there
    lab = OpenBoards(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def supply() -> Supply:
    return Supply()


@pytest.fixture
def tcp(supply: Supply) -> Iterator[Any]:
    with plugged(TcpPlug(supply)) as plug:
        yield plug
