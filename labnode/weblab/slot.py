"""When a student's slot began, in all formats that servers use, and how much of it is over."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from labnode.errors import BadInput
from labnode.weblab.bodies import get_number, get_text, shown

_START = "priority.queue.slot.start"
_TOLERATED_SKEW = 5.0  # seconds that a server's clock may be ahead without a warning


def elapsed(start: float | None, length: float, wall: float) -> tuple[float, float]:
    """The seconds of the slot that are over at `wall`, and the skew of the clocks.

    A start that would leave nothing of the slot, or that is in the future, says more about the
    clocks than about the slot: then nothing of it is over, and the skew is how far they differ.
    """
    past = 0.0 if start is None else wall - start
    if 0 <= past < length:
        return past, 0.0
    return 0.0, 0.0 if -_TOLERATED_SKEW <= past < 0 else past


def slot_start(server: dict[str, Any], wall: float) -> float | None:
    """When the slot began, in seconds since 1970, by the best of the keys; None without any."""
    if (stamp := get_number(server, f"{_START}.timestamp")) is not None:
        return stamp
    if (utc := get_text(server, f"{_START}.utc")) is not None:
        return read_time(f"{_START}.utc", utc, [UTC], wall)
    if (local := get_text(server, _START)) is not None:
        return read_time(_START, local, _zones(server), wall)
    return None


def read_time(key: str, text: str, zones: list[tzinfo | None], wall: float) -> float:
    """The seconds since 1970 of an ISO 8601 time, read in the zone that puts it closest to now.

    A time with an offset from UTC keeps it. None in `zones` is the node's own zone.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        readings = [moment] if moment.tzinfo else [moment.replace(tzinfo=zone) for zone in zones]
        return min((m.timestamp() for m in readings), key=lambda start: abs(wall - start))
    except (ValueError, OverflowError, OSError):
        raise BadInput(
            f"{key} must be a time such as 2026-01-31 09:30:00.5, not {shown(text)}."
        ) from None


def _zones(server: dict[str, Any]) -> list[tzinfo | None]:
    """The zones that `.start.timezone` may mean.

    WebLab-Deusto sends "0" in UTC; neither the unit nor the sign is documented (Python's
    `time.timezone` counts westwards, ISO 8601 eastwards), so both signs are possible.
    """
    key = f"{_START}.timezone"
    value = server.get(key)
    if value is None or value == "":
        return [None]
    try:
        if isinstance(value, str) and re.search(r"[A-Za-z:]|^[+-](0\d|1[0-4])\d\d$", value):
            return [_named_zone(value)]
        number = get_number(server, key) or 0.0
        offset = timedelta(hours=number) if abs(number) <= 14 else timedelta(seconds=number)
        return [timezone(offset), timezone(-offset)]
    except (KeyError, ValueError, OverflowError, OSError):
        raise BadInput(
            f"{key} must be an offset from UTC or a name such as Europe/Madrid, not {shown(value)}."
        ) from None


def _named_zone(name: str) -> tzinfo | None:
    if re.fullmatch(r"Z|[+-]\d\d:?\d\d", name):
        return datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo
    return ZoneInfo(name)
