"""The hardware thread: opens, polls and closes the board, runs calls, hooks and jobs in turns."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from labnode.clock import Clock, Event
from labnode.errors import Busy, LabnodeError, Stopped, TooLate

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
        self._lock = threading.Lock()
        self._taken = False

    def run(self, now: float) -> None:
        """Run the function, unless the hook has been withdrawn."""
        if not self._take():
            return
        self.deadline = now + self.limit
        error: Exception | None = None
        try:
            self._function()
        except BaseException as caught:  # noqa: BLE001 - handed to the owner of the hook
            error = harmless(caught)
        self._finished(error)

    def withdraw(self) -> None:
        """It never runs, and never is `finished`; one that has begun is asked to stop."""
        self._take()
        self.stopping = True

    def _take(self) -> bool:
        with self._lock:
            taken, self._taken = self._taken, True
        return not taken


def harmless(error: BaseException) -> Exception:
    """`error` for another thread: sys.exit() in a lab's function ends that function alone."""
    if isinstance(error, Exception):
        return error
    return LabnodeError(f"It was ended by {error!r}.")


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


log = logging.getLogger(__name__)

_BATCH = 20  # posts in a turn; then calls and polls have theirs
_RETRY = 1.0  # seconds until the board or the queue is asked again after it failed
_HOOK_GRACE = 5.0  # seconds in which a hook that shall end may go on waiting
_STOP_GRACE = 1.0  # the same for everything on this thread when the node stops


class Hardware(Protocol):
    """What the hardware thread owns: a board."""

    def open(self) -> None: ...
    def poll(self) -> float | None: ...
    def close(self) -> None: ...


class HardwareThread:
    """The one thread that touches the board, from its opening to its closing.

    `opened` is set when the board has been opened, or not: then `error` says why, as it does when
    the thread dies. `busy_since` is when its turn began, None while it rests.
    """

    def __init__(self, board: Hardware, clock: Clock) -> None:
        self.opened = threading.Event()
        self.error: BaseException | None = None
        self.busy_since: float | None = None
        self.stopping = False
        self.thread = threading.Thread(target=self._run, name="hardware", daemon=True)
        self._board = board
        self._clock = clock
        self._stopped_at = 0.0
        self._wake = clock.event()
        self._calls = Calls(self.wake)
        self._posts: deque[Callable[[], None]] = deque()
        self._hooks: deque[Hook] = deque()
        self._hook: Hook | None = None
        self._polling = False

    def start(self, jobs: Source) -> None:
        self._source = jobs
        self.thread.start()

    def stop(self) -> None:
        """Have the thread close the board and end."""
        self._stopped_at = self._clock.now()
        self.stopping = True
        self.wake()

    @property
    def is_here(self) -> bool:
        """Is this the thread that asks?"""
        return threading.current_thread() is self.thread

    def wake(self) -> None:
        """Make it look for work."""
        self._wake.set()

    def post(self, function: Callable[[], None]) -> None:
        """Run `function`, which does not wait, in the next turn or the wait that is going on."""
        self._posts.append(function)
        self.wake()

    def put(self, call: Call) -> None:
        """Run `call` in one of the next turns."""
        self._calls.put(call)

    def hook(self, hook: Hook) -> None:
        """Run `hook` as soon as no job and no other hook runs."""
        self._hooks.append(hook)
        self.wake()

    # ------------------------------------------------------------------ waiting, on this thread

    def pause(self, seconds: float | None, over: Callable[[], bool]) -> bool:
        """See Worker.pause."""
        hook = self._hook
        left = None if hook is None else hook.deadline - self._clock.now()
        limited = left is not None and (seconds is None or left < seconds)

        def ended() -> bool:
            stopping = self.stopping or self._calls.abandoned
            return over() or stopping or (hook is not None and hook.stopping)

        if self.serve_until(ended, left if limited else seconds):
            self._insist(hook)
            return False
        if hook is not None and limited:
            raise TooLate(f"A start or clean-up may take {hook.limit:g} s, and they are over.")
        return True

    def serve_until(self, over: Callable[[], bool], seconds: float | None) -> bool:
        """True as soon as it is `over()`, False after `seconds`; calls and polls are served."""
        deadline = None if seconds is None else self._clock.now() + seconds
        while True:
            self.busy_since = self._clock.now()  # a turn
            self._wake.clear()  # before looking, so that what comes meanwhile wakes us again
            due = self._serve()  # also when it is over: nobody has to wait for those who spin
            if over():
                return True
            now = self._clock.now()
            if deadline is not None and now >= deadline:
                return False
            self._rest(_earliest(due, None if deadline is None else deadline - now))

    def _insist(self, hook: Hook | None) -> None:
        """End what was asked to stop long ago and goes on waiting."""
        now = self._clock.now()
        if self.stopping and now - self._stopped_at > _STOP_GRACE:
            raise Stopped("The node is stopping.")
        if hook is not None and hook.stopping:
            hook.told_at = now if hook.told_at is None else hook.told_at
            if now - hook.told_at > _HOOK_GRACE:
                raise Stopped("A start or clean-up was asked to stop and did not.")

    # ------------------------------------------------------------------ turns

    def _run(self) -> None:
        try:
            self._board.open()
        except BaseException as error:  # noqa: BLE001 - raised again where the start was asked for
            self.error = error
            self._calls.close()
            return
        finally:
            self.opened.set()
        try:
            while not self.stopping:
                self._turn()
        except BaseException as error:  # fault() tells it, the agent ends
            self.error = error
            log.critical("The hardware thread dies.", exc_info=True)
        finally:
            self._calls.close()
            logged(self._board.close)

    def _turn(self) -> None:
        due = None
        # What is posted now comes before a hook or a job, what is posted meanwhile may come after.
        for _ in range(0, max(1, len(self._posts)), _BATCH):
            self.busy_since = self._clock.now()
            self._wake.clear()
            due = self._serve()
        if self._hooks:
            self._hook = self._hooks.popleft()
            try:
                self._hook.run(self._clock.now())
            finally:
                self._hook = None
        elif (job := self._next_job()) is not None:
            job()
        elif not self.stopping:
            self._rest(due)

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
        """Run some posts, the calls that wait, and the polls that are due; when to poll again.

        While a call waits, no other is begun; but what pins and devices tell is always heard, or
        an interlock would not see it.
        """
        hook, self._hook = self._hook, None  # what is served is no part of the hook that waits
        try:
            for _ in range(min(_BATCH, len(self._posts))):  # a flood starves no one
                if self._posts:
                    contextvars.Context().run(logged, self._posts.popleft())
            self._calls.serve()
            return None if self._polling else self._poll()
        finally:
            self._hook = hook
            if self._posts:
                self.wake()  # their own wake-up may be used up

    def _poll(self) -> float | None:
        self._polling = True  # a poll that waits must not be begun again
        try:
            return contextvars.Context().run(self._board.poll)  # not by the task that waits
        except Exception:
            log.exception("The board could not be polled.")
            return _RETRY
        finally:
            self._polling = False


def logged(function: Callable[[], None]) -> None:
    """Call a function whose failure is nobody's but the log's."""
    try:
        function()
    except LabnodeError as error:
        log.warning("%s", error)
    except BaseException:
        log.exception("The hardware thread could not do something.")


def _earliest(*seconds: float | None) -> float | None:
    return min((s for s in seconds if s is not None), default=None)
