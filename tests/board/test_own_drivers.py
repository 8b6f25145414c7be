from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.board import load_board
from labnode.drivers.base import load_drivers, registry
from labnode.errors import ConfigError

DRIVER = '''\
"""A lamp that this lab has made."""

from dataclasses import dataclass

from labnode.drivers.base import Driver, register


@register("{kind}")
@dataclass(kw_only=True)
class Lantern(Driver):
    """A lantern."""

    colour: str = "red"
'''


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    before = dict(load_drivers())
    yield
    registry.clear()
    registry.update(before)


def write(directory: Path, board: str, kind: str = "lantern") -> Path:
    (directory / "lantern.py").write_text(DRIVER.format(kind=kind))
    path = directory / "x.yaml"
    path.write_text(f"schema: 1\n{board}\n")
    return path


def test_a_driver_beside_the_board_is_a_driver_as_any_other(tmp_path: Path) -> None:
    board = "drivers: [lantern.py]\ndevices: {a: {driver: lantern, colour: blue}}"
    assert load_board(write(tmp_path, board)).devices["a"].colour == "blue"  # type: ignore[attr-defined]


def test_loading_it_again_takes_it_as_it_is_now(tmp_path: Path) -> None:
    board = "drivers: [lantern.py]\ndevices: {a: {driver: %s}}"
    load_board(write(tmp_path, board % "lantern"))
    load_board(write(tmp_path, board % "lantern"))
    load_board(write(tmp_path, board % "torch", "torch"))
    with pytest.raises(ConfigError, match="there is no driver 'lantern'"):
        load_board(write(tmp_path, board % "lantern", "torch"))


@pytest.mark.parametrize(
    ("drivers", "text", "sentence"),
    [
        ("lantern.py", "", "x.yaml:2: expected a list of Python files, not the text 'lantern.py'"),
        ("[../lantern.py]", "", "x.yaml:2: expected a Python file beside the board or below it"),
        ("[lamp.py]", "", "x.yaml:2: there is no file"),
        ("[lantern.py]", "1 / 0", "x.yaml:2: lantern.py cannot be loaded: ZeroDivisionError"),
        ("[lantern.py]", "x = 1", "x.yaml:2: lantern.py registers no driver"),
        ("[3]", "", "expected a Python file beside the board or below it, not the number 3"),
    ],
)
def test_files_that_cannot_be_are_told_with_their_line(
    drivers: str, text: str, sentence: str, tmp_path: Path
) -> None:
    path = write(tmp_path, f"drivers: {drivers}\ndevices: {{}}")
    if text:
        (tmp_path / "lantern.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_board(path)
    assert sentence in str(caught.value)
