"""Waiting for tasks so that nothing ever waits for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

from labnode import context
from labnode.clock import Clock
from labnode.errors import Deadlock, SessionOver, TooLate
from labnode.tasks.registry import Registry
from labnode.tasks.run import Lane, Run, Status
from labnode.worker import Signal, Worker


class Joins:
    """Knows which thread waits for which run.

    A worker thread that waits for a background task which has not begun does it itself: every
    other background thread may be waiting too.
    """

    def __init__(
        self, registry: Registry, worker: Worker, clock: Clock, work: Callable[[Run], object]
    ) -> None:
        self._registry = registry
        self._worker = worker
        self._clock = clock
        self._work = work
        self._waiting: dict[int, Run] = {}  # thread -> what it waits for

    def join(self, run_id: str, timeout: float | None, error_on_timeout: bool) -> None:
        """See Task.join."""
        me = threading.get_ident()
        signal = self._worker.signal()
        with self._registry.lock:
            run = self._registry.unfinished(run_id)
            if run is None:
                return
            help_out = self._worker.on_worker_thread and self._may_help(run)
            if help_out:
                run.begin(self._clock.wall())
            else:
                self._check_end(run, me)
            run.joiners.append(signal)
            before = self._waiting.get(me)
            self._waiting[me] = run
        try:
            if help_out:
                self._work(run)
            over = self._wait(run, signal, timeout)
        finally:
            with self._registry.lock:
                run.joiners.remove(signal)
                if before is None:
                    del self._waiting[me]
                else:  # a call served while this thread waited has waited too
                    self._waiting[me] = before
        if not over and error_on_timeout:
            raise TooLate(f"Task {run.name!r} did not finish within {timeout:g} s.")

    def pause(self, seconds: float) -> bool:
        """Let `seconds` pass in a task, a hook or a view; False as soon as it shall end."""
        task = context.current_task.get()
        if task is not None:
            paused: bool = task.wait(seconds)
            return paused
        if self._worker.on_hardware_thread:
            return self._worker.pause(seconds)
        signal = self._worker.signal()
        with self._registry.watch(_session_id(), signal):
            return not self._worker.wait_for(signal, seconds)

    def _wait(self, run: Run, signal: Signal, timeout: float | None) -> bool:
        if self._worker.on_worker_thread:
            return self._worker.wait_for(run.finished, timeout)
        with self._registry.watch(_session_id(), signal):
            if not self._worker.wait_for(signal, timeout):
                return False
        if not run.finished.is_set():
            raise SessionOver("The session ended while it waited for a task.")
        return True

    def _may_help(self, run: Run) -> bool:
        return run.lane is Lane.BACKGROUND and run.status is Status.SUBMITTED

    def _check_end(self, run: Run, me: int) -> None:
        """Deadlock when `run` can end only after this thread, which is about to wait for it."""
        step: Run | None = run
        while step is not None:
            thread = step.thread
            if thread is None and step.lane is Lane.HARDWARE and step.status is Status.SUBMITTED:
                thread = self._worker.hardware_thread
            if thread == me:
                raise Deadlock(
                    f"Task {run.name!r} cannot be waited for here: it would have to wait for this "
                    "very wait to end."
                )
            step = None if thread is None else self._waiting.get(thread)


def _session_id() -> str | None:
    session_id: str | None = getattr(context.current_user.get(), "session_id", None)
    return session_id
