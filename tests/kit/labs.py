"""A lab of a board's text, on simulated devices and without a web server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labnode.testing import LabClient


def lab_of(folder: Path, board: str, module: str = "", **settings: Any) -> LabClient:
    """A lab, not started, of a board and its `lab.py`; these and its state are in `folder`."""
    (folder / "board.yaml").write_text(board)
    if module:
        (folder / "lab.py").write_text(module)
    return LabClient(folder / "board.yaml", **{"state_dir": folder / "state", **settings})
