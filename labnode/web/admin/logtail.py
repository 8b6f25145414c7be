"""The last lines of the log, kept in memory for the admin page."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

_LONGEST = 2000  # characters of one entry, its traceback included
_SHORTEST_SECRET = 4  # what is shorter stands in every other word


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the log; `at` is in seconds since 1970."""

    at: float
    level: str
    logger: str
    text: str


class LogTail(logging.Handler):
    """Keeps the last `most` messages that reach the root logger, from `start` to `stop`.

    None of the `secrets` is in what it keeps, whatever a library or a lab may have logged.
    """

    def __init__(self, secrets: Iterable[str] = (), most: int = 200) -> None:
        super().__init__()
        self._entries: deque[Entry] = deque(maxlen=most)
        self._secrets = sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len)[::-1]

    def start(self) -> None:
        logging.getLogger().addHandler(self)

    def stop(self) -> None:
        logging.getLogger().removeHandler(self)

    @property
    def entries(self) -> list[Entry]:
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
            entry = Entry(record.created, record.levelname, record.name, text[:_LONGEST])
        except Exception:  # noqa: BLE001 - as every handler of logging does it
            self.handleError(record)
            return
        self._entries.append(entry)
