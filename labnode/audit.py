"""The lifecycle log: what befell each session, one JSON object per line, nothing of its student.

There is a function for each kind of event, and no way to tell more than its parameters: no names,
no tokens, no passwords. Sessions are hashed as in the other logs, so that lines can be brought
together; addresses so that they can be told apart until the next start of the process.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
from datetime import UTC, datetime
from typing import TextIO

_log = logging.getLogger("labnode.audit")
_address_key = secrets.token_bytes(16)  # an unkeyed hash of an address is found by trying them all
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")


def log_to(to: TextIO | logging.Handler | None) -> None:
    """Write the log to `to`, apart from all other logs; None: switch it off.

    To a stream it writes lines with the time; a handler gets the `facts` of each event as well.
    Until this is called its records go where all others go.
    """
    for handler in list(_log.handlers):
        _log.removeHandler(handler)
    _log.disabled = to is None
    _log.propagate = False
    _log.setLevel(logging.INFO)
    if isinstance(to, logging.Handler):
        _log.addHandler(to)
    elif to is not None:
        handler = logging.StreamHandler(to)
        handler.setFormatter(_Timed())
        _log.addHandler(handler)


def started(session_id: str, client: str, seconds: float) -> None:
    """The central server `client` has a board that is ready, for a slot of `seconds`."""
    _tell("started", session=_tag(session_id), client=_word(client), seconds=round(seconds, 1))


def connected(session_id: str) -> None:
    """The student's browser has come."""
    _tell("connected", session=_tag(session_id))


def expired(session_id: str, reason: str) -> None:
    """The node has seen by itself that a session is over."""
    _tell("expired", session=_tag(session_id), reason=_word(reason))


def disposed(session_id: str, reason: str | None) -> None:
    """The board is clean again."""
    _tell("disposed", session=_tag(session_id), reason=_word(reason))


def quarantined(session_id: str | None) -> None:
    """The board could not be cleaned after a session, or is not to be used for another reason."""
    _tell("quarantined", session=_tag(session_id))


def rejected(
    kind: str, *, status: int, address: str, client: str | None = None, untold: int = 0
) -> None:
    """A central server's request was answered with an error; `client` where it is known.

    `untold` is how many others there have been since the last line, which had none of their own.
    """
    facts = {"kind": _word(kind), "status": status, "address": _masked(address)}
    _tell("rejected", **facts, client=_word(client), untold=untold or None)


class _Timed(logging.Formatter):
    """The record's JSON with the time in front."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return f'{{"time": "{time}", {record.getMessage()[1:]}'


def _tell(event: str, **facts: str | float | None) -> None:
    if _log.isEnabledFor(logging.INFO):
        told = {key: value for key, value in facts.items() if value is not None}
        told = {"event": event, **told}
        _log.info("%s", json.dumps(told), extra={"facts": told})


def _tag(session_id: str | None) -> str | None:
    return None if session_id is None else hashlib.sha256(session_id.encode()).hexdigest()[:8]


def _masked(address: str) -> str:
    return hmac.new(_address_key, address.encode(), hashlib.sha256).hexdigest()[:8]


def _word(text: str | None) -> str | None:
    """One of the node's own words; whatever else has strayed in here is not told."""
    return text if text is None or _WORD.fullmatch(text) else "?"
