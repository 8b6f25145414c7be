"""Quarantine: a board that could not be cleaned takes no student until somebody says it may."""

from __future__ import annotations

import logging
import threading

from labnode.errors import LabnodeError
from labnode.store import Happening, Store

log = logging.getLogger(__name__)


class Quarantine:
    """Why the board is in quarantine (`why`, None when it is not); survives restarts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # memory and store change together: neither forgets
        self.why: str | None = store.recall("quarantine")

    def impose(self, why: str) -> None:
        """No new session from now on."""
        log.error("The board is in quarantine: %s", why)
        with self._lock:
            self.why = why
            try:
                happening = Happening("quarantine", detail={"why": why})
                self._store.remember("quarantine", why, happening)
            except LabnodeError as error:
                log.error("The quarantine holds only until the next restart: %s", error)

    def clear(self) -> None:
        """Somebody says that the board is as it should be; StorageError if that is lost."""
        with self._lock:
            self._store.remember("quarantine", None, Happening("quarantine.cleared"))
            self.why = None
