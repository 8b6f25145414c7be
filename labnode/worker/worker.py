"""The hardware thread: opens, polls and closes the board, runs calls, hooks and jobs in turns."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from labnode.clock import Clock
from labnode.errors import Busy, LabnodeError, TooLate
from labnode.worker.background import Background
from labnode.worker.jobs import Call, Hook, Job, Signal, Source
from labnode.worker.seats import Seats

log = logging.getLogger(__name__)

T = TypeVar("T")


class Hardware(Protocol):
    """What the hardware thread owns: a board."""

    def open(self) -> None: ...
    def poll(self) -> float | None: ...
    def close(self) -> None: ...


class Worker:
    """One owner of the hardware, and the way for all others to have something done there.

    `call_timeout` is how long a caller waits for a call, `hung_after` how long a turn may take
    before the hardware counts as without an owner (seconds); `seats` is how many threads of the
    HTTP pool may wait at the same time.
    """

    def __init__(
        self,
        board: Hardware,
        clock: Clock,
        *,
        background: int = 2,
        seats: int = 10,
        call_timeout: float = 5.0,
        hung_after: float = 30.0,
    ) -> None:
        self._board = board
        self._clock = clock
        self._call_timeout = call_timeout
        self._hung_after = hung_after
        self._wake = clock.event()
        self._calls: deque[Job] = deque()
        self._serving = False
        self._hooks: deque[Hook] = deque()
        self._hook: Hook | None = None
        self._busy_since: float | None = None
        self._stopping = False
        self._opened = threading.Event()
        self._error: BaseException | None = None
        self._seats = Seats(seats)
        self._background = Background(background)
        self._thread = threading.Thread(target=self._run, name="hardware", daemon=True)

    # ------------------------------------------------------------------ life

    def start(self, jobs: Source, background_jobs: Source) -> None:
        """Open the board on the hardware thread, then take jobs; the board's error if it fails."""
        self._source = jobs
        self._thread.start()
        if not self._opened.wait(self._hung_after):
            raise TooLate(f"The board did not open within {self._hung_after:g} s.")
        if self._error is not None:
            self._thread.join(self._hung_after)
            raise self._error
        self._background.start(background_jobs)

    def stop(self, timeout: float) -> bool:
        """End all threads, the board closed and so safe; False when one did not end in time."""
        end = self._clock.now() + timeout
        self._stopping = True
        self.wake()
        threads = [*self._background.stop(), *([self._thread] if self._thread.ident else [])]
        for thread in threads:
            thread.join(max(0.0, end - self._clock.now()))
        return not any(thread.is_alive() for thread in threads)

    def fault(self) -> str | None:
        """Why the hardware has no owner any more, or None; any thread may ask."""
        if self._stopping or not self._opened.is_set():
            return None
        if not self._thread.is_alive():
            return f"the hardware thread has died ({self._error!r})"
        since = self._busy_since
        if since is not None and self._clock.now() - since > self._hung_after:
            return f"the hardware thread had no turn for {self._hung_after:g} s"
        return None

    # ------------------------------------------------------------------ asking for work

    def wake(self) -> None:
        """Make the hardware thread look for work."""
        self._wake.set()

    def wake_background(self) -> None:
        """Make the background threads look for work."""
        self._background.wake()

    def post(self, function: Callable[[], None]) -> None:
        """Run `function` on the hardware thread soon; any thread may ask, a pin library's too."""
        self._calls.append(lambda: _logged(function))
        self.wake()

    def call(self, function: Callable[[], T]) -> T:
        """The result of `function`, run on the hardware thread; on that thread itself, at once.

        Busy when it was not done within `call_timeout`; a call that had not begun never will.
        """
        if self.on_hardware_thread:
            return function()
        if self._stopping:
            raise Busy("The node is stopping.")
        call = Call(function, self.signal())
        with self.seat():
            self._calls.append(call.run)
            self.wake()
            if not self.wait_for(call.done, self._call_timeout):
                if call.withdraw():
                    raise Busy("The board is busy and did not answer in time.")
                raise Busy("The board is still working on this; it takes longer than expected.")
        result: T = call.result()
        return result

    def hook(self, hook: Hook) -> None:
        """Queue a start or clean-up; it runs as soon as no job and no other hook runs."""
        self._hooks.append(hook)
        self.wake()

    # ------------------------------------------------------------------ waiting

    @property
    def hardware_thread(self) -> int | None:
        """The identity of the hardware thread, None before start()."""
        return self._thread.ident

    @property
    def on_hardware_thread(self) -> bool:
        return threading.get_ident() == self._thread.ident

    @property
    def on_worker_thread(self) -> bool:
        return self.on_hardware_thread or threading.current_thread() in self._background

    def signal(self) -> Signal:
        """A new event that `wait_for` can wait for."""
        return Signal(self._clock.event(), self.wake)

    def seat(self) -> AbstractContextManager[None]:
        """Room for a thread of the HTTP pool that is going to wait; Busy when half the pool does.

        The other half stays free for those who only ask, above all the central server's status.
        """
        return nullcontext() if self.on_worker_thread else self._seats.taken()

    def wait_for(self, signal: Signal, timeout: float | None) -> bool:
        """True when `signal` is set, False after `timeout` seconds.

        On the hardware thread calls and polls are served meanwhile; a thread of the HTTP pool needs
        a seat (Busy when there is none).
        """
        if self.on_hardware_thread:
            deadline = None if timeout is None else self._clock.now() + timeout
            return self._serve_until(signal.is_set, deadline)
        with self.seat():
            return signal.wait(timeout)

    def pause(self, seconds: float, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Let `seconds` pass on the hardware thread, serving calls and polls.

        False as soon as `stopping()`, or the hook that runs is asked to stop. TooLate when the hook
        has used up its limit.
        """
        hook = self._hook
        deadline = self._clock.now() + seconds
        limit = deadline if hook is None else min(deadline, hook.deadline)

        def over() -> bool:
            return stopping() or self._stopping or (hook is not None and hook.stopping)

        if self._serve_until(over, limit):
            return False
        if hook is not None and limit < deadline:
            raise TooLate(f"A start or clean-up may take {hook.limit:g} s, and they are over.")
        return True

    def _serve_until(self, over: Callable[[], bool], deadline: float | None) -> bool:
        while True:
            self._busy_since = self._clock.now()  # a turn
            self._wake.clear()
            if over():
                return True
            self._serve_calls()
            due = self._board.poll()
            if over():
                return True
            now = self._clock.now()
            if deadline is not None and now >= deadline:
                return False
            self._rest(_earliest(due, None if deadline is None else deadline - now))

    # ------------------------------------------------------------------ the hardware thread

    def _run(self) -> None:
        try:
            self._board.open()
        except BaseException as error:  # noqa: BLE001 - raised again by start()
            self._error = error
            return
        finally:
            self._opened.set()
        try:
            while not self._stopping:
                self._turn()
        except BaseException as error:  # fault() tells it, the agent ends
            self._error = error
            log.critical("The hardware thread dies.", exc_info=True)
        finally:
            _logged(self._board.close)

    def _turn(self) -> None:
        self._busy_since = self._clock.now()
        self._wake.clear()  # before looking, so that what comes meanwhile wakes us again
        self._serve_calls()
        due = self._board.poll()
        if self._hooks:
            self._hook = self._hooks.popleft()
            try:
                self._hook.run(self._clock.now())
            finally:
                self._hook = None
        elif (job := self._source()) is not None:
            job()
        elif not self._stopping:
            self._rest(due)

    def _rest(self, seconds: float | None) -> None:
        self._busy_since = None
        self._wake.wait(seconds)
        self._busy_since = self._clock.now()

    def _serve_calls(self) -> None:
        if self._serving:
            return  # a call that waits lets polls happen, but not other calls: they would nest
        self._serving = True
        try:
            for _ in range(len(self._calls)):  # the present ones: a flood starves no one
                self._calls.popleft()()
        finally:
            self._serving = False


def _earliest(*seconds: float | None) -> float | None:
    return min((s for s in seconds if s is not None), default=None)


def _logged(function: Callable[[], None]) -> None:
    try:
        function()
    except LabnodeError as error:
        log.warning("%s", error)
    except Exception:
        log.exception("The hardware thread could not do something.")
