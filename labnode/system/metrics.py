"""The node's numbers for Prometheus: what has happened is counted, what is is read when asked."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from labnode.clock import Clock
from labnode.events import Bus, FaultChanged, SessionChanged, TaskChanged

log = logging.getLogger(__name__)

CONTENT_TYPE: str = CONTENT_TYPE_LATEST

_SHORT = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60)  # seconds
_LONG = (0.1, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_START = re.compile(r"/(weblab|ldl)/+sessions/+(new\.\w+)?$")


class Metrics:
    """Counts from `begin()` to `end()`; `text()` is what Prometheus reads.

    `gauges` are collectors of what is: each is asked whenever the text is.
    """

    def __init__(self, bus: Bus, clock: Clock, build: Mapping[str, str]) -> None:
        self.registry = registry = CollectorRegistry()
        self._bus = bus
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, tuple[str, float]] = {}  # of sessions and tasks that go on
        ProcessCollector(registry=registry)
        Info("labnode_build", "What runs.", registry=registry).info(dict(build))

        def histogram(name: str, doc: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, doc, registry=registry, buckets=buckets)

        def counter(name: str, doc: str, *labels: str) -> Counter:
            return Counter(name, doc, labels, registry=registry)

        self._started = counter("labnode_sessions_started", "Sessions that began to start.")
        self._ended = counter("labnode_sessions_ended", "Sessions that are over.", "reason")
        # What a session has been in, when it goes to another state.
        self._session_times = {
            "starting": histogram(
                "labnode_session_start_seconds", "Making the board ready for a student.", _LONG
            ),
            "active": histogram(
                "labnode_session_active_seconds", "A student's time with the board.", _LONG
            ),
            "disposing": histogram(
                "labnode_session_dispose_seconds", "Cleaning the board after a student.", _LONG
            ),
        }
        self._tasks = counter("labnode_tasks", "Tasks that have ended.", "status")
        self._task_times = {
            "submitted": histogram(
                "labnode_task_wait_seconds", "A task's wait for its thread.", _SHORT
            ),
            "running": histogram("labnode_task_run_seconds", "A task's work.", _LONG),
        }
        self._faults = counter("labnode_interlock_faults", "Interlocks that acted.", "interlock")
        self._responses = counter("labnode_http_responses", "Answers.", "side", "status")
        self._requests = histogram(
            "labnode_start_request_seconds",
            "A central server's wait for a start: for the session before, then for the board.",
            _LONG,
        )
        self._records = counter("labnode_log_records", "Warnings and worse.", "level", "room")
        self._handler = _Counting(self._records)
        self._subscription = bus.subscribe(
            SessionChanged, TaskChanged, FaultChanged, wake=self._absorb
        )

    def begin(self) -> None:
        logging.getLogger("labnode").addHandler(self._handler)

    def end(self) -> None:
        logging.getLogger("labnode").removeHandler(self._handler)
        self._bus.unsubscribe(self._subscription)

    def text(self) -> bytes:
        return bytes(generate_latest(self.registry))

    def counted(self, app: Callable[..., Any]) -> Callable[..., Any]:
        """A WSGI application whose answers are counted."""

        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            began = self._clock.now()
            path = environ.get("PATH_INFO") or "/"
            side = "server" if "/weblab/" in path or "/ldl/" in path else "student"

            def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
                self._responses.labels(side, status[:3]).inc()
                if environ.get("REQUEST_METHOD") == "POST" and _START.search(path):
                    self._requests.observe(self._clock.now() - began)
                return start_response(status, headers, *error)

            answer: Iterable[bytes] = app(environ, start)
            return answer

        return serve

    # ------------------------------------------------------------------ events

    def _absorb(self) -> None:
        """Count what has happened; on the thread of whoever has told it, so it is short."""
        now = self._clock.now()
        with self._lock:
            for event in self._subscription.drain():
                match event:
                    case SessionChanged():
                        self._session(event, now)
                    case TaskChanged():
                        self._task(event, now)
                    case FaultChanged(state="active" | "latched"):
                        self._fault(event)
                    case FaultChanged():
                        self._states.pop(f"fault {event.name}", None)

    def _session(self, event: SessionChanged, now: float) -> None:
        before = self._changed(f"session {event.session_id}", event.state, now, "disposed")
        if before is not None:
            state, since = before
            if state in self._session_times:
                self._session_times[state].observe(now - since)
        if event.state == "starting":
            self._started.inc()
        if event.state == "disposed":
            self._ended.labels(event.reason or "unknown").inc()

    def _task(self, event: TaskChanged, now: float) -> None:
        before = self._changed(f"task {event.task_id}", event.status, now, "done", "failed")
        if before is not None:
            state, since = before
            if state in self._task_times:
                self._task_times[state].observe(now - since)
        if event.status in ("done", "failed"):
            self._tasks.labels(event.status).inc()

    def _fault(self, event: FaultChanged) -> None:
        """Counted when it begins, and not again when it is latched."""
        if f"fault {event.name}" not in self._states:
            self._states[f"fault {event.name}"] = event.state, self._clock.now()
            self._faults.labels(event.name).inc()

    def _changed(self, key: str, state: str, now: float, *last: str) -> tuple[str, float] | None:
        """Remember a state; returns the one before and since when, None where it is the same."""
        before = self._states.get(key)
        if state in last:
            self._states.pop(key, None)
        elif before is None or before[0] != state:
            self._states[key] = state, now
        return before if before is not None and before[0] != state else None


class _Counting(logging.Handler):
    """Counts log records by the part of labnode that they come from."""

    def __init__(self, records: Counter) -> None:
        super().__init__(logging.WARNING)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        room = record.name.split(".")[1] if "." in record.name else record.name
        self._records.labels(record.levelname.lower(), room).inc()
