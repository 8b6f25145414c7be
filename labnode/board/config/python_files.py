"""Python files that a board names, which are beside it or below it, and how they are imported."""

from __future__ import annotations

import importlib.util
import logging
import sys
import traceback
from pathlib import Path
from types import ModuleType

from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import MODULES, Drivers, registry
from labnode.errors import ConfigError, Problem
from labnode.files import lies_in
from labnode.locale import Joined, Message, Wording
from labnode.schema import Problems, Section, quoted, unlike

log = logging.getLogger(__name__)


def import_file(path: Path, name: str) -> ModuleType:
    """The file at `path` as a module called `name`, which is run again at each import.

    ConfigError names the line that failed. The file can import the modules beside it.
    """
    directory = str(path.parent.absolute())
    if directory not in sys.path:
        sys.path.append(directory)  # behind the libraries: a board may be called serial.py
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and others look for its names
    # Bytecode would hide a change of the same second that leaves a file as long as it was.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        log.debug("%s could not be loaded.", path, exc_info=True)
        raise ConfigError(Problem(_where(error, path), _sentence(error))) from error
    finally:
        sys.dont_write_bytecode = before
    return module


def set_aside(directory: Path) -> dict[str, ModuleType]:
    """Remove the modules that are beside a board from sys.modules; returns them by name."""
    beside = {
        name.partition(".")[0]
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None)) and _lies_in(directory, Path(file), name)
    }
    roots = beside - {"__main__", "labnode"}  # a board may lie in a clone of labnode
    names = [name for name in list(sys.modules) if name.partition(".")[0] in roots]
    return {name: sys.modules.pop(name) for name in names}


def _lies_in(directory: Path, file: Path, name: str) -> bool:
    """Whether this file is a module, or the __init__ of a package, of that directory."""
    home = file.absolute().parent
    return "." not in name and (home.parent if file.stem == "__init__" else home) == directory


def _where(error: BaseException, path: Path) -> str:
    """The last line of the module, or of a file beside it, that led to the error."""
    places = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    for file, line in reversed(places):
        if Path(file).parent == path.parent.absolute():
            return f"{path.parent / Path(file).name}:{line}"
    return str(path)


def _sentence(error: BaseException) -> str | Wording:
    if isinstance(error, ModuleNotFoundError) and error.name:
        library, name = repr(error.name), error.name.partition(".")[0]
        if importlib.util.find_spec("pip") is None:  # a release of install.sh
            return Message("board.library-missing", library=library, name=name)
        how = f"{sys.executable} -m pip install {name}"
        return Message("board.library-not-installed", library=library, how=how)
    if len(error.args) == 1 and isinstance(error.args[0], Wording):  # of labnode's own
        return Joined(f"{type(error).__name__}: ", error.args[0])
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    words = " ".join(text.split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def python_file(section: Section, board: Path, problems: Problems) -> Path | None:
    """The Python file that a section names; None, and a problem, when it names none."""
    name = section.content
    if section.bad:
        return None
    if not isinstance(name, str) or section.hidden is not None:
        problems.add(section, unlike(Message("board.python-file"), section.value))
        return None
    relative = Path(name)
    if not lies_in(board.parent, relative) or relative.suffix != ".py":
        expected = Message("board.python-file-below")
        problems.add(section, Message("yaml.unlike", expected=expected, value=quoted(name)))
        return None
    path = board.parent / relative
    if not path.is_file():
        problems.add(section, Message("board.no-file", path=repr(str(path))))
        return None
    return path


def read_drivers(section: Section, board: Path, problems: Problems) -> Drivers:
    """All drivers by name: labnode's, and those of the files that the board lists.

    A file's drivers belong to this board alone, and the file runs each time the board is read.
    """
    own: dict[str, type[Driver]] = {}
    for entry in section.entries():
        path = python_file(entry, board, problems)
        if path is None:
            continue
        found = _drivers_of(path, problems)
        if found == {}:
            problems.add(entry, Message("board.no-driver-in-file"))
        for kind, cls in (found or {}).items():
            if kind in own:
                problems.add(entry, Message("driver.two", name=repr(kind)))
            own.setdefault(kind, cls)
    return Drivers(own)


def _drivers_of(path: Path, problems: Problems) -> dict[str, type[Driver]] | None:
    """The drivers that a file registers; None when it cannot be imported."""
    before = {*registry, *MODULES}  # what it imports of labnode's stays
    try:
        import_file(path, f"labnode_driver_{path.stem}")
        return {kind: cls for kind, cls in registry.items() if kind not in before}
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    finally:
        for kind in set(registry) - before:
            del registry[kind]
