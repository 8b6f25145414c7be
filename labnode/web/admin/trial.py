"""Trying devices by hand while nobody uses the board, and a reset afterwards."""

from __future__ import annotations

import threading
from typing import Any

from labnode.clock import Clock
from labnode.errors import LabnodeError, Occupied
from labnode.lab import Node

_PATIENCE = 60.0  # seconds after the last command: the person may have left


class Trial:
    """Runs devices' commands while no session lives; resets the board a minute after the last.

    A session that begins resets the board by itself.
    """

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._lock = threading.Lock()
        self._over = clock.event()
        self._until: float | None = None  # when to reset what was tried
        self._thread: threading.Thread | None = None

    def command(self, device: str, command: str, arguments: Any) -> Any:
        """Run a device's command; Occupied while a session lives."""

        def do() -> Any:  # on the hardware thread, where sessions begin by resetting the board
            self._need_idle()
            self._watch()
            return self._node.board.command(device, command, arguments)

        return self._node.worker.call(do)

    def reset(self) -> None:
        """Make every device safe; Occupied while a session lives."""

        def do() -> None:
            self._need_idle()
            self._node.board.reset()

        self._node.worker.call(do)
        with self._lock:
            self._until = None
        self._over.set()

    def stop(self, timeout: float) -> bool:
        """The node stops, which makes the devices safe anyway; False when the thread goes on."""
        with self._lock:
            self._until = None
            thread = self._thread
        self._over.set()
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _need_idle(self) -> None:
        if self._node.sessions.live():
            raise Occupied("A student is on the board: its devices are theirs until they leave.")

    def _watch(self) -> None:
        with self._lock:
            self._until = self._clock.now() + _PATIENCE
            if self._thread is None:
                self._thread = threading.Thread(target=self._wait, name="device-trial", daemon=True)
                self._thread.start()

    def _wait(self) -> None:
        while True:
            with self._lock:
                self._over.clear()  # first: a change from here on wakes this thread again
                left = None if self._until is None else self._until - self._clock.now()
                if left is None or left <= 0:
                    self._thread = None
                    break
            self._over.wait(left)
        if left is not None:
            self._node.worker.queue(self._reset_if_idle)

    def _reset_if_idle(self) -> None:
        try:
            self._need_idle()
        except LabnodeError:
            return  # the session has reset the board as it began
        self._node.board.reset()
