"""Quarantine: a board that could not be cleaned takes no student until somebody says it may."""

from __future__ import annotations

import logging
import threading

from labnode.store import Happening, Store

log = logging.getLogger(__name__)


class Quarantine:
    """Why the board is in quarantine (`why`, None when it is not); survives restarts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # memory and the order of the writes change together
        self.why: str | None = store.recall("quarantine")

    def impose(self, why: str) -> None:
        """No new session from now on; waits for no disk."""
        log.error("The board is in quarantine: %s", why)
        with self._lock:
            self.why = why
            happening = Happening("quarantine", detail={"why": why})
            self._store.remember_soon("quarantine", why, happening)

    def clear(self) -> None:
        """Somebody says that the board is as it should be; StorageError if that is lost."""
        was = self.why
        self._store.remember("quarantine", None, Happening("quarantine.cleared"))
        with self._lock:
            if self.why is was:
                self.why = None
            else:  # imposed again meanwhile
                self._store.remember_soon("quarantine", self.why)
