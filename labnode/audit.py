"""The audit log of session events, one JSON object per line, without data of the student.

It is the setting `lifecycle_log`. Each kind of event has a function whose parameters are all that
it can log: no names, no tokens, no passwords. Sessions appear by their `session_tag`, as in the
other logs; addresses are hashed with a key that changes with each start of the process.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TextIO

_log = logging.getLogger("labnode.audit")
_address_key = secrets.token_bytes(16)  # an unkeyed hash of an address is found by trying them all
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # fromtimestamp() ends in 2038 on a 32-bit system
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")


def session_tag(session_id: str) -> str:
    """What the logs call a session: it tells sessions apart and does not reveal the id."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:8]


def log_to(to: TextIO | logging.Handler | None) -> None:
    """Write the audit log to `to`, separate from all other logs; None switches it off.

    A stream gets lines with the time; a handler also gets the `facts` of each event. Until this is
    called, audit records go to the root logger's handlers.
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
    """A session of the central server `client` is active, for `seconds`."""
    _log_event(
        "started", session=session_tag(session_id), client=_word(client), seconds=round(seconds, 1)
    )


def connected(session_id: str) -> None:
    """The student's browser has opened the session."""
    _log_event("connected", session=session_tag(session_id))


def expired(session_id: str, reason: str) -> None:
    """The node ends a session by itself (its time is up, or nobody polls)."""
    _log_event("expired", session=session_tag(session_id), reason=_word(reason))


def disposed(session_id: str, reason: str | None) -> None:
    """The board is clean again."""
    _log_event("disposed", session=session_tag(session_id), reason=_word(reason))


def quarantined(session_id: str | None) -> None:
    """The board is in quarantine; `session_id` is the session whose clean-up failed, if one did."""
    _log_event("quarantined", session=session_id and session_tag(session_id))


def rejected(
    kind: str, *, status: int, address: str, client: str | None = None, untold: int = 0
) -> None:
    """A central server's request was answered with an error; `client` if it is known.

    `untold` is the number of rejections since the last line that were not logged.
    """
    facts = {"kind": _word(kind), "status": status, "address": _masked(address)}
    _log_event("rejected", **facts, client=_word(client), untold=untold or None)


class _Timed(logging.Formatter):
    """The record's JSON with the time in front."""

    def format(self, record: logging.LogRecord) -> str:
        time = (_EPOCH + timedelta(seconds=record.created)).isoformat(timespec="milliseconds")
        return f'{{"time": "{time}", {record.getMessage()[1:]}'


def _log_event(event: str, **facts: str | float | None) -> None:
    if _log.isEnabledFor(logging.INFO):
        known = {key: value for key, value in facts.items() if value is not None}
        logged = {"event": event, **known}
        _log.info("%s", json.dumps(logged), extra={"facts": logged})


def _masked(address: str) -> str:
    return hmac.new(_address_key, address.encode(), hashlib.sha256).hexdigest()[:8]


def _word(text: str | None) -> str | None:
    """`text` if it is one of the node's own words; anything else is not logged."""
    return text if text is None or _WORD.fullmatch(text) else "?"
