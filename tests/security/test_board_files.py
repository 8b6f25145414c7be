"""What a board file may name: files beside it or below it, and nothing that a link leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.errors import ConfigError
from labnode.lab.loader import load_lab
from tests.tools.bootloader import intel_hex

MCU = "mcu: {driver: avrdude, part: atmega328p, programmer: usbasp%s}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A board's folder, with links out of it and within it."""
    outside, folder = tmp_path / "outside", tmp_path / "board"
    (folder / "below").mkdir(parents=True)
    outside.mkdir()
    for place in (outside, folder / "below"):
        (place / "x.hex").write_text(intel_hex(bytes(16), 0))
        (place / "x.yaml").write_text("title: included\n")
        (place / "x.py").write_text("from labnode import Lab\n\nlab = Lab()\n")
    for kind in ("hex", "yaml", "py"):
        (folder / f"out.{kind}").symlink_to(outside / f"x.{kind}")
        (folder / f"in.{kind}").symlink_to(Path("below", f"x.{kind}"))
        (folder / f"loop.{kind}").symlink_to(f"loop.{kind}")
    (folder / "dir").symlink_to(outside)
    (folder / "below" / "up.yaml").symlink_to("../in.yaml")
    return folder


def mistakes(folder: Path, text: str) -> str:
    """What is wrong with a board, in one text; "" when nothing is."""
    board = folder / "board.yaml"
    board.write_text(f"schema: 1\n{text}\n")
    try:
        load_lab(load_board(board))
    except ConfigError as error:
        return str(error)
    return ""


STEPS = "{on_start: {steps: [{program: {mcu: FILE}}]}}"
FORMS = {
    "blank": ("hex", f"devices: {{{MCU % ', blank: FILE'}}}"),
    "program": (
        "hex",
        f"devices: {{{MCU % ''}}}\nsequences: {STEPS}",
    ),
    "include": ("yaml", "devices: {}\ninclude: FILE"),
    "module": ("py", "devices: {}\nmodule: FILE"),
    "drivers": ("py", "devices: {}\ndrivers: [FILE]"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["in", "below/x"])
def test_files_of_the_board_are_taken(folder: Path, form: str, name: str) -> None:
    kind, text = FORMS[form]
    said = mistakes(folder, text.replace("FILE", f"{name}.{kind}"))
    assert "beside the board" not in said
    assert said == "" or form == "drivers"  # there is no driver in that one


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["out", "dir/x", "../outside/x", "below/../../outside/x", "loop", "ABSOLUTE"]
)
def test_nothing_outside_the_boards_folder_is_read(folder: Path, form: str, name: str) -> None:
    kind, text = FORMS[form]
    name = name.replace("ABSOLUTE", str(folder.parent / "outside/x"))
    said = mistakes(folder, text.replace("FILE", f"{name}.{kind}"))
    assert "beside the board or below it, not" in said


@pytest.mark.parametrize("name", ["../..", ".", "/", "''", "below", '"a\\0.hex"', "'~'"])
def test_a_blank_image_that_is_no_file_is_one_sentence(folder: Path, name: str) -> None:
    said = mistakes(folder, f"devices: {{{MCU % f', blank: {name}'}}}")
    assert said.count("\n") == 0
    assert "blank" in said


def test_an_included_file_may_lead_to_another_part_of_the_board(folder: Path) -> None:
    (folder / "first.yaml").write_text("include: below/up.yaml\n")
    assert mistakes(folder, "devices: {}\ninclude: first.yaml") == ""
