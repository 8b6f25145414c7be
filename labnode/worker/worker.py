"""The worker: how other threads run something on the hardware thread, and wait for it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from labnode.clock import Clock, Event
from labnode.errors import Busy, TooLate
from labnode.locale import Message
from labnode.worker.background import Background
from labnode.worker.hardware import Call, Hardware, HardwareThread, Hook, Source, logged

T = TypeVar("T")


class Worker:
    """The hardware thread and the background threads, and how others use them.

    `call_timeout` is how many seconds a caller waits for a call, `hung_after` after how many
    seconds in one turn the hardware thread counts as hung; `slots` is how many threads of the HTTP
    pool may wait at the same time.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        background: int = 2,
        slots: int = 10,
        call_timeout: float = 5.0,
        hung_after: float = 30.0,
    ) -> None:
        self._clock = clock
        self._call_timeout = call_timeout
        self._hung_after = hung_after
        self._wait_limiter = WaitLimiter(slots)
        self._background = Background(background)
        self._hardware = HardwareThread(clock)
        self._thread = self._hardware.thread

    # ------------------------------------------------------------------ life

    def start(self, board: Hardware, jobs: Source, background_jobs: Source) -> None:
        """Open the board on the hardware thread, then take jobs; the board's error if it fails."""
        self._hardware.start(board, jobs)
        if not self._hardware.opened.wait(self._hung_after):
            raise TooLate(f"The board did not open within {self._hung_after:g} s.")
        if self._hardware.error is not None:
            self._thread.join(self._hung_after)
            raise self._hardware.error
        self._background.start(background_jobs)

    def stop(self, timeout: float) -> bool:
        """End all threads, the board closed and so safe; False when one did not end in time."""
        end = self._clock.now() + timeout
        self._hardware.stop()
        threads = [*self._background.stop(), *([self._thread] if self._thread.ident else [])]
        for thread in threads:
            thread.join(max(0.0, end - self._clock.now()))
        return not any(thread.is_alive() for thread in threads)

    @property
    def stopping(self) -> bool:
        return self._hardware.stopping

    @property
    def busy_since(self) -> float | None:
        """Since when the hardware thread does what it does now; None while it rests or stops."""
        return None if self.stopping else self._hardware.busy_since

    def fault(self) -> str | None:
        """Which thread has died or hangs, or None; any thread may ask."""
        if self.stopping or not self._hardware.opened.is_set():
            return None
        if not self._thread.is_alive():
            return f"the hardware thread has died ({self._hardware.error!r})"
        since = self._hardware.busy_since
        if since is not None and self._clock.now() - since > self._hung_after:
            return f"the hardware thread had no turn for {self._hung_after:g} s"
        return self._background.fault()

    # ------------------------------------------------------------------ asking for work

    def post(self, function: Callable[[], None]) -> None:
        """Run `function`, which does not wait, on the hardware thread soon, whatever waits there.

        Any thread may ask, a pin library's too.
        """
        self._hardware.post(function)

    def queue(self, function: Callable[[], None]) -> None:
        """Run `function`, which may wait, on the hardware thread soon (fire-and-forget)."""
        self._hardware.put(Call(lambda: logged(function), self._clock.event()))

    def call(self, function: Callable[[], T], deadline: float = math.inf) -> T:
        """The result of `function`, run on the hardware thread; on that thread itself, at once.

        Busy when it was not done within `call_timeout`; a call that had not begun never will.
        TooLate when it could not begin before `deadline` (of the clock).
        """
        if self.on_hardware_thread:
            return function()
        if self.stopping:
            raise Busy("The node is stopping.")
        call = Call(function, self._clock.event(), deadline)
        with self.slot():
            self._hardware.put(call)
            try:
                result: T = call.collect(self._call_timeout)
            except Busy:
                self.wake()  # if it waits, its wait is over
                raise
        return result

    def hook(self, hook: Hook) -> None:
        """Queue a start or clean-up; it runs as soon as no job and no other hook runs."""
        self._hardware.hook(hook)

    def withdraw(self, hook: Hook) -> None:
        """Nobody waits for `hook` any more: it never begins, or comes to an end soon."""
        hook.withdraw()
        self.wake()

    def wake(self) -> None:
        """Make the hardware thread look for work."""
        self._hardware.wake()

    def wake_background(self) -> None:
        """Make the background threads look for jobs."""
        self._background.wake()

    @property
    def free_hardware(self) -> int:
        """1 while the hardware thread would take a job."""
        return int(self._hardware.free)

    @property
    def free_background(self) -> int:
        """How many background threads wait for a job."""
        return self._background.free

    # ------------------------------------------------------------------ waiting

    @property
    def hardware_thread(self) -> int | None:
        """The identity of the hardware thread, None before start()."""
        return self._thread.ident

    @property
    def on_hardware_thread(self) -> bool:
        return self._hardware.is_current

    @property
    def on_worker_thread(self) -> bool:
        return self.on_hardware_thread or threading.current_thread() in self._background

    def signal(self) -> Event:
        """A new event that `wait_for` can wait for."""
        return self._clock.event(on_set=self._hardware.wake_waits)

    def slot(self) -> AbstractContextManager[None]:
        """Inside the block a thread of the HTTP pool may wait; Busy when half the pool does.

        The other half stays free for quick requests, above all the central server's status.
        """
        return nullcontext() if self.on_worker_thread else self._wait_limiter.slot()

    def without_slot(self) -> AbstractContextManager[None]:
        """Inside the block a thread that is not of the HTTP pool waits without a slot."""
        return self._wait_limiter.exempt()

    def away(self) -> AbstractContextManager[None]:
        """Inside the block this thread waits for a task; in the background another takes its place.

        Deadlock when too many wait there.
        """
        if threading.current_thread() in self._background:
            return self._background.away()
        return nullcontext()

    def wait_for(self, signal: Event, timeout: float | None) -> bool:
        """True when `signal` is set, False after `timeout` seconds.

        On the hardware thread calls and polls are served meanwhile, and the wait ends when the node
        stops; a thread of the HTTP pool needs a slot (Busy when none is free).
        """
        if self.on_hardware_thread:
            self._hardware.serve_until(lambda: signal.is_set() or self.stopping, timeout)
            return signal.is_set()
        with self.slot():
            return signal.wait(timeout)

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        """Serve calls and polls on the hardware thread until it is `over()`; False after `seconds`.

        No stop ends this: it is for the short end of what was asked to stop.
        """
        return self._hardware.serve_until(over, seconds)

    def pause(self, seconds: float | None, over: Callable[[], bool] = lambda: False) -> bool:
        """Let `seconds` pass on the hardware thread, serving calls and polls.

        False as soon as it is `over()`, or the hook that runs is asked to stop, or the node stops,
        or nobody waits any more for the call that runs.
        TooLate when the hook has used up its limit; Stopped when it pauses again long after it was
        asked to stop.
        """
        return self._hardware.pause(seconds, over)


class WaitLimiter:
    """At most `number` threads wait at the same time; nested waits of a thread share its slot."""

    def __init__(self, number: int) -> None:
        self._free = threading.BoundedSemaphore(number)
        self._mine = threading.local()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Inside the block the thread may wait; Busy when no slot is free."""
        if getattr(self._mine, "may_wait", False):
            yield
            return
        if not self._free.acquire(blocking=False):
            raise Busy(Message("error.many-requests"))
        try:
            with self.exempt():
                yield
        finally:
            self._free.release()

    @contextmanager
    def exempt(self) -> Iterator[None]:
        """Inside the block this thread waits without a slot."""
        self._mine.may_wait = True
        try:
            yield
        finally:
            self._mine.may_wait = False
