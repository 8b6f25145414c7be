"""The messages of LabDiscoveryEngine where they differ from WebLab-Deusto's."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from labnode.errors import BadInput
from labnode.sessions import Deletion, StartRequest
from labnode.weblab import messages
from labnode.weblab.bodies import get_number, get_object, get_text
from labnode.weblab.slot import elapsed, read_time


def parse_start(fields: dict[str, Any], client: str, wall: float) -> tuple[StartRequest, float]:
    """LabDiscoveryEngine's request for a start, and the skew of the clocks in seconds.

    `wall` is the time now, in seconds since 1970. Raises BadInput with the key (schedule.length).
    """
    asked = _part(fields, "request")
    laboratory = _part(fields, "laboratory")
    user = _part(fields, "user")
    schedule = _part(fields, "schedule")
    length = get_number(schedule, "schedule.length")
    if length is None:
        raise BadInput("schedule.length is missing; expected seconds.")
    if length <= 0:
        raise BadInput(f"schedule.length must be more than 0 seconds, not {length:g}.")
    start = get_text(schedule, "schedule.start")
    # It always writes an offset from UTC; without one, the reading closest to now counts.
    began = None if start is None else read_time("schedule.start", start, [UTC, None], wall)
    past, skew = elapsed(began, length, wall)
    username = get_text(user, "user.username") or ""
    request = StartRequest(
        client=client,
        length=length,
        reservation_id=get_text(asked, "request.ldeReservationId"),
        elapsed=past,
        username=username,
        username_unique=get_text(user, "user.unique") or username,
        full_name=get_text(user, "user.fullName") or "",
        locale=get_text(asked, "request.locale"),
        back=get_text(asked, "request.backUrl"),
        experiment_name=get_text(laboratory, "laboratory.name"),
        category_name=get_text(laboratory, "laboratory.category"),
        client_data=get_object(asked, "request.user"),
        server_data=get_object(asked, "request.server"),
    )
    return request, skew


def deletion(state: Deletion) -> dict[str, Any]:
    """The reply to a delete, of which LabDiscoveryEngine reads `should_finish`.

    Where that is missing, 0.6.0 takes the board for clean; later versions take it out of use until
    a person looks.
    """
    return {"should_finish": -1, **messages.deletion(state)}


def refusal(message: str, status: int) -> dict[str, Any]:
    """The reply to anything that fails.

    LabDiscoveryEngine 0.6.0 does not look at `status`. It reads a reply without `should_finish` as
    "go on" to a poll and as "clean" to a delete. So it has to ask again, except where nothing is.
    """
    state = Deletion.UNKNOWN if status == 404 else Deletion.PENDING
    return {**deletion(state), **messages.failure(message)}


def _part(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """The object called `name`, or {}, its keys prefixed with that name."""
    return {f"{name}.{key}": value for key, value in get_object(fields, name).items()}
