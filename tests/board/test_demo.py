from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board

DEMO = Path(__file__).parents[2] / "boards" / "demo.yaml"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo board beside a module of its name."""
    path = tmp_path / "demo.yaml"
    path.write_bytes(DEMO.read_bytes())
    path.with_suffix(".py").touch()
    shutil.copytree(DEMO.with_name("pictures"), tmp_path / "pictures")
    return path


def test_the_demo_board_has_something_of_every_kind(demo: Path) -> None:
    board = load_board(demo)
    assert (board.title.pick("en"), board.title.pick("es")) == (
        "Demo board",
        "Placa de demostración",
    )
    assert (board.lab.name, board.lab.category) == ("demo", "Demos")
    assert {driver.widget for driver in board.devices.values()} == {"switch", "lamp", "slider"}
    assert board.on_page() == [name for row in board.page or () for name in row]
    assert board.picture is not None
    assert {spot.device for spot in board.picture.spots} == set(board.devices)


def test_the_switch_of_the_demo_board_lights_its_lamp(demo: Path, rig: Callable[..., Any]) -> None:
    rig = rig(demo.read_text().replace("schema: 1 ", "# "))
    rig.board.open()
    rig.board.command("switch", "on")
    assert rig.values()["lamp"] is True
    rig.board.reset()
    assert rig.values()["lamp"] is False
