"""The hardware thread: opens, polls and closes the board, runs calls, hooks and jobs in turns."""

from __future__ import annotations

import contextvars
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from labnode.clock import Clock, Event, earliest
from labnode.errors import Busy, LabnodeError, Stopped, TooLate
from labnode.locale import Message

log = logging.getLogger(__name__)

_BATCH = 20  # posts in a turn; then calls and polls have theirs
_RETRY = 1.0  # seconds until the board or the queue is asked again after it failed
_HOOK_GRACE = 5.0  # seconds in which a hook that was asked to stop may go on waiting
_STOP_GRACE = 1.0  # the same for everything on this thread when the node stops

Job = Callable[[], None]
Source = Callable[[], Job | None]  # the next job of a lane, or None


class Hardware(Protocol):
    """What the hardware thread owns: a board."""

    def open(self) -> None: ...
    def poll(self) -> float | None: ...
    def close(self) -> None: ...


class HardwareThread:
    """The one thread that touches the board, from its opening to its closing.

    `opened` is set when the board has been opened, or not: then `error` says why, as it does when
    the thread dies. `busy_since` is when it began what it does now, None while it rests. `free` is
    whether it would take a job.
    """

    def __init__(self, clock: Clock) -> None:
        self.opened = threading.Event()
        self.error: BaseException | None = None
        self.busy_since: float | None = None
        self.free = False  # it rests and would take a job
        self.stopping = False
        self.thread = threading.Thread(target=self._run, name="hardware", daemon=True)
        self._clock = clock
        self._stopped_at = 0.0
        self._wake = clock.event()
        self._posts: deque[Callable[[], None]] = deque()
        self._calls: deque[Call] = deque()
        self._calls_lock = threading.Lock()
        self._takes_calls = True
        self._call: Call | None = None  # the one that runs
        self._hooks: deque[Hook] = deque()
        self._hook: Hook | None = None  # the one that runs
        self._polling = False
        self._waits = 0  # of hooks, jobs and calls, one inside the other

    def start(self, board: Hardware, jobs: Source) -> None:
        self._board = board
        self._source = jobs
        self.thread.start()

    def stop(self) -> None:
        """Have the thread close the board and end."""
        self._stopped_at = self._clock.now()
        self.stopping = True
        self.wake()

    @property
    def is_current(self) -> bool:
        """Is this the thread that asks?"""
        return threading.current_thread() is self.thread

    # ------------------------------------------------------------------ from any thread

    def wake(self) -> None:
        """Make it look for work."""
        self._wake.set()

    def post(self, function: Callable[[], None]) -> None:
        """Run `function`, which does not wait, in the next turn or the wait that is going on."""
        self._posts.append(function)
        self.wake()

    def put(self, call: Call) -> None:
        """Run `call` in one of the next turns."""
        with self._calls_lock:
            if self._takes_calls:
                self._calls.append(call)
        if not self._takes_calls:
            call.refuse()
        self.wake()

    def wake_waits(self) -> None:
        """Something that a hook, a job or a call may wait for is there."""
        if self._waits:
            self.wake()

    def hook(self, hook: Hook) -> None:
        """Run `hook` as soon as no job and no other hook runs."""
        self._hooks.append(hook)
        self.wake()

    # ------------------------------------------------------------------ turns

    def _run(self) -> None:
        try:
            self._board.open()
        except BaseException as error:  # noqa: BLE001 - raised again where the start was asked for
            self.error = error
            self._refuse_calls()
            return
        finally:
            self.opened.set()
        try:
            while not self.stopping:
                self._turn()
        except BaseException as error:  # fault() reports it, the agent ends
            self.error = error
            log.critical("The hardware thread dies.", exc_info=True)
        finally:
            self._refuse_calls()
            logged(self._board.close)

    def _turn(self) -> None:
        due = None
        # What is posted by now comes before a hook or a job; what is posted meanwhile may wait.
        for _ in range(0, max(1, len(self._posts)), _BATCH):
            self.busy_since = self._clock.now()
            self._wake.clear()
            due = self._serve()
        self.busy_since = self._clock.now()
        if self._hooks:
            self._hook = self._hooks.popleft()
            try:
                self._hook.run(self._clock.now())
            finally:
                self._hook = None
        elif (job := self._next_job()) is not None:
            job()
        elif not self.stopping:
            self.free = True
            self._rest(due)
            self.free = False

    def _next_job(self) -> Job | None:
        try:
            return self._source()
        except Exception:
            log.exception("The queue of the hardware thread does not work; it is tried again.")
            return lambda: self._rest(_RETRY)

    def _rest(self, seconds: float | None) -> None:
        self.busy_since = None
        self._wake.wait(seconds)
        self.busy_since = self._clock.now()

    def _serve(self) -> float | None:
        """Run some posts, waiting calls and due polls; seconds until the next poll.

        While a call waits, no other begins. Posts still run, or interlocks would miss what pins and
        devices report.
        """
        hook, self._hook = self._hook, None  # what is served is not a part of the hook that waits
        try:
            for _ in range(min(_BATCH, len(self._posts))):  # a flood starves no one
                if self._posts:
                    contextvars.Context().run(logged, self._posts.popleft())
            if self._call is None:
                self._serve_calls()
            return None if self._polling else self._poll()
        finally:
            self._hook = hook
            if self._posts:
                self.wake()  # their own wake-up may be used up

    def _serve_calls(self) -> None:
        """Run the calls that wait now; those that come meanwhile wait for the next turn."""
        try:
            for _ in range(len(self._calls)):
                self._call = self._calls.popleft()
                self.busy_since = now = self._clock.now()  # many calls of one turn are no hang
                self._call.run(now)
        finally:
            self._call = None
        if self._calls:
            self.wake()  # a call that waited has used up their wake-up

    def _refuse_calls(self) -> None:
        with self._calls_lock:
            self._takes_calls = False
        while self._calls:
            self._calls.popleft().refuse()

    def _poll(self) -> float | None:
        self._polling = True  # a poll that waits must not be begun again
        try:
            return contextvars.Context().run(self._board.poll)  # not by the task that waits
        except Exception:
            log.exception("The board could not be polled.")
            return _RETRY
        finally:
            self._polling = False

    # ------------------------------------------------------------------ waiting, on this thread

    def pause(self, seconds: float | None, over: Callable[[], bool]) -> bool:
        """See Worker.pause."""
        hook = self._hook
        left = None if hook is None else hook.deadline - self._clock.now()
        limited = left is not None and (seconds is None or left < seconds)

        def ended() -> bool:
            abandoned = self._call is not None and self._call.abandoned
            return over() or self.stopping or abandoned or (hook is not None and hook.stopping)

        if self.serve_until(ended, left if limited else seconds):
            self._check_grace(hook)
            return False
        if hook is not None and limited:
            raise TooLate(f"A start or clean-up may take {hook.limit:g} s, and they are over.")
        return True

    def serve_until(self, over: Callable[[], bool], seconds: float | None) -> bool:
        """True as soon as it is `over()`, False after `seconds`; calls and polls are served."""
        deadline = None if seconds is None else self._clock.now() + seconds
        self._waits += 1
        try:
            while True:
                self.busy_since = self._clock.now()  # a turn
                self._wake.clear()  # before looking, so that what comes meanwhile wakes us again
                due = self._serve()  # even if over: a loop of short waits must not starve others
                if over():
                    return True
                now = self._clock.now()
                if deadline is not None and now >= deadline:
                    return False
                self._rest(earliest(due, None if deadline is None else deadline - now))
        finally:
            self._waits -= 1

    def _check_grace(self, hook: Hook | None) -> None:
        """Raise Stopped when the hook or the node was asked to stop long ago."""
        now = self._clock.now()
        if self.stopping and now - self._stopped_at > _STOP_GRACE:
            raise Stopped("The node is stopping.")
        if hook is not None and hook.stopping:
            hook.noticed_at = now if hook.noticed_at is None else hook.noticed_at
            if now - hook.noticed_at > _HOOK_GRACE:
                raise Stopped("A start or clean-up was asked to stop and did not.")


class Call:
    """A function on its way to the hardware thread and its outcome on the way back.

    `done` is set when there is an outcome. The function never begins after `deadline`.
    """

    def __init__(
        self, function: Callable[[], Any], done: Event, deadline: float = math.inf
    ) -> None:
        self.abandoned = False  # nobody waits for it any more, so it must not wait either
        self._function = function
        self._done = done
        self._deadline = deadline
        self._context = contextvars.copy_context()  # the caller's user and task
        self._claim = threading.Lock()  # the first to get it runs, refuses or withdraws the call
        self._result: Any = None
        self._error: Exception | None = None

    def run(self, now: float) -> None:
        """Run the function, unless it is too late or the call has been collected already."""
        if self._claim.acquire(blocking=False):
            try:
                check_in_time(self._deadline, now)
                self._result = self._context.run(self._function)
            except BaseException as error:  # noqa: BLE001 - raised again where the call was made
                self._error = harmless(error)
            self._done.set()

    def refuse(self) -> None:
        """The node stops: the function never runs, and its caller gets Busy."""
        if self._claim.acquire(blocking=False):
            self._error = Busy("The node is stopping.")
            self._done.set()

    def collect(self, timeout: float) -> Any:
        """What the function returned; what it raised is raised. Called once.

        Busy when it has not ended within `timeout` seconds; if it had not begun, it never will.
        """
        if not self._done.wait(timeout):
            if self._claim.acquire(blocking=False):
                raise Busy(Message("error.no-answer"))
            if not self._done.is_set():
                self.abandoned = True
                raise Busy(Message("error.takes-long"))
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # it refers to this frame, and would keep the request
        return self._result


def check_in_time(deadline: float, now: float) -> None:
    """TooLate when nobody waits any more for what is to be done."""
    if now > deadline:
        raise TooLate(Message("error.too-late"))


class Hook:
    """A start or a clean-up on the hardware thread; no job and no other hook runs meanwhile.

    `finished` is called with None or the exception, on the hardware thread. `limit` is how many
    seconds the function may wait in all; `stopping` asks it to end.
    """

    def __init__(
        self, function: Job, finished: Callable[[Exception | None], None], limit: float
    ) -> None:
        self.limit = limit
        self.deadline = float("inf")
        self.stopping = False
        self.noticed_at: float | None = None  # when `stopping` first ended one of its waits
        self._function = function
        self._finished = finished
        self._claim = threading.Lock()  # the first to get it runs or withdraws the hook

    def run(self, now: float) -> None:
        """Run the function, unless the hook has been withdrawn."""
        if not self._claim.acquire(blocking=False):
            return
        self.deadline = now + self.limit
        error: Exception | None = None
        try:
            self._function()
        except BaseException as caught:  # noqa: BLE001 - given to `finished`
            error = harmless(caught)
        self._finished(error)

    def withdraw(self) -> None:
        """It never runs, and `finished` is never called; one that has begun is asked to stop."""
        self._claim.acquire(blocking=False)
        self.stopping = True


def harmless(error: BaseException) -> Exception:
    """`error` for another thread: sys.exit() in a lab's function ends that function alone."""
    if isinstance(error, Exception):
        return error
    return LabnodeError(f"It was ended by {error!r}.")


def logged(function: Callable[[], None]) -> None:
    """Call a function; what it raises is only logged."""
    try:
        function()
    except LabnodeError as error:
        log.warning("%s", error)
    except BaseException:
        log.exception("The hardware thread could not do something.")
