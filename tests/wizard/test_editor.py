"""Editors complete and check board files, with the settings that labnode writes for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from labnode.cli.main import main
from labnode.errors import LabnodeError
from labnode.wizard.board_schema import board_schema, text_of
from labnode.wizard.editor import install, yaml_settings

from .language_server import PROGRAM, LanguageServer

BOARDS = Path(__file__).parents[2] / "boards"


def test_both_editors_get_the_schema_and_keep_their_other_settings(tmp_path: Path) -> None:
    (tmp_path / ".vscode").mkdir()
    other = {"editor.tabSize": 2, "yaml.customTags": ["!other scalar"]}
    (tmp_path / ".vscode/settings.json").write_text(json.dumps(other))
    (tmp_path / "boards").mkdir()
    for _ in range(2):
        install(tmp_path, "{}")
    code = json.loads((tmp_path / ".vscode/settings.json").read_text())
    assert code["editor.tabSize"] == 2
    assert code["yaml.customTags"] == ["!other scalar", "!secret scalar"]
    schemas = {"./boards/board.schema.json": ["boards/*.yaml", "!secrets.yaml"]}
    assert code["yaml.schemas"] == schemas
    zed = json.loads((tmp_path / ".zed/settings.json").read_text())
    assert zed["lsp"]["yaml-language-server"]["settings"]["yaml"]["schemas"] == schemas
    assert (tmp_path / "boards/board.schema.json").read_text() == "{}"


def test_settings_with_comments_are_kept_and_what_to_add_is_told(tmp_path: Path) -> None:
    (tmp_path / ".zed").mkdir()
    (tmp_path / ".zed/settings.json").write_text("// mine\n{}")
    with pytest.raises(LabnodeError, match=r"not plain JSON .* Add this yourself: \{\"lsp\""):
        install(tmp_path, "{}")
    assert (tmp_path / ".zed/settings.json").read_text() == "// mine\n{}"
    assert not (tmp_path / ".vscode").exists()


def test_the_command_says_what_it_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["schema", "--install"])
    assert result.exit_code == 0, result.output
    assert result.output.count("is written.") == 3
    assert "greenhouse" not in (tmp_path / "board.schema.json").read_text()


# --- with the real program: install it with `npm install -g yaml-language-server` ---

needs_server = pytest.mark.skipif(PROGRAM is None, reason="there is no yaml-language-server here")


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labs")
    install(folder, text_of(board_schema()))
    return folder


@pytest.fixture(scope="module")
def server(labs: Path) -> Iterator[LanguageServer]:
    yaml = {**yaml_settings(labs), "schemaStore": {"enable": False}, "validate": True}
    with LanguageServer(labs, {"yaml": yaml, "http": {}, "[yaml]": {}}) as server:
        yield server


@needs_server
@pytest.mark.parametrize("board", sorted(BOARDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_editor_finds_nothing_wrong_with_a_board(
    board: Path, server: LanguageServer, labs: Path
) -> None:
    text = board.read_text().replace("# yaml-language-server", "# no", 1)
    assert server.problems(labs / "board.yaml", text) == []


DEVICE = "schema: 1\ndevices:\n  a: "
WRONG = [
    (DEVICE + "{driver: ledd, pin: 17}\n", 3, "Value is not accepted"),
    (DEVICE + "{driver: led, pinn: 17}\n", 3, "Property pinn is not allowed"),
    (DEVICE + "{driver: led}\n", 3, 'Missing property "pin"'),
    (DEVICE + "{driver: led, pin: [1]}\n", 3, "Incorrect type"),
    (DEVICE + "{driver: led, pin: GPIO17x}\n", 3, "Incorrect type"),
    (DEVICE + "{pin: 17}\n", 3, 'Missing property "driver"'),
    (DEVICE + "\n    driver: relay\n    pin: 17\n    max_on_time: soon\n", 6, "Incorrect type"),
    (DEVICE + "\n    driver: relay\n    pin: 17\n    acess: user\n", 6, "not allowed"),
    (DEVICE + "\n    driver: relay\n    pin: 17\n    access: everybody\n", 6, "not accepted"),
    (DEVICE + "\n    driver: serial\n    port: /dev/x\n    baudrate: fast\n", 6, "Incorrect type"),
    (DEVICE + "\n    driver: avrdude\n    programmer: usbasp\n", 3, 'Missing property "part"'),
    (DEVICE + "led\n", 3, "Incorrect type"),
    ("schema: 2\ndevices: {}\n", 1, "Value is not accepted"),
    ("devices: {}\n", 1, 'Missing property "schema"'),
    ("schema: 1\ndevicess: {}\n", 2, "Property devicess is not allowed"),
    ("schema: 1\ndevices: {}\ntitle: [a]\n", 3, "Incorrect type"),
    ("schema: 1\ndevices: {}\nsession: {users: 0}\n", 3, "below the minimum"),
    ("schema: 1\ndevices: {}\nsession: {on_restart: stop}\n", 3, "Value is not accepted"),
    ("schema: 1\ndevices: {}\nsequences:\n  on_boot:\n    steps:\n      - wiat: 3s\n", 6, "wiat"),
    ("schema: 1\ndevices: {}\nsequences:\n  on_boot: {timeout: 3s}\n", 4, "steps"),
    ("schema: 1\ndevices: {}\ninterlocks:\n  - {name: x, whe: a, force: {a: 1}}\n", 4, "whe"),
    ("schema: 1\ndevices: {}\nrecord: {devices: [a], every: 1ms}\nrecord: {}\n", 4, "unique"),
]


@needs_server
@pytest.mark.parametrize(("text", "line", "words"), WRONG)
def test_an_editor_marks_the_very_line(
    text: str, line: int, words: str, server: LanguageServer, labs: Path
) -> None:
    found = server.problems(labs / "board.yaml", text)
    assert [message for at, message in found if at == line and words in message], found


@needs_server
def test_an_editor_completes_and_explains_the_options_of_each_driver(
    server: LanguageServer, labs: Path
) -> None:
    path = labs / "board.yaml"
    drivers = server.completions(path, f"{DEVICE}\n    driver: ")
    assert {"relay", "avrdude", "serial"} <= drivers
    options = server.completions(path, f"{DEVICE}\n    driver: avrdude\n    p")
    assert {"part", "programmer", "port"} <= options
    assert "max_on_time" not in options
    told = server.hover(path, f"{DEVICE}\n    driver: relay\n    max_on_time: 2m\n", "max_on_time")
    assert "The longest time that it may be on" in told
    assert "AVR chip" in server.hover(path, f"{DEVICE}\n    driver: avrdude\n", "avrdude")
