"""Sessions of students on the board: starting, active, disposing, disposed."""

from labnode.sessions.expiry import Reaper, SessionRules
from labnode.sessions.session import Deletion, Reason, Session, StartRequest, State
from labnode.sessions.sessions import Sessions
from labnode.sessions.state_machine import HOOK_LIMIT
from labnode.sessions.users import ANONYMOUS, AnonymousUser, LabHooks, Observer, User

__all__ = [
    "ANONYMOUS",
    "HOOK_LIMIT",
    "AnonymousUser",
    "Deletion",
    "LabHooks",
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
