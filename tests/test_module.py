"""The Python beside a board file: found, loaded, and blamed at the right line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labnode.board import BoardFile, load_board
from labnode.drivers.framework.registry import load_drivers
from labnode.errors import ConfigError
from labnode.lab import Lab
from labnode.lab.loader import load_lab as load_lab_of

LAB = "from labnode import Lab\nlab = Lab()\n"


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a module changes for the whole process is undone."""
    load_drivers()  # of which only the first time registers them
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(directory: Path, text: str, name: str = "thermal.py") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def board(module: Path | None, more: str = "") -> BoardFile:
    """A board with this module."""
    directory = Path() if module is None else module.parent
    path = directory / "x.yaml"
    named = "" if module is None else f"module: {module.name}\n"
    path.write_text(f"schema: 1\ndevices: {{}}\n{named}{more}")
    return load_board(path)


def load_lab(module: Path) -> Lab:
    return load_lab_of(board(module))


def problem(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_lab(path)
    return str(caught.value)


def test_a_board_without_a_module_has_an_empty_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_lab_of(board(None)).functions == {}


def test_a_sequence_runs_only_tasks_that_the_module_has(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LAB}@lab.task\ndef heat(): ...")
    steps = "sequences: {on_start: {steps: [{task: heta}]}}\n"
    with pytest.raises(ConfigError, match=r"on_start runs the task 'heta', .* mean 'heat'\?"):
        load_lab_of(board(path, steps))
    load_lab_of(board(path, steps.replace("heta", "heat")))


def test_the_lab_of_the_module_is_found_under_any_name(tmp_path: Path) -> None:
    path = write(tmp_path, "import labnode\nanything = labnode.Lab()\n@anything.task\ndef t(): ...")
    assert set(load_lab(path).functions) == {"t"}


def test_two_names_for_one_lab_are_one_lab(tmp_path: Path) -> None:
    assert isinstance(load_lab(write(tmp_path, f"{LAB}other = lab")), Lab)


def test_a_module_without_a_lab_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "x = 1")
    assert problem(path) == f"{path}: expected one Lab in this module (lab = Lab()), found none"


def test_a_module_with_two_labs_is_refused(tmp_path: Path) -> None:
    assert problem(write(tmp_path, f"{LAB}other = Lab()")).endswith("found 2")


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LAB}def f(:\n    pass\n")
    assert problem(path) == f"{path}:3: SyntaxError: invalid syntax"


def test_a_syntax_error_in_a_file_beside_names_that_file(tmp_path: Path) -> None:
    helper = write(tmp_path, "x = (\n", "pumps.py")
    path = write(tmp_path, f"{LAB}import pumps\n")
    assert problem(path) == f"{helper}:1: SyntaxError: '(' was never closed"


def test_an_exception_names_the_line_that_raised_it(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LAB}\nprint(undefined)\n")
    assert problem(path) == f"{path}:4: NameError: name 'undefined' is not defined"


def test_an_exception_in_a_file_beside_names_the_line_there(tmp_path: Path) -> None:
    helper = write(tmp_path, "def speed():\n    return 1 / 0\n", "pumps.py")
    path = write(tmp_path, f"{LAB}import pumps\npumps.speed()\n")
    assert problem(path) == f"{helper}:2: ZeroDivisionError: division by zero"


def test_an_exception_inside_a_library_names_the_line_that_called_it(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LAB}import json\njson.loads('[')\n")
    assert problem(path).startswith(f"{path}:4: JSONDecodeError: ")


def test_a_missing_library_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LAB}import no_such_library\n")
    assert problem(path) == (
        f"{path}:3: the Python library 'no_such_library' is not installed where labnode is: "
        f"{sys.executable} -m pip install no_such_library"
    )


def test_a_missing_library_belongs_beside_the_board_where_there_is_no_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = write(tmp_path, f"{LAB}import no_such_library.inner\n")
    assert problem(path).endswith(
        ": python3 -m pip install --target FOLDER no_such_library, where FOLDER has the board file"
    )


def test_an_exception_of_several_lines_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, "raise ValueError('one\\n  two')")
    assert problem(path) == f"{path}:1: ValueError: one two"


def test_a_module_that_exits_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "import sys\nsys.exit('no')")
    assert problem(path) == f"{path}:2: SystemExit: no"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x = '\x00'", b"# coding: nonsense\n"])
def test_a_file_that_is_not_python_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thermal.py"
    path.write_bytes(content)
    assert problem(path).startswith(str(path))


def test_what_lies_beside_the_module_can_be_imported(tmp_path: Path) -> None:
    write(tmp_path, LAB, "pumps.py")
    assert isinstance(load_lab(write(tmp_path, "from pumps import lab")), Lab)


def test_a_file_beside_never_takes_the_place_of_a_library(tmp_path: Path) -> None:
    """A lab on a serial port is called serial.py, and pyserial has to go on working."""
    write(tmp_path, "raise RuntimeError('not this one')", "zipapp.py")
    assert isinstance(load_lab(write(tmp_path, f"{LAB}import zipapp\n", "serial.py")), Lab)


def test_dataclasses_with_annotations_as_text_work(tmp_path: Path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    path = write(tmp_path, f"{text}{LAB}@dataclass\nclass Pump:\n    speed: int = 1\n")
    assert isinstance(load_lab(path), Lab)


def test_a_module_that_failed_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(sys.modules)
    problem(write(tmp_path, "1 / 0"))
    assert set(sys.modules) == before


def test_boards_of_the_same_name_keep_their_own_modules(tmp_path: Path) -> None:
    labs = []
    for place in ("north", "south"):
        (tmp_path / place).mkdir()
        labs.append(load_lab(write(tmp_path / place, f"{LAB}@lab.task\ndef {place}(): ...")))
    assert [set(lab.functions) for lab in labs] == [{"north"}, {"south"}]


def test_a_module_is_loaded_anew_each_time(tmp_path: Path) -> None:
    path = write(tmp_path, LAB)
    assert load_lab(path) is not load_lab(path)


def test_a_relative_path_is_named_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, f"{LAB}1 / 0\n")
    monkeypatch.chdir(tmp_path.parent)
    assert problem(Path(tmp_path.name) / "thermal.py").startswith(f"{tmp_path.name}/thermal.py:3: ")
