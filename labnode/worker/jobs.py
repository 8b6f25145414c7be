"""What the worker's threads are given to do, and signals that every thread may wait for."""

from __future__ import annotations

from collections.abc import Callable

from labnode.clock import Event
from labnode.errors import LabnodeError

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
        self.told_at: float | None = None  # when it first saw that it shall end
        self._function = function
        self._finished = finished

    def run(self, now: float) -> None:
        self.deadline = now + self.limit
        error: Exception | None = None
        try:
            self._function()
        except BaseException as caught:  # noqa: BLE001 - handed to the owner of the hook
            error = harmless(caught)
        self._finished(error)


def harmless(error: BaseException) -> Exception:
    """`error` for another thread: sys.exit() in a lab's function ends that function alone."""
    if isinstance(error, Exception):
        return error
    return LabnodeError(f"It was ended by {error!r}.")
