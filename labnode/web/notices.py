"""What students were told lately, for pages that were not open when it was said."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from labnode.events import Bus, Notice

_KEPT = 3  # of a session
_SESSIONS = 32


class Notices:
    """The last notices of each session; those of nobody's session are told and not kept."""

    def __init__(self, bus: Bus) -> None:
        self._news = bus.subscribe(Notice)
        self._lock = threading.Lock()  # of what follows
        self._kept: dict[str, deque[Notice]] = {}  # the latest session last

    def of(self, session_id: str) -> list[dict[str, Any]]:
        """The last ones of a session as JSON, the oldest first."""
        with self._lock:
            for notice in self._news.drain():
                if notice.session_id is not None:
                    kept = self._kept.pop(notice.session_id, deque(maxlen=_KEPT))
                    kept.append(notice)
                    self._kept[notice.session_id] = kept
            while len(self._kept) > _SESSIONS:
                del self._kept[next(iter(self._kept))]
            return [as_json(notice) for notice in self._kept.get(session_id, ())]


def as_json(notice: Notice) -> dict[str, Any]:
    """A notice for a page, in all languages that it has; a page shows each `number` once."""
    return {"number": notice.number, "text": notice.text}
