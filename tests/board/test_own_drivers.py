"""Drivers in files beside the board."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.board import load_board
from labnode.board.config.python_files import set_aside
from labnode.drivers.framework.registry import load_drivers, registry
from labnode.errors import ConfigError
from tests.board.conftest import Student

Write = Callable[[str], Path]

DRIVER = """
from dataclasses import dataclass
from labnode.drivers import Driver, register

@register("{kind}")
@dataclass(kw_only=True)
class Own(Driver):
    number: int = {number}
"""


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    load_drivers()  # of which only the first time registers them
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def save(directory: Path, name: str, kind: str = "own", number: int = 1) -> None:
    (directory / name).write_text(DRIVER.format(kind=kind, number=number))


def told(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_board(path)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_a_board_has_the_drivers_of_its_files_and_no_other_board_has_them(
    write: Write, tmp_path: Path
) -> None:
    save(tmp_path, "a.py")
    board = load_board(write("drivers: [a.py]\ndevices: {a: {driver: own, number: 5}}\n"))
    assert (board.devices["a"].kind, board.devices["a"].number) == ("own", 5)  # type: ignore[attr-defined]
    assert "own" not in registry
    assert (
        "there is no driver 'own' for device 'a'" in told(write("devices: {a: {driver: own}}"))[0]
    )


def test_a_driver_that_begins_with_one_of_labnode_leaves_that_one_to_other_boards(
    write: Write, tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text(
        "from dataclasses import dataclass\n"
        "from labnode.drivers import register\n"
        "from labnode.drivers.logic.virtual import Virtual\n"
        '@register("own")\n@dataclass(kw_only=True)\nclass Own(Virtual): ...\n'
    )
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from labnode.board import load_board\n"
        "for path in sys.argv[1:]:\n"
        "    print(*[f'{n}: {d.kind}' for n, d in load_board(Path(path)).devices.items()])\n"
    )
    boards = [
        write("drivers: [a.py]\ndevices: {a: {driver: own}}\n"),
        tmp_path / "y.yaml",
    ]
    boards[1].write_text("schema: 1\ndevices: {a: {driver: virtual}}\n")
    done = subprocess.run(
        [sys.executable, "-c", program, *boards], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("a: own\na: virtual\n", "")


def test_a_file_that_has_changed_counts_when_the_board_is_read_again(
    write: Write, tmp_path: Path
) -> None:
    path = write("drivers: [a.py]\ndevices: {a: {driver: own}}\n")
    for number in (1, 2):
        save(tmp_path, "a.py", number=number)
        assert load_board(path).devices["a"].number == number  # type: ignore[attr-defined]


def test_so_it_does_when_it_changes_within_a_second_and_python_keeps_bytecode(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = write("drivers: [a.py]\ndevices: {a: {driver: own}}\n")
    for number in (1, 2):
        (tmp_path / "count.py").write_text(f"NUMBER = {number}\n")
        (tmp_path / "a.py").write_text(
            "from count import NUMBER\n" + DRIVER.format(kind="own", number="NUMBER")
        )
        for name in ("count.py", "a.py"):
            os.utime(tmp_path / name, (1, 1))
        set_aside(tmp_path)
        assert load_board(path).devices["a"].number == number  # type: ignore[attr-defined]
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ("[b.py]", "x.yaml:2: there is no file 'b.py'"),
        ("[5]", "x.yaml:2: expected a Python file beside the board, not the number 5"),
        ("[../a.py]", "x.yaml:2: expected a Python file beside the board or below it, not '../a"),
        ("[/a.py]", "x.yaml:2: expected a Python file beside the board or below it, not '/a.py'"),
        ("[led.py]", "led.py:5: ValueError: there are two drivers called 'led'"),
        ("[a.py, again.py]", "x.yaml:2: there are two drivers called 'own'"),
        ("[empty.py]", "x.yaml:2: this file has no driver in it: a class with @register(...)"),
        ("[broken.py]", "broken.py:2: ZeroDivisionError: division by zero"),
        ("a.py", "x.yaml:2: 'drivers': expected a list, not the text 'a.py'"),
    ],
)
def test_a_file_without_a_usable_driver_is_told_so(
    write: Write, tmp_path: Path, files: str, problem: str
) -> None:
    save(tmp_path, "a.py")
    save(tmp_path, "again.py")
    save(tmp_path, "led.py", kind="led")
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("\n1 / 0\n")
    before = dict(registry)
    (found,) = told(write(f"drivers: {files}\ndevices:\n"))
    assert found.startswith(problem)
    assert registry == before


OTHERS = """
from dataclasses import dataclass
from labnode.drivers import SwitchOutput, register

@register("both")
@dataclass(kw_only=True)
class Both(SwitchOutput):
    simulates = True
    value = False

    def open(self):
        self.opened()

    def drive(self, value):
        self.value = value
        self.services.command("red", "set", [value])
"""


def test_who_commands_a_driver_that_commands_another_is_the_operator_of_that(
    rig: Callable[..., Any], student: Student, tmp_path: Path
) -> None:
    (tmp_path / "both.py").write_text(OTHERS)
    devices = "{both: {driver: both}, red: {driver: relay, pin: 17, deadman: 3s}}"
    made = rig(f"drivers: [both.py]\ndevices: {devices}\n", operators=student)
    made.board.open()
    made.board.command("both", "on")
    assert made.values()["red"] is True
    student.gone = True
    made.clock.advance(3)
    made.board.poll()
    assert (made.values()["red"], student.lost) == (False, ["red"])
