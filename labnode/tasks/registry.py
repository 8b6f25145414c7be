"""The runs that are in memory: the unfinished ones, the last finished ones, and whose they are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from labnode.errors import SessionOver
from labnode.tasks.run import Run, Status
from labnode.worker import Signal

_REMEMBERED = 256  # finished runs kept in memory; older ones are in the store alone


class Registry:
    """Guards every run with one `lock`, which is never held while waiting for anything."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._finished: OrderedDict[str, Run] = OrderedDict()
        self._sessions: set[str] = set()
        self._watchers: dict[str | None, set[Signal]] = {}
        self._closed = False

    def open_session(self, session_id: str) -> None:
        with self.lock:
            self._sessions.add(session_id)

    def close_session(self, session_id: str) -> list[Run]:
        """No more runs in this session; its unfinished ones are returned, their views woken."""
        with self.lock:
            self._sessions.discard(session_id)
            for signal in self._watchers.pop(session_id, ()):
                signal.set()
            return [run for run in self._runs.values() if run.session_id == session_id]

    def close(self) -> list[Run]:
        """No more runs at all; the unfinished ones are returned, all views woken."""
        with self.lock:
            self._closed = True
            for signal in chain(*self._watchers.values()):
                signal.set()
            return list(self._runs.values())

    @contextmanager
    def watch(self, session_id: str | None, signal: Signal) -> Iterator[None]:
        """Inside the block, `signal` is set as soon as the session is over."""
        with self.lock:
            if not self.is_open(session_id):
                signal.set()
            self._watchers.setdefault(session_id, set()).add(signal)
        try:
            yield
        finally:
            with self.lock:
                watchers = self._watchers.get(session_id, set())
                watchers.discard(signal)
                if not watchers:
                    self._watchers.pop(session_id, None)

    def is_open(self, session_id: str | None) -> bool:
        """May something be started in this session (None: by the lab itself)?"""
        return not self._closed and (session_id is None or session_id in self._sessions)

    def check_open(self, run: Run) -> None:
        """SessionOver when `run` comes too late."""
        if not self.is_open(run.session_id):
            raise SessionOver(f"Task {run.name!r} cannot start: its session is over.")

    def add(self, run: Run) -> None:
        self._runs[run.id] = run

    def drop(self, run: Run) -> None:
        with self.lock:
            self._runs.pop(run.id, None)

    def remember(self, run: Run) -> None:
        """Move a run to the finished ones; the caller holds the lock, as for all that follows."""
        self._runs.pop(run.id, None)
        self._finished[run.id] = run
        while len(self._finished) > _REMEMBERED:
            self._finished.popitem(last=False)

    def unfinished(self, run_id: str) -> Run | None:
        return self._runs.get(run_id)

    def find(self, run_id: str) -> Run | None:
        return self._runs.get(run_id) or self._finished.get(run_id)

    def parts(self, run: Run) -> list[Run]:
        """The unfinished runs that are a part of `run`."""
        return [part for part in self._runs.values() if part.parent is run]

    def working(self) -> list[Run]:
        return [run for run in self._runs.values() if run.working]

    def of_session(self, session_id: str | None, *, unfinished: bool) -> list[Run]:
        """The runs of one session, oldest first."""
        runs = [*([] if unfinished else self._finished.values()), *self._runs.values()]
        mine = [r for r in runs if r.session_id == session_id and r.status is not Status.NEW]
        return sorted(mine, key=lambda run: run.order)
