from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.board.config.board_file import BoardFile

from .machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "root").mkdir()
    return Machine(tmp_path / "root")


@pytest.fixture
def board(tmp_path: Path) -> Callable[[str], BoardFile]:
    def board(devices: str) -> BoardFile:
        path = tmp_path / "x.yaml"
        path.write_text(f"schema: 1\ntitle: The <lab> & more\ndevices:\n{devices}\n")
        return load_board(path)

    return board
