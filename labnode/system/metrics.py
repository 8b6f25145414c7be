"""The node's metrics for Prometheus: events are counted, the state is read at each scrape."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from labnode.clock import Clock
from labnode.events import Bus, FaultChanged, SessionChanged, TaskChanged

CONTENT_TYPE: str = CONTENT_TYPE_LATEST

_SHORT = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60)  # seconds
_LONG = (0.1, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_START = re.compile(r"/(weblab|ldl)/+sessions/+(new\.\w+)?$")


class Metrics:
    """Counts from `begin()` to `end()`; `text()` is what Prometheus reads.

    Collectors of the present state can be registered with `registry`.
    """

    def __init__(self, bus: Bus, clock: Clock, build: Mapping[str, str]) -> None:
        self.registry = registry = CollectorRegistry()
        self._bus = bus
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[
            str, tuple[str, float]
        ] = {}  # of sessions, tasks and faults that last, and since when
        ProcessCollector(registry=registry)
        Info("labnode_build", "What runs.", registry=registry).info(dict(build))

        def histogram(name: str, doc: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, doc, registry=registry, buckets=buckets)

        def counter(name: str, doc: str, *labels: str) -> Counter:
            return Counter(name, doc, labels, registry=registry)

        self._started = counter("labnode_sessions_started", "Sessions that began to start.")
        self._ended = counter(
            "labnode_sessions_ended",
            "Sessions that have ended: exited, time, inactivity, start-failed …",
            "reason",
        )
        # Observed when a session leaves the state.
        self._session_times = {
            "starting": histogram(
                "labnode_session_start_seconds",
                "Time to make the board ready for a student.",
                _LONG,
            ),
            "active": histogram(
                "labnode_session_active_seconds", "Time that a student has the board.", _LONG
            ),
            "disposing": histogram(
                "labnode_session_dispose_seconds", "Time to clean the board after a student.", _LONG
            ),
        }
        self._tasks = counter("labnode_tasks", "Tasks that have ended.", "status")
        self._task_times = {
            "submitted": histogram(
                "labnode_task_wait_seconds", "Time until a task begins.", _SHORT
            ),
            "running": histogram("labnode_task_run_seconds", "Time that a task runs.", _LONG),
        }
        self._faults = counter(
            "labnode_interlock_faults", "How often each interlock acted.", "interlock"
        )
        self._responses = counter(
            "labnode_http_responses",
            "Answers of the web server; side is server (central servers) or student.",
            "side",
            "status",
        )
        self._requests = histogram(
            "labnode_start_request_seconds",
            "Time a central server waits for a start: for the clean-up before, then for the board.",
            _LONG,
        )
        self._records = counter(
            "labnode_log_records",
            "Warnings and errors in the log, by the part of labnode.",
            "level",
            "room",
        )
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
        """Count events; short, as it runs on the thread that publishes them."""
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
        key = f"session {event.session_id}"
        self._changed(key, event.state, now, self._session_times, last=("disposed",))
        if event.state == "starting":
            self._started.inc()
        if event.state == "disposed":
            self._ended.labels(event.reason or "unknown").inc()

    def _task(self, event: TaskChanged, now: float) -> None:
        last = ("done", "failed")
        self._changed(f"task {event.task_id}", event.status, now, self._task_times, last=last)
        if event.status in last:
            self._tasks.labels(event.status).inc()

    def _changed(
        self, key: str, state: str, now: float, times: Mapping[str, Histogram], last: Sequence[str]
    ) -> None:
        """Note a state, until one of the `last`, and observe how long the one before took."""
        before, since = self._states.get(key, (state, now))
        if state in last:
            self._states.pop(key, None)
        elif key not in self._states or before != state:
            self._states[key] = state, now
        if before != state and before in times:
            times[before].observe(now - since)

    def _fault(self, event: FaultChanged) -> None:
        """Count a fault when it begins, and not again when it is latched."""
        if f"fault {event.name}" not in self._states:
            self._states[f"fault {event.name}"] = event.state, self._clock.now()
            self._faults.labels(event.name).inc()


class _Counting(logging.Handler):
    """Counts log records by the part of labnode that they come from."""

    def __init__(self, records: Counter) -> None:
        super().__init__(logging.WARNING)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        room = record.name.split(".")[1] if "." in record.name else record.name
        self._records.labels(record.levelname.lower(), room).inc()
