"""The last lines of the log, kept in memory for the admin page."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

_LONGEST = 2000  # characters of one entry, its traceback included
_SHORTEST_SECRET = 4  # a shorter text is part of many words


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One message of the log; `at` is in seconds since 1970."""

    at: float
    level: str
    logger: str
    text: str


class LogTail(logging.Handler):
    """Keeps the last `most` messages that reach the root logger, from `start` to `stop`.

    It replaces all `secrets`, whatever a library or a lab has logged.
    """

    def __init__(self, secrets: Iterable[str] = (), most: int = 200) -> None:
        super().__init__()
        self._entries: deque[LogEntry] = deque(maxlen=most)
        self._secrets = sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len)[::-1]

    def start(self) -> None:
        logging.getLogger().addHandler(self)

    def stop(self) -> None:
        logging.getLogger().removeHandler(self)

    @property
    def entries(self) -> list[LogEntry]:
        """Oldest first."""
        self.acquire()
        try:
            return list(self._entries)
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)  # the message, and its traceback if it has one
            for secret in self._secrets:
                text = text.replace(secret, "…")
            entry = LogEntry(record.created, record.levelname, record.name, text[:_LONGEST])
        except Exception:  # noqa: BLE001 - as all handlers of logging do
            self.handleError(record)
            return
        self._entries.append(entry)
