"""Drivers of a board's own: Python files beside it that register them."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

from labnode.drivers.base import load_drivers, registry
from labnode.schema import Problems, Section, shown

log = logging.getLogger(__name__)

_registered: dict[Path, set[str]] = {}  # what each file has registered when it was loaded last


def load_own_drivers(section: Section, board: Path, problems: Problems) -> None:
    """Load what `drivers:` names, so that the board's devices can have these drivers."""
    if not section.bad and not isinstance(section.content, list | None):
        problems.add(section, f"expected a list of Python files, not {shown(section.value)}")
    load_drivers()
    for entry in section.entries():
        name = entry.content
        relative = Path(name) if isinstance(name, str) else Path()
        if relative.is_absolute() or ".." in relative.parts or relative.suffix != ".py":
            problems.add(
                entry, f"expected a Python file beside the board or below it, not {shown(name)}"
            )
        elif not (board.parent / relative).is_file():
            problems.add(entry, f"there is no file {str(board.parent / relative)!r}")
        else:
            _load((board.parent / relative).absolute(), entry, problems)


def _load(path: Path, place: Section, problems: Problems) -> None:
    for kind in _registered.pop(path, ()):  # it may have been changed since
        registry.pop(kind, None)
    before = set(registry)
    spec = importlib.util.spec_from_file_location(f"labnode_driver_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for its names
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        log.debug("%s could not be loaded.", path, exc_info=True)
        problems.add(place, f"{path.name} cannot be loaded: {type(error).__name__}: {error}")
    _registered[path] = set(registry) - before
    if not _registered[path] and not len(problems):
        problems.add(place, f"{path.name} registers no driver")
