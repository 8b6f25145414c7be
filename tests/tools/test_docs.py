"""What docs/programming.md shows really works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.drivers.framework.driver import Driver
from labnode.errors import BadFile, ToolFailed
from tests.kit.labs import lab_of

from .bootloader import image, intel_hex
from .conftest import Stage

PAGE = Path(__file__).parents[2] / "docs/programming.md"


def code(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_board_of_the_page_goes_through_a_visit(tmp_path: Path) -> None:
    board, fallback, simulation = code("yaml")
    (tmp_path / "uno-blank.hex").write_text(intel_hex(image("blank\n", 64)))
    with lab_of(tmp_path, board.replace("takes: 2s", "takes: 20ms")) as lab:
        student = lab.student()
        data = intel_hex(image("hello\n", 64)).encode()
        reply = student.request("POST", "/api/devices/mcu/program?name=blink.hex", data)
        assert lab.agent.tasks.get(reply.json["task_id"]).join(10).done
        lab.finish(student)
        assert lab.value("mcu") == "blank"
    (tmp_path / "optiboot.hex").write_text(intel_hex(image("", 64)))
    whole = board.partition("  mcu:")[0] + fallback + simulation
    (tmp_path / "uno.yaml").write_text(whole)
    assert load_board(tmp_path / "uno.yaml").devices["mcu"].fallback == "isp"  # type: ignore[attr-defined]


@pytest.fixture
def flasher(tmp_path: Path) -> Iterator[Callable[[Stage], Any]]:
    (program,) = code("python")
    assert len(program.splitlines()) <= 40
    (tmp_path / "flasher.py").write_text(program)
    (tmp_path / "x.yaml").write_text(
        "schema: 1\ndrivers: [flasher.py]\ndevices: {it: {driver: flasher, slot: A1, retries: 0}}\n"
    )

    def make(stage: Stage) -> Driver:
        driver: Driver = stage.open(load_board(tmp_path / "x.yaml").devices["it"], "it")
        return driver

    return make


def test_a_tool_of_one_s_own_writes_refuses_and_explains(
    flasher: Callable[[Stage], Any], stage: Stage, stand_in: Callable[[str, str], Path]
) -> None:
    stand_in("flashit", "import sys\nprint(*sys.argv[1:])\nprint('42 %')")
    it = flasher(stage)
    good, other = stage.folder / "good.bin", stage.folder / "other.bin"
    good.write_bytes(b"\x7a123")
    other.write_bytes(b"123")
    it.program(good)
    assert stage.lines == ["--slot A1 image.bin", "42 %"]
    with pytest.raises(BadFile, match="not for our board"):
        it.program(other)
    stand_in("flashit", "print('error: no board at A1'); raise SystemExit(1)")
    with pytest.raises(ToolFailed, match="not plugged in"):
        it.program(good)
