"""How a port is, as any thread may see it, and what its io thread is asked to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """How the port is; replaced as a whole, so that any thread may read it."""

    connected: bool = False
    lent: bool = False
    error: str | None = None  # why it is not connected
    baudrate: int = 0
    path: str | None = None


class Request:
    """Something that the io thread does with the port, and how it went."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.over = threading.Event()
        self.error: Exception | None = None
        self._action = action

    def run(self) -> None:
        try:
            self._action()
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            self.error = error
        self.over.set()
