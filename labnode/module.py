"""The Python beside a board file: loaded, and its Lab found."""

from __future__ import annotations

from pathlib import Path

from labnode.errors import ConfigError, Problem
from labnode.lab import Lab
from labnode.pythonfile import import_file


def load_lab(path: Path | None) -> Lab:
    """The Lab that the module at `path` makes; an empty one without a module.

    ConfigError names the line that failed. What lies beside the module can be imported by it.
    """
    if path is None:
        return Lab()
    module = import_file(path, f"labnode_board_{path.stem}")
    labs = {id(value): value for value in vars(module).values() if isinstance(value, Lab)}
    if len(labs) != 1:
        found = "none" if not labs else str(len(labs))
        raise ConfigError(
            Problem(str(path), f"expected one Lab in this module (lab = Lab()), found {found}")
        )
    return next(iter(labs.values()))
