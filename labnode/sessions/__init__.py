"""Sessions of students on the board: starting, active, disposing, disposed."""

from labnode.sessions.observer import Observer
from labnode.sessions.on_board import HOOK_LIMIT
from labnode.sessions.reaper import Reaper
from labnode.sessions.rules import SessionRules
from labnode.sessions.session import Deletion, Reason, Session, StartRequest, State
from labnode.sessions.sessions import Sessions
from labnode.sessions.user import ANONYMOUS, AnonymousUser, User

__all__ = [
    "ANONYMOUS",
    "HOOK_LIMIT",
    "AnonymousUser",
    "Deletion",
    "Observer",
    "Reaper",
    "Reason",
    "Session",
    "SessionRules",
    "Sessions",
    "StartRequest",
    "State",
    "User",
]
