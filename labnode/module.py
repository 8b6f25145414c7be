"""The Python beside a board file: loaded, and its Lab found."""

from __future__ import annotations

import importlib.util
import logging
import sys
import traceback
from pathlib import Path

from labnode.board import BoardFile
from labnode.board.page import check_page
from labnode.board.sequences import check_tasks
from labnode.errors import ConfigError, Problem
from labnode.lab import Lab

log = logging.getLogger(__name__)


def load_lab(file: BoardFile) -> Lab:
    """The Lab that a board's module makes; an empty one without a module.

    ConfigError names the line that failed. What lies beside the module can be imported by it.
    """
    lab = Lab() if file.module is None else _load(file.module)
    wrong = check_tasks(file.sequences, lab.functions)
    wrong += check_page(file.page or (), lab.functions)
    if wrong:
        raise ConfigError(*(Problem(str(file.path), sentence) for sentence in wrong))
    return lab


def _load(path: Path) -> Lab:
    directory = str(path.parent.absolute())
    if directory not in sys.path:
        sys.path.append(directory)  # behind the libraries: a board may be called serial.py
    spec = importlib.util.spec_from_file_location(f"labnode_board_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and others look for its names
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        log.debug("%s could not be loaded.", path, exc_info=True)
        raise ConfigError(Problem(_where(error, path), _sentence(error))) from error
    labs = {id(value): value for value in vars(module).values() if isinstance(value, Lab)}
    if len(labs) != 1:
        found = "none" if not labs else str(len(labs))
        raise ConfigError(
            Problem(str(path), f"expected one Lab in this module (lab = Lab()), found {found}")
        )
    return next(iter(labs.values()))


def _where(error: BaseException, path: Path) -> str:
    """The last line of the module, or of a file beside it, that led to the error."""
    places = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    for file, line in reversed(places):
        if Path(file).parent == path.parent.absolute():
            return f"{path.parent / Path(file).name}:{line}"
    return str(path)


def _sentence(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    words = " ".join(text.split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
