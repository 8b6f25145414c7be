"""The emergency stop: everything is safe at once and stays so until a person releases it."""

from __future__ import annotations

import logging
import threading

from labnode import audit
from labnode.board import Board
from labnode.errors import Busy
from labnode.events import EmergencyPressed
from labnode.locale import Message
from labnode.sessions import Reason, Sessions
from labnode.store import Happening, Store

log = logging.getLogger(__name__)

_KEY = "estop"  # what the store calls it


class EmergencyStop:
    """One emergency stop for the whole node; it survives restarts.

    `why` is the reason of the first who pressed it, None when it is not pressed.
    """

    def __init__(self, board: Board, sessions: Sessions, store: Store) -> None:
        self._board = board
        self._sessions = sessions
        self._store = store
        self._lock = threading.Lock()  # memory, board and the order of the writes change together
        self._releasing = threading.Lock()  # one release at a time: its write waits for the disk
        self._presses = 0
        self.why: str | None = None
        self._buttons = board.bus.subscribe(EmergencyPressed, wake=self._press_by_button)

    def restore(self) -> None:
        """Stop the board again if the emergency stop was pressed before the restart."""
        stored = self._store.recall(_KEY)
        with self._lock:
            self.why = self.why or stored  # unless it has just been pressed
        if self.why is not None:
            self._board.halt(self.why)

    def press(self, why: str) -> list[str]:
        """Make everything safe, from any thread and without waiting; returns what failed.

        All sessions end, and the board is in quarantine until `release`.
        """
        with self._lock:
            self._presses += 1
            first = self.why is None
            if first:
                self.why = why
                self._board.emergency.begin(why)
                self._store.remember_soon(_KEY, why, Happening("estop", detail={"why": why}))
        failures = self._board.make_safe()
        for failure in failures:
            log.critical("Not safe: %s.", failure)
        if first:
            log.critical("Emergency stop: %s", why)
            audit.quarantined(None)
            self._sessions.quarantine.impose(f"Emergency stop: {why}", urgent=True)
        for session in self._sessions.live():
            self._sessions.end(session, Reason.ESTOP)
        return failures

    def _press_by_button(self) -> None:
        """Runs on the thread that noticed the button and has already made everything safe."""
        for event in self._buttons.drain():
            self.press(event.why)

    def release(self) -> str | None:
        """End the emergency stop because a person asks for it; returns what `why` was.

        Busy while a button is still pressed. The caller clears the quarantine afterwards.
        """
        if pressed := self._pressed():
            names = ", ".join(f"'{name}'" for name in pressed)
            raise Busy(Message("cli.still-pressed", names=names))
        with self._releasing:
            with self._lock:
                before, was = self._presses, self.why
            if was is None:
                return None
            self._store.remember(_KEY, None, Happening("estop.released"))
            with self._lock:
                if self._presses == before:
                    self.why = None
                    self._board.resume()
                    return was
                self._store.remember_soon(_KEY, self.why)
        raise Busy(Message("cli.pressed-again"))

    def _pressed(self) -> list[str]:
        """The emergency stop buttons that are pressed, or cannot be read."""
        devices, snapshot = self._board.file.devices, self._board.snapshot
        buttons = [n for n, d in devices.items() if getattr(d, "role", None) == "estop"]
        return [name for name in buttons if snapshot.get(name, {}).get("value") is not False]
