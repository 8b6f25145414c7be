"""What students may read of an error."""

from __future__ import annotations

import re

from labnode.locale import Message

_DETAILS = re.compile(
    r"\[Errno|(?<![\w.])/(?:dev|sys|proc|run|etc|tmp|opt|home|var)/|\b[A-Z]\w*Error\b"
)


def for_students(message: str) -> str:
    """`message`, unless it names files or errors of the system: the log has those."""
    return str(Message("error.details")) if _DETAILS.search(message) else message
