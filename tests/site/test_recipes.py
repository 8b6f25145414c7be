"""The boards of the recipes: each starts simulated, has a session and ends safe and clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.drivers.framework.output import Output
from labnode.testing import LabClient

from .documents import DOCS, read

BOARDS = sorted((DOCS / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_student_uses_the_board_of_a_recipe(board: Path) -> None:
    with LabClient(board) as lab:
        student = lab.student(seconds=300)
        assert student.get("/").status == 200
        outputs = {n: d for n, d in load_board(board).devices.items() if isinstance(d, Output)}
        for name, driver in outputs.items():
            value = not driver.safe if isinstance(driver.safe, bool) else 0.5
            reply = student.post(f"/api/devices/{name}/set", {"value": value})
            assert reply.status == 200, reply
        student.leave()
        while not lab.finish(student)["finished"]:
            pass
        assert {name: lab.value(name) for name in outputs} == {
            n: d.safe for n, d in outputs.items()
        }


@pytest.mark.parametrize("page", sorted((DOCS / "recipes").glob("*.md")), ids=lambda p: p.stem)
def test_a_recipe_has_a_drawing_a_file_and_a_picture(page: Path) -> None:
    text = read(f"docs/recipes/{page.name}")
    if page.stem != "index":
        assert f"({page.stem}.svg)" in text
        assert f"(../pictures/{page.stem}.png)" in text
        assert "```yaml\n" in text
