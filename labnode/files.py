"""Files that only labnode's own user may read, and those that lie beside a board."""

from __future__ import annotations

import os
from pathlib import Path


def private(path: str, flags: int) -> int:
    """An `opener` for open(): a file that it creates has mode 0600."""
    return os.open(path, flags, 0o600)


def lies_in(folder: Path, name: str | Path) -> bool:
    """Whether `name`, a relative path, is in `folder` or below it when every link is followed."""
    relative = Path(name)
    if relative.is_absolute() or ".." in relative.parts:
        return False
    try:
        found = (folder / relative).resolve()
        # Links in a circle: a RuntimeError until Python 3.12, afterwards one of them.
        return found.is_relative_to(folder.resolve()) and not found.is_symlink()
    except (OSError, RuntimeError, ValueError):  # ValueError: NUL in the name
        return False
