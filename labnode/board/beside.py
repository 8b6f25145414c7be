"""Files that a board names: they are beside it or below it, nowhere else."""

from __future__ import annotations

from pathlib import Path

from labnode.drivers.base import Driver, load_drivers, registry
from labnode.errors import ConfigError
from labnode.pythonfile import import_file
from labnode.schema import Problems, Section, quoted, shown

Kinds = dict[str, type[Driver]]


def python_file(section: Section, board: Path, problems: Problems) -> Path | None:
    """The Python file that a section names; None, with a problem told, where it names none."""
    name = section.content
    if section.bad:
        return None
    if not isinstance(name, str) or section.hidden is not None:
        problems.add(
            section, f"expected a Python file beside the board, not {shown(section.value)}"
        )
        return None
    relative = Path(name)
    if relative.is_absolute() or ".." in relative.parts or relative.suffix != ".py":
        problems.add(
            section, f"expected a Python file beside the board or below it, not {quoted(name)}"
        )
        return None
    path = board.parent / relative
    if not path.is_file():
        problems.add(section, f"there is no file {str(path)!r}")
        return None
    return path


def read_drivers(section: Section, board: Path, problems: Problems) -> Kinds:
    """All drivers by name: labnode's, and those of the files that the board lists.

    A file's drivers are this board's alone, and are made anew each time that the board is read.
    """
    kinds: Kinds = dict(load_drivers())
    for entry in section.entries():
        path = python_file(entry, board, problems)
        if path is None:
            continue
        own = _drivers_of(path, problems)
        if own == {}:
            problems.add(entry, "this file has no driver in it: a class with @register(...)")
        for kind, cls in (own or {}).items():
            if kind in kinds:
                problems.add(entry, f"there are two drivers called {kind!r}")
            kinds.setdefault(kind, cls)
    return kinds


def _drivers_of(path: Path, problems: Problems) -> Kinds | None:
    """What a file registers; None where it cannot be imported."""
    before = dict(registry)
    try:
        import_file(path, f"labnode_driver_{path.stem}")
        return {kind: cls for kind, cls in registry.items() if kind not in before}
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    finally:
        registry.clear()
        registry.update(before)
