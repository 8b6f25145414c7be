"""The running node as a lab and the web pages see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from labnode.board import Board
from labnode.lab.programming import Programming
from labnode.lab.recordings import Recordings
from labnode.lab.sequences import Sequences
from labnode.sessions import Session, Sessions
from labnode.tasks import Tasks
from labnode.worker import Worker

Level = Literal["active", "login", "public"]
"""Who may use a route: the student whose turn it is, also after the time is up, anybody."""


class Pages(Protocol):
    """The open pages of students."""

    def push(self, session_id: str | None, event: str, data: Any) -> None:
        """Send an event to the WebSockets of one session, or of all."""


class ObserverLinks(Protocol):
    def link(self, session: Session) -> str:
        """An address to watch a session at."""


@dataclass(frozen=True)
class Node:
    """The running node that a lab belongs to."""

    board: Board
    worker: Worker
    tasks: Tasks
    sessions: Sessions
    programming: Programming
    sequences: Sequences
    recordings: Recordings
    pages: Pages
    observers: ObserverLinks
