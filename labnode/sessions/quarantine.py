"""Quarantine: a board that could not be cleaned takes no student until somebody says it may."""

from __future__ import annotations

import logging

from labnode.errors import LabnodeError
from labnode.store import Happening, Store

log = logging.getLogger(__name__)


class Quarantine:
    """Why the board is in quarantine (`why`, None when it is not); survives restarts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.why: str | None = store.recall("quarantine")

    def impose(self, why: str) -> None:
        """No new session from now on."""
        log.error("The board is in quarantine: %s", why)
        self.why = why
        try:
            self._store.remember("quarantine", why, Happening("quarantine", detail={"why": why}))
        except LabnodeError as error:
            log.error("The quarantine holds only until the next restart: %s", error)

    def clear(self) -> None:
        """Somebody says that the board is as it should be; StorageError if that is lost."""
        self._store.remember("quarantine", None, Happening("quarantine.cleared"))
        self.why = None
