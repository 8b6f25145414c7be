"""Calls: short functions that other threads have the hardware thread run between its turns."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from labnode.errors import Busy
from labnode.worker.jobs import harmless


class Call:
    """A function on its way to the hardware thread and its outcome on the way back.

    `done` is called when there is an outcome.
    """

    def __init__(self, function: Callable[[], Any], done: Callable[[], None]) -> None:
        self._function = function
        self._done = done
        self._context = contextvars.copy_context()  # the caller's user and task
        self._lock = threading.Lock()
        self.abandoned = False  # whoever made it waits no longer, so it must not wait either
        self._taken = False
        self._over = False
        self._result: Any = None
        self._error: Exception | None = None

    def run(self) -> None:
        """Run the function, unless somebody has collected the call already."""
        if self._take():
            try:
                self._result = self._context.run(self._function)
            except BaseException as error:  # noqa: BLE001 - raised again where the call was made
                self._error = harmless(error)
            self._end()

    def refuse(self, error: Exception) -> None:
        """Have the caller get `error`; the function will not run."""
        if self._take():
            self._error = error
            self._end()

    def collect(self) -> Any:
        """What the function returned; what it raised is raised.

        Busy when it has not come to its end; if it had not begun, it never will.
        """
        begun = not self._take()
        if not self._over and begun:
            self.abandoned = True
            raise Busy("The board is still working on this; it takes longer than expected.")
        if not self._over:
            raise Busy("The board is busy and did not answer in time.")
        if self._error is not None:
            raise self._error
        return self._result

    def _take(self) -> bool:
        with self._lock:
            taken, self._taken = self._taken, True
        return not taken

    def _end(self) -> None:
        self._over = True
        self._done()


class Calls:
    """The calls that wait; `wake` makes the hardware thread serve them."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._queue: deque[Call] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._serving = False
        self._current: Call | None = None

    def put(self, call: Call) -> None:
        with self._lock:
            closed = self._closed
            if not closed:
                self._queue.append(call)
        if closed:
            call.refuse(_stopping())
        self._wake()

    @property
    def abandoned(self) -> bool:
        """Whether a call is being run whose caller has gone."""
        return self._current is not None and self._current.abandoned

    def serve(self) -> None:
        """Run the calls that are waiting now; what comes meanwhile has to wait for the next turn.

        A call that waits lets polls happen, but not other calls: they would nest.
        """
        if self._serving:
            return
        self._serving = True
        try:
            for _ in range(len(self._queue)):  # the present ones: a flood starves no one
                self._current = self._queue.popleft()
                self._current.run()
        finally:
            self._serving = False
            self._current = None
        if self._queue:
            self._wake()  # the wake-up of what came while a call waited has been used up by it

    def close(self) -> None:
        """Refuse all calls from now on: nobody serves them any more."""
        with self._lock:
            self._closed = True
        while self._queue:
            self._queue.popleft().refuse(_stopping())


def _stopping() -> Busy:
    return Busy("The node is stopping.")
