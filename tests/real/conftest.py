"""Two identical boards, and the LabDiscoveryEngine that has both, for all scenarios."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.files import no_file_left_open

from .boards import Board
from .engine import Engine

Boards = tuple[Board, Board]


@pytest.fixture(scope="session", autouse=True)
def _no_file_is_left_open() -> Iterator[None]:
    """For all tests together: a node that is started again has other pipes."""
    with no_file_left_open():
        yield


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    directory = tmp_path_factory.mktemp("boards")
    one, two = Board(directory / "one"), Board(directory / "two")
    try:
        one.start()
        two.start()
        yield one, two
    finally:
        one.end()
        two.end()


@pytest.fixture(scope="session")
def everything(both: Boards, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"), [board.registration for board in both])
    try:
        engine.start()
        yield engine
    finally:
        engine.end()


@pytest.fixture
def boards(both: Boards) -> Iterator[Boards]:
    """Both, free before and after."""
    yield both
    for board in both:
        board.open_gate("gate")
        board.wait_until_free()
        board.tidy()


@pytest.fixture
def engine(everything: Engine, boards: Boards) -> Iterator[Engine]:
    """With all its reservations over at the end."""
    yield everything
    for board in boards:
        board.open_gate("gate")
    everything.cancel_all()
