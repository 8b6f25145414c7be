"""The threads that serve the clients of the control socket, a few at once."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

_THREADS = 8
_WAITING = 32

T = TypeVar("T")


class Pool(Generic[T]):
    """Calls `serve` with what it is given, in that order, on at most eight threads ("NAME-N").

    A thread is there for as long as there is something to serve.
    """

    def __init__(self, name: str, serve: Callable[[T], None]) -> None:
        self._name = name
        self._serve = serve
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._waiting: deque[T] = deque()
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def put(self, item: T) -> bool:
        """Have `item` served; False when too many wait already. Never waits."""
        with self._lock:
            if self._closed or len(self._waiting) >= _WAITING:
                return False
            self._waiting.append(item)
            if len(self._threads) < _THREADS:
                name = f"{self._name}-{next(self._numbers)}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._threads.add(thread)
                thread.start()
        return True

    def close(self) -> tuple[list[T], list[threading.Thread]]:
        """Serve nothing more: what has waited in vain, and the threads that still serve."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            return waiting, list(self._threads)

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._serve(item)
            except BaseException:
                log.exception("A client of the control socket could not be served.")

    def _next(self) -> T | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._threads.discard(threading.current_thread())
            return None
