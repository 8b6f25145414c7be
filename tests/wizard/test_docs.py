"""What is generated is fresh, and what docs/ shows really works.

After a change of a driver's options, write everything anew with

    LABNODE_TEST_WRITE=1 python -m pytest tests/wizard/test_docs.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from textwrap import indent

import pytest

from labnode.board import load_board
from labnode.drivers.framework.registry import load_drivers
from labnode.schema import parse_yaml
from labnode.wizard.board_schema import board_schema, text_of
from labnode.wizard.reference import blocks, drivers, refreshed

ROOT = Path(__file__).parents[2]
PAGES = (
    "board-files.md",
    "board-picture.md",
    "devices.md",
    "interlocks.md",
    "sequences.md",
    "simulation.md",
)
STALE = "write it anew: LABNODE_TEST_WRITE=1 python -m pytest tests/wizard/test_docs.py"


@pytest.fixture(autouse=True)
def shipped() -> None:
    """The drivers of labnode, without those that other tests register."""
    for kind, cls in list(load_drivers().items()):
        assert cls.__module__.startswith("labnode."), f"another test has left the driver {kind}"


def same(path: Path, text: str) -> bool:
    if os.environ.get("LABNODE_TEST_WRITE"):
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8") == text


def code(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_lists_in_a_page_are_fresh(page: str) -> None:
    path = ROOT / "docs" / page
    assert same(path, refreshed(path.read_text(encoding="utf-8"))), STALE


def test_the_json_schema_beside_the_boards_is_fresh() -> None:
    assert same(ROOT / "boards/board.schema.json", text_of(board_schema())), STALE


def test_every_block_stands_in_a_page_and_an_unknown_one_is_told() -> None:
    pages = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in blocks() if f"<!-- {name} -->" not in pages] == []
    with pytest.raises(ValueError, match="there is no block 'no such'"):
        refreshed("<!-- no such -->\n<!-- end -->")


def test_what_to_write_is_told_in_words_and_not_in_names_of_classes() -> None:
    cells = re.findall(
        r"^\| `\w+` \| ([^|]*) \|", "\n".join([*blocks().values(), drivers()]), re.MULTILINE
    )
    assert len(cells) > 100
    assert [cell for cell in cells if re.search(r"\b[A-Z][a-z]+[A-Z]|None|Section", cell)] == []


def test_a_page_that_is_stale_is_made_fresh_and_the_rest_of_it_kept() -> None:
    page = "before\n<!-- keys of lab -->\nold\n<!-- end -->\nafter\n"
    made = refreshed(page)
    assert "old" not in made
    assert "| `category` | a text | `Labs` |" in made
    assert made.startswith("before\n<!-- keys of lab -->\n\n| option")
    assert made.endswith("|\n\n<!-- end -->\nafter\n")
    assert refreshed(made) == made


def test_the_first_board_of_the_page_is_one(tmp_path: Path) -> None:
    text, *_ = code("board-files.md", "yaml")
    path = tmp_path / "thermal.yaml"
    path.write_text(text)
    board = load_board(path)
    assert list(board.devices) == ["heater", "fan", "lid"]
    assert [rule.name for rule in board.interlocks] == ["lid"]


def test_the_other_examples_of_the_page_are_yaml_that_labnode_reads(tmp_path: Path) -> None:
    first, page, record, included, secrets = code("board-files.md", "yaml")
    (stop,) = code("interlocks.md", "yaml")
    sequences, scheduled, buttons, steps = code("sequences.md", "yaml")
    (simulated,) = code("simulation.md", "yaml")
    (tmp_path / "common").mkdir()
    (tmp_path / "common/switches.yaml").write_text("devices:\n  red: {driver: led, pin: 4}\n")
    (tmp_path / "common/session.yaml").write_text("session: {max_time: 5m}\n")
    path = tmp_path / "board.yaml"
    path.write_text(first.replace("lid", "temp") + sequences)
    assert set(load_board(path).sequences) == {"on_start", "on_dispose", "selftest"}
    path.write_text(first + scheduled)
    found = load_board(path).sequences
    assert [str(found[name].schedule.words) for name in ("selftest", "airing", "calibration")] == [
        "at 03:30",
        "at 07:00, 19:00 on mon, tue, wed, thu, fri",
        "every 43200 s",
    ]
    path.write_text(first + buttons)
    assert str(load_board(path).sequences["airing"].label) == "Air the box"
    (tmp_path / "blank.hex").write_text(":0100000000FF\n:00000001FF\n")
    path.write_text(
        f"schema: 1\n{stop}"
        "  heater: {driver: led, pin: 17}\n  fan: {driver: pwm_led, pin: 18}\n"
        "  lamp: {driver: led, pin: 22}\n  bell: {driver: buzzer, pin: 23}\n"
        "  temp: {driver: cpu_temperature}\n  console: {driver: serial, port: /dev/ttyUSB0}\n"
        "  mcu: {driver: avrdude, part: atmega328p, programmer: arduino, port: console,"
        " blank: blank.hex}\n"
        f"{record}sequences:\n  on_boot:\n{indent(steps, '    ')}"
    )
    board = load_board(path)
    assert len(board.sequences["on_boot"].steps) == 11
    assert board.record is not None
    path.write_text(first.partition("page:")[0] + page)
    assert load_board(path).page is not None
    path.write_text(
        "schema: 1\ndevices:\n  switch: {driver: led, pin: 4}\n  latch: {driver: led, pin: 5}\n"
        "  lamp: {driver: button, pin: 6}\n  lid: {driver: button, pin: 7}\n"
        "  heater: {driver: led, pin: 8}\n  temp: {driver: cpu_temperature}\n" + simulated
    )
    assert load_board(path).simulate["temp"].lag == 30
    path.write_text(first.partition("page:")[0] + page)
    assert len(load_board(path).page or ()) == 3
    path.write_text(included)
    assert str(load_board(path).devices["red"].label) == "Stop"
    assert parse_yaml(secrets, "secrets.yaml").value["plug_password"].startswith("correct horse")
