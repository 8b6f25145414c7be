"""What the worker's threads are given to do: calls, hooks and jobs."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from labnode.clock import Event

Job = Callable[[], None]
Source = Callable[[], Job | None]  # the next job of a lane, or None


class Signal:
    """An event that every thread may wait for, the hardware thread too."""

    def __init__(self, event: Event, wake: Callable[[], None]) -> None:
        self.is_set = event.is_set
        self.wait = event.wait
        self._event = event
        self._wake = wake

    def set(self) -> None:
        self._event.set()
        self._wake()


class Call:
    """A function on its way to the hardware thread and its outcome on the way back."""

    def __init__(self, function: Callable[[], Any], done: Signal) -> None:
        self.done = done
        self._function = function
        self._context = contextvars.copy_context()  # the caller's user and task
        self._lock = threading.Lock()
        self._taken = False
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        if self._take():
            try:
                self._result = self._context.run(self._function)
            except Exception as error:  # noqa: BLE001 - raised again where the call was made
                self._error = error
            self.done.set()

    def withdraw(self) -> bool:
        """True when the call had not begun; it never will."""
        return self._take()

    def result(self) -> Any:
        """What the function returned; what it raised is raised."""
        if self._error is not None:
            raise self._error
        return self._result

    def _take(self) -> bool:
        with self._lock:
            taken, self._taken = self._taken, True
        return not taken


class Hook:
    """A start or a clean-up on the hardware thread; no job and no other hook runs meanwhile.

    `finished` is called with None or the exception, on the hardware thread. `limit` is how many
    seconds the function may wait in all; `stopping` asks it to come to an end.
    """

    def __init__(
        self, function: Job, finished: Callable[[Exception | None], None], limit: float
    ) -> None:
        self.limit = limit
        self.deadline = float("inf")
        self.stopping = False
        self._function = function
        self._finished = finished

    def run(self, now: float) -> None:
        self.deadline = now + self.limit
        error: Exception | None = None
        try:
            self._function()
        except Exception as caught:  # noqa: BLE001 - handed to the owner of the hook
            error = caught
        self._finished(error)
