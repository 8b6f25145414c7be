"""The running node as a lab and its surroundings see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from labnode.board import Board
from labnode.lab.programming import Programming
from labnode.lab.recordings import Recordings
from labnode.lab.sequences import Turnover
from labnode.sessions import Session, Sessions
from labnode.tasks import Tasks
from labnode.worker import Worker

Level = Literal["active", "login", "public"]
"""Who a route is for: the student whose turn it is, also one whose time is over, anybody."""


@dataclass(frozen=True)
class Node:
    """The running node that a lab belongs to."""

    board: Board
    worker: Worker
    tasks: Tasks
    sessions: Sessions
    programming: Programming
    turnover: Turnover
    recordings: Recordings
    push: Callable[[str | None, str, Any], None] = lambda _session_id, _event, _data: None
    observer_link: Callable[[Session], str] = lambda _session: ""
