"""Quarantine: a board that could not be cleaned takes no students until a person clears it."""

from __future__ import annotations

import logging
import threading

from labnode.store import Happening, Store

log = logging.getLogger(__name__)


class Quarantine:
    """Why the board is in quarantine (`why`, None if it is not); survives restarts.

    The first reason stays, because a person has to look at it; only an `urgent` one replaces it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # memory and the order of the writes change together
        self._clearing = threading.Lock()  # one end at a time: its write waits for the disk
        self._ending = False  # until it is stored, or another is imposed
        self.why: str | None = store.recall("quarantine")

    def impose(self, why: str, *, urgent: bool = False) -> None:
        """Allow no new session; does not wait for the disk."""
        log.error("The board is in quarantine: %s", why)
        with self._lock:
            if self.why is None or self._ending or urgent:
                self.why, self._ending = why, False
            happening = Happening("quarantine", detail={"why": why})
            self._store.remember_soon("quarantine", self.why, happening)

    def clear(self) -> None:
        """Somebody says that the board is as it should be; StorageError if that is lost."""
        with self._clearing:
            with self._lock:
                self._ending = True
            try:
                self._store.remember("quarantine", None, Happening("quarantine.cleared"))
            except BaseException:
                self._ending = False
                raise
            with self._lock:
                if self._ending:
                    self.why, self._ending = None, False
                else:  # imposed again meanwhile
                    self._store.remember_soon("quarantine", self.why)
