"""An agent with a web server of its own, as `labnode run --simulate` has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labnode.board import load_board
from labnode.control import ControlSocket
from labnode.lab import Lab
from labnode.lab.loader import load_lab
from labnode.node.agent import Agent
from labnode.node.commands import Commands
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


@contextmanager
def commanded(agent: Agent, folder: Path) -> Iterator[None]:
    """Inside the block an agent without a web server is commanded through a socket in `folder`."""
    node = agent.bench.node
    commands = Commands(node, agent.clock, agent.store, agent.estop, url=lambda: "http://lab")
    socket = ControlSocket(folder, commands.by_name)
    socket.start()
    try:
        yield
    finally:
        assert socket.stop(5)
