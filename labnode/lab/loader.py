"""Loads the Python module beside a board file and finds its Lab."""

from __future__ import annotations

import ast
from pathlib import Path

from labnode.board import BoardFile
from labnode.board.config.page import check_page
from labnode.board.config.python_files import import_file
from labnode.board.config.sequences import check_tasks
from labnode.errors import ConfigError, Problem
from labnode.lab import Lab
from labnode.locale import Joined, Message, Wording
from labnode.schema import did_you_mean


def load_lab(file: BoardFile) -> Lab:
    """The Lab of a board's module; an empty one without a module.

    ConfigError names the line that failed. The module can import files from its own folder.
    """
    lab = Lab() if file.module is None else _load(file.module)
    wrong: list[str | Wording] = [*check_tasks(file.sequences, lab.functions)]
    wrong += [
        Message("board.named-as-task", name=repr(name))
        for name, sequence in file.sequences.items()
        if sequence.is_task and name in lab.functions
    ]
    wrong += check_page(file.page or (), file.stage, lab.functions)
    if wrong:
        raise ConfigError(*(Problem(str(file.path), sentence) for sentence in wrong))
    return lab


def misspelt_devices(file: BoardFile) -> list[Wording]:
    """A sentence, with its line, wherever the module names a device that the board does not have.

    That is `lab.devices.NAME` and `lab.devices["NAME"]`, whatever the Lab is called.
    """
    if file.module is None:
        return []
    found = []
    for node in ast.walk(ast.parse(file.module.read_bytes())):
        match node:
            case ast.Attribute(ast.Attribute(ast.Name(), "devices"), name):
                pass
            case ast.Subscript(ast.Attribute(ast.Name(), "devices"), ast.Constant(str(name))):
                pass
            case _:
                continue
        if name not in file.devices and not name.startswith("_"):
            found.append((node.lineno, name))
    return [
        Joined(
            f"{file.module}:{line}: ",
            Message("board.no-device", name=repr(name), hint=did_you_mean(name, file.devices)),
        )
        for line, name in sorted(found)
    ]


def _load(path: Path) -> Lab:
    module = import_file(path, f"labnode_board_{path.stem}")
    labs = {id(value): value for value in vars(module).values() if isinstance(value, Lab)}
    if len(labs) != 1:
        several = Message("board.several-labs", n=len(labs))
        raise ConfigError(Problem(str(path), several if labs else Message("board.no-lab")))
    return next(iter(labs.values()))
