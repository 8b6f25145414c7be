"""The wizard's commands, as they are given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labnode.cli.main import main

BOARDS = sorted((Path(__file__).parents[2] / "boards").glob("*.yaml"))
DEMO = str(Path(__file__).parents[2] / "boards/demo.yaml")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_pinout_draws_the_board() -> None:
    result = run("pinout", DEMO)
    assert result.exit_code == 0
    assert result.output.startswith("Demo board (demo.yaml)\n")
    assert "switch [safe: low]  GPIO17  11 ● ● 12  GPIO18  dimmer" in result.output


def test_pinout_draws_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.svg"
    result = run("pinout", DEMO, "--svg", str(path))
    assert (result.exit_code, result.output) == (0, f"{path} is written.\n")
    assert path.read_text().startswith("<svg ")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = run("pinout", DEMO, "--svg", str(tmp_path / "no" / "demo.svg"))
    assert result.exit_code == 1
    assert "demo.svg cannot be written: No such file or directory." in result.output


def test_bootconfig_prints_the_lines_of_the_demo() -> None:
    result = run("bootconfig", DEMO)
    assert result.exit_code == 0
    assert "\ngpio=24=op,dh\n" in result.output


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("command", ["pinout", "bootconfig"])
def test_the_boards_of_labnode_can_be_wired(command: str, path: Path) -> None:
    result = run(command, str(path))
    assert result.exit_code == 0, result.output
    assert path.name in result.output


def test_suggest_looks_at_this_machine() -> None:
    result = run("suggest", DEMO)
    assert result.exit_code == 0
    assert result.output.startswith("# Serial ports\n")


@pytest.mark.parametrize("command", ["pinout", "bootconfig", "suggest"])
def test_a_board_with_mistakes_is_told_as_by_check(command: str, tmp_path: Path) -> None:
    board = tmp_path / "x.yaml"
    board.write_text("schema: 1\ndevices: {a: {driver: led, pim: 4}}\n")
    result = run(command, str(board))
    assert result.exit_code == 2
    assert f"labnode: {board}:2: unknown key 'pim' in device 'a'; did you mean" in result.output


def test_schema_prints_what_is_kept_beside_the_boards() -> None:
    result = run("schema")
    assert json.loads(result.output)["properties"]["devices"]["description"]


def test_schema_writes_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "board.schema.json"
    assert run("schema", "--output", str(path)).exit_code == 0
    assert json.loads(path.read_text())["title"] == "A board of labnode"


def test_schema_of_a_board_has_its_own_drivers_too(tmp_path: Path) -> None:
    (tmp_path / "lamp.py").write_text(
        "from dataclasses import dataclass\n"
        "from labnode.drivers import Driver, register\n"
        "@register('own_lamp')\n@dataclass(kw_only=True)\n"
        "class OwnLamp(Driver):\n    'A lamp.\\n\\nExample::\\n\\n    a: {driver: own_lamp}'\n"
        "    brightness: int = 5\n"
    )
    board = tmp_path / "x.yaml"
    board.write_text("schema: 1\ndrivers: [lamp.py]\ndevices: {a: {driver: own_lamp}}\n")
    definitions = json.loads(run("schema", str(board)).output)["definitions"]
    assert definitions["own_lamp"]["properties"]["brightness"]["default"] == 5
    assert "led" in definitions
    assert run("schema", str(board), "--driver", "own_lamp").output.startswith("# own_lamp\n")


def test_schema_explains_all_drivers_or_one() -> None:
    assert "# relay\n" in run("schema", "--markdown").output
    text = run("schema", "--driver", "led").output
    assert text.startswith("# led\n\nA light on a pin.")
    assert "| `active_high` | true or false | `true` |" in text


def test_a_driver_that_is_not_there_is_told() -> None:
    result = run("schema", "--driver", "ledd")
    assert result.exit_code == 2
    assert "There is no driver 'ledd'; did you mean 'led'?" in result.output
