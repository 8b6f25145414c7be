"""An agent with a web server of its own, as `labnode run --simulate` has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labnode.board import load_board
from labnode.lab import Lab
from labnode.lab.loader import load_lab
from labnode.node.agent import Agent
from labnode.settings import load_settings


def agent_of(board: Path, lab: Lab | None = None, *, settings: Any = (), **options: Any) -> Agent:
    """An agent for a board file, not started; its state is in a folder beside that.

    `lab` is, unless given, that of the board's module; `options` are the agent's own.
    """
    file = load_board(board)
    given = {
        "weblab": {"username": "weblab", "password": "weblab"},
        "state_dir": board.parent / "state",
        "port": 0,
        **dict(settings),
    }
    lab = lab or load_lab(file)
    return Agent(file, lab, load_settings(None, {}, given), **{"simulate": True, **options})
