"""The messages of the WebLab-Deusto protocol: requests are parsed, replies made as dicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from labnode.errors import BadInput
from labnode.sessions import Deletion, StartRequest
from labnode.weblab.bodies import get_flag, get_number, get_object, get_text, read_json
from labnode.weblab.slot import elapsed, slot_start

_LENGTH = "priority.queue.slot.length"
_MULTIPLE_LIMIT = 10.0  # seconds for status/multiple at most, whatever the server allows

StartParser = Callable[[dict[str, Any], str, float], tuple[StartRequest, float]]
"""How a dialect parses a start: fields, the client's name, the wall clock → request, skew."""


def parse_start(fields: dict[str, Any], client: str, wall: float) -> tuple[StartRequest, float]:
    """WebLab-Deusto's request for a start, and the skew of the clocks in seconds.

    `wall` is the time now, in seconds since 1970. Raises BadInput that names the key. Unknown
    keys are passed to the lab in `server_data`.
    """
    server = get_object(fields, "server_initial_data")
    client_data = get_object(fields, "client_initial_data")
    length = get_number(server, _LENGTH)
    if length is None:
        raise BadInput(f"{_LENGTH} is missing in server_initial_data; expected seconds.")
    if length <= 0:
        raise BadInput(f"{_LENGTH} must be more than 0 seconds, not {length:g}.")
    counts_start = get_flag(server, "priority.queue.slot.initialization_in_accounting", True)
    past, skew = elapsed(slot_start(server, wall), length, wall)
    username = get_text(server, "request.username") or ""
    request = StartRequest(
        client=client,
        length=length,
        # LabDiscoveryEngine uses another key in this dialect.
        reservation_id=get_text(server, "weblab_reservation_id")
        or get_text(server, "reservation_id"),
        elapsed=past if counts_start else 0.0,
        counts_start=counts_start,
        username=username,
        username_unique=get_text(server, "request.username.unique") or username,
        full_name=get_text(server, "request.full_name") or "",
        locale=get_text(server, "request.locale"),
        back=get_text(fields, "back") or get_text(client_data, "back"),
        experiment_name=get_text(server, "request.experiment_id.experiment_name"),
        category_name=get_text(server, "request.experiment_id.category_name"),
        client_data=client_data,
        server_data=server,
    )
    return request, skew


def is_delete(fields: dict[str, Any]) -> bool:
    """Whether a message to a session asks to end it."""
    return bool(fields.get("action") == "delete")


def parse_multiple(fields: dict[str, Any]) -> tuple[list[str], float] | None:
    """The session ids of status/multiple and the seconds it may take; None without ids."""
    ids = fields.get("session_ids")
    if isinstance(ids, str):  # a form
        ids = read_json(ids, "session_ids")
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise BadInput("session_ids must be a list of strings.")
    limit = get_number(fields, "timeout")
    return ids, min(limit, _MULTIPLE_LIMIT) if limit and limit > 0 else _MULTIPLE_LIMIT


API_VERSION = {"api_version": "1"}
UNKNOWN_OPERATION = {"message": "Unknown op"}
MISSING_IDS = {
    "success": False,
    "error_code": "missing-parameters",
    "error_human": "session_ids is missing: expected a list of session ids.",
}


def validity(obstacles: Sequence[str]) -> dict[str, Any]:
    """The reply to `test`: whether the laboratory can be used, or why not."""
    return {"valid": False, "error_messages": list(obstacles)} if obstacles else {"valid": True}


def health(obstacles: Sequence[str], *, in_use: bool) -> dict[str, Any]:
    """The reply to the health checks of central servers.

    A board `in_use` is well, whatever keeps new sessions away: where it is not, WebLab-Deusto takes
    the board and the reservation from the student who is there.
    """
    message = " ".join(obstacles) or "The laboratory is ready."
    return {"found": True, "success": in_use or not obstacles, "message": message}


def failure(message: str) -> dict[str, Any]:
    """The reply to anything that fails."""
    return {"error": True, "success": False, "message": message}


def status(should_finish: float) -> dict[str, Any]:
    """The reply to a status poll."""
    return {"should_finish": _tidy(should_finish)}


def statuses(should_finish: dict[str, float]) -> dict[str, Any]:
    """The reply to status/multiple."""
    return {"status": {key: _tidy(value) for key, value in should_finish.items()}}


def deletion(state: Deletion) -> dict[str, Any]:
    """The reply to a delete.

    It never has a `data` key: WebLab-Deusto takes its value for `finished`.
    """
    match state:
        case Deletion.DONE:
            return {"message": "Deleted", "finished": True, "should_finish": -1}
        case Deletion.PENDING:
            return {"message": "Disposing", "finished": False, "ask_again": 2, "should_finish": 2}
        case Deletion.UNKNOWN:
            return {"message": "Not found"}


def _tidy(value: float) -> float:
    return int(value) if value == int(value) else value  # servers expect 5, not 5.0
