"""What the README tells people to write is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.cli.main import main
from tests.kit.programs import ran

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    """The code blocks in a language, also those inside lists."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README.read_text(), re.M | re.S)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def test_the_board_can_be_loaded(tmp_path: Path) -> None:
    (text,) = [block for block in blocks("yaml") if block.startswith("schema: 1")]
    shipped = README.parent / "boards/greenhouse.yaml"
    assert shipped.read_text().partition("\n")[2] == text
    board = tmp_path / "greenhouse.yaml"
    board.write_text(text)
    assert list(load_board(board).devices) == ["light", "fan", "door"]


def test_what_it_says_of_installing_is_what_the_script_takes() -> None:
    usage = ran(["bash", README.parent / "install.sh", "--help"], check=True).stdout
    commands = re.findall(r"\./install\.sh ([a-z]+)", README.read_text())
    assert {"demo", "test", "status", "upgrade", "rollback", "uninstall", "flash"} <= set(commands)
    assert [command for command in commands if f"\n  {command} " not in usage] == []
    options = re.findall(r"--(?:board|dry-run|purge)\b", README.read_text())
    assert [option for option in options if option not in usage] == []


@pytest.mark.parametrize("command", ["demo", "docs", "test"])
def test_the_commands_for_a_clone_are_shown(command: str) -> None:
    assert f"./install.sh {command}\n" in blocks("sh")


def test_every_command_that_it_names_exists() -> None:
    lines = [*blocks("sh"), *re.findall(r"`([^`\n]+)`", README.read_text())]
    told = set(re.findall(r"^labnode ([a-z-]+)", "\n".join(lines), re.M))
    assert told - set(main.commands) == set()
    assert len(told) > 5
