"""How tasks, hooks and views wait: never for themselves, and not beyond their own end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Protocol

from labnode import context
from labnode.clock import Clock, Event
from labnode.errors import Deadlock, SessionOver, Stopped, TooLate
from labnode.tasks.runs import Lane, Registry, Run, children_of_thread, kill_processes
from labnode.worker import Worker

log = logging.getLogger(__name__)

_GRACE = 5.0  # seconds after stop() in which a task may go on waiting
_CHILDREN_GRACE = 5.0  # seconds that a task has to end its child processes after stop()
_STOP_GRACE = {Lane.HARDWARE: 10.0, Lane.BACKGROUND: 30.0}  # seconds, then the agent ends itself
_LAST_GRACE = 1.0  # the same when the node stops
_NEVER = Event()

Until = Callable[[], bool] | None


class Waits:
    """Waits for time and for runs, and knows which thread waits for which runs."""

    def __init__(self, registry: Registry, worker: Worker, clock: Clock) -> None:
        self._registry = registry
        self._worker = worker
        self._clock = clock
        self._waiting: dict[int, list[Run]] = {}  # by thread; the latest wait last
        self._seen = threading.local()  # `over`: the session that ended during a wait

    def wait(self, run: Run, seconds: float, until: Until = None) -> bool:
        """See Task.wait and, for `until`, pause()."""
        if self._clock.now() > self._patience(run):
            raise Stopped(f"Task {run.name!r} was asked to stop and did not.")
        return self._let_pass(run.stop, seconds, until)

    def pause(self, seconds: float, until: Until = None) -> bool:
        """Let `seconds` pass in a task, a hook or a view; False as soon as it has to end.

        On the hardware thread it also returns, with True, as soon as `until()` is true. SessionOver
        in a view that waits again after its session has ended.
        """
        run = own_run()
        if run is not None:
            return self.wait(run, seconds, until)
        if self._worker.on_hardware_thread:
            return self._let_pass(_NEVER, seconds, until)
        session = (_session_id(),)
        signal = self._worker.signal()
        with self._registry.watch(*session, signal):
            if signal.is_set() and getattr(self._seen, "over", None) == session:
                raise SessionOver("The session is over.")  # or it might spin forever
            passed = self._let_pass(signal, seconds)
        self._seen.over = None if passed else session
        return passed

    def join(self, run_id: str, timeout: float | None, error_on_timeout: bool) -> None:
        """See Task.join."""
        signal = self._worker.signal()
        me = threading.get_ident()
        with self._registry.lock:
            run = self._registry.unfinished(run_id)
            if run is None:
                return
            self._check_end(run, me)
            run.joiners.append(signal)
            self._waiting.setdefault(me, []).append(run)
        try:
            with self._worker.away():
                self._wait_for(run, signal, timeout)
        finally:
            with self._registry.lock:
                run.joiners.remove(signal)
                self._waiting[me].remove(run)
                if not self._waiting[me]:
                    del self._waiting[me]
        if error_on_timeout and not run.finished.is_set():
            raise TooLate(f"Task {run.name!r} did not finish within {timeout:g} s.")

    def _wait_for(self, run: Run, signal: Event, timeout: float | None) -> None:
        """Return when `run` is finished (`signal` is set) or the time is over.

        Raises if the waiter has to end.
        """
        deadline = float("inf") if timeout is None else self._clock.now() + timeout
        own = own_run()
        with self._woken_to_end(own, signal):
            over = self._let_pass(signal, timeout)
        if over or run.finished.is_set():
            return
        if own is None and not self._worker.on_worker_thread:
            raise SessionOver("The session ended while it waited for a task.")
        if own is not None and own.stop_asked_at is not None:
            until = min(deadline, self._patience(own))
            self._let_pass(run.finished, until - self._clock.now())
            if run.finished.is_set() or self._clock.now() >= deadline:
                return
        raise Stopped(f"The wait for task {run.name!r} was ended: the waiter has to stop.")

    def _patience(self, run: Run) -> float:
        """Until when a run may wait (monotonic)."""
        if run.stop_asked_at is None:
            return float("inf")
        return run.stop_asked_at + (_LAST_GRACE if self._worker.stopping else _GRACE)

    def _let_pass(self, signal: Event, seconds: float | None, until: Until = None) -> bool:
        """True after `seconds`, False as soon as `signal` is set or the hook has to end."""
        if seconds is not None and seconds > threading.TIMEOUT_MAX:  # centuries, or inf
            seconds = None
        with self._noted():
            return self._pass(signal, seconds, until)

    def _pass(self, signal: Event, seconds: float | None, until: Until) -> bool:
        if self._worker.on_hardware_thread:
            if until is None:
                return self._worker.pause(seconds, signal.is_set)
            passed = self._worker.pause(seconds, lambda: signal.is_set() or until())
            return passed or (until() and not signal.is_set())
        return not self._worker.wait_for(signal, seconds)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Inside the block the current task waits, which shows that it does not hang."""
        own = own_run()
        runs = [] if own is None else own.whole()
        for run in runs:
            run.waits_now += 1
        try:
            yield
        finally:
            for run in runs:
                run.waited_at = self._clock.now()
                run.waits_now -= 1

    @contextmanager
    def _woken_to_end(self, own: Run | None, signal: Event) -> Iterator[None]:
        """Inside the block, `signal` is also set when the task or view that waits has to end."""
        if own is not None:
            with self._registry.lock:
                own.waits.append(signal)
                if own.stop_asked_at is not None:
                    signal.set()
            try:
                yield
            finally:
                with self._registry.lock:
                    own.waits.remove(signal)
        elif self._worker.on_worker_thread:  # a hook; the worker knows when it has to end
            yield
        else:
            with self._registry.watch(_session_id(), signal):
                yield

    def _check_end(self, run: Run, me: int) -> None:
        """Deadlock if `run` can end only after this thread `me` has stopped waiting for it."""
        runs, seen = [run], set[int]()
        while runs:
            thread = self._thread_for(runs.pop())
            if thread == me:
                raise Deadlock(
                    f"Task {run.name!r} cannot be waited for here: it would have to wait for this "
                    "very wait to end."
                )
            if thread is not None and thread not in seen:
                seen.add(thread)
                runs += self._waiting.get(thread, ())

    def _thread_for(self, run: Run) -> int | None:
        """The thread without which a run cannot end, None if any thread may run it."""
        if run.may_begin and run.lane is Lane.HARDWARE:
            return self._worker.hardware_thread
        return run.thread


class Stopper(Protocol):
    """The node's tasks."""

    def stop(self, task_id: str) -> None: ...


class Overdue:
    """Tasks that take longer than they may: than their `max_runtime`, or after stop()."""

    def __init__(self, stopper: Stopper, registry: Registry, clock: Clock) -> None:
        self._stopper = stopper
        self._registry = registry
        self._clock = clock

    def stop(self) -> float | None:
        """Ask tasks to stop after their `max_runtime`; kill the processes of those that do not.

        Returns the seconds until there is more to do, None if nothing is limited.
        """
        now = self._clock.now()
        with self._registry.lock:
            working = self._registry.working()
        dues = []
        for run in working:
            if run.stop_asked_at is None and run.due_at <= now:
                log.info("Task %s has reached its max_runtime and is asked to stop.", run.name)
                self._stopper.stop(run.id)
            if run.stop_asked_at is None:
                dues.append(run.due_at)
            elif not run.children_killed:
                dues.append(self._kill_children(run, run.stop_asked_at + _CHILDREN_GRACE, now))
        next_due = min(dues, default=inf)
        return None if next_due == inf else next_due - now

    def _kill_children(self, run: Run, at: float, now: float) -> float:
        """Kill the processes of a run from `at` on; returns when there is more to do."""
        if now < at:
            return at
        run.children_killed = True
        found = children_of_thread(run.native_thread) - run.others_children
        if found and run.working:
            log.warning("Task %s does not stop: its processes are killed.", run.name)
            kill_processes(found)
        return inf

    def fault(self) -> str | None:
        """Which task has not stopped for so long that the agent has to end itself, or None."""
        with self._registry.lock:
            for run in self._registry.working():
                if run.stop_asked_at is None:
                    continue
                waited = self._clock.now() - run.stop_asked_at
                if waited > _STOP_GRACE[run.lane]:
                    return f"task {run.name!r} was asked to stop {waited:.0f} s ago and runs on"
        return None


def own_run() -> Run | None:
    """The run of the current task."""
    task = context.current_task.get()
    return None if task is None else task.inside


def _session_id() -> str | None:
    return getattr(context.current_user.get(), "session_id", None)
