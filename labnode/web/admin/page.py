"""What the administration's page shows: the node's state as values for the template."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from labnode.board import Board
from labnode.board.interlocks import Fault
from labnode.clock import Clock, local, utc
from labnode.errors import StorageError
from labnode.events import DeviceChanged, Subscription
from labnode.lab import Node
from labnode.locale import Language, fill
from labnode.sessions import Session
from labnode.web.admin.logtail import LogEntry

Row = dict[str, Any]

_DAY = 86400.0  # seconds
_MINUTES = 60  # of a trend
_SHOWN = 60  # characters of a value
_MOST = 50  # rows of a list


class Trends:
    """What devices have shown in the last hour: the lowest and the highest of each minute.

    It has no thread: an event is written down by the thread that publishes it.
    """

    def __init__(self, board: Board, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._minutes: dict[str, deque[_Minute]] = {}
        self._lock = threading.Lock()
        self._events: Subscription | None = None

    def start(self) -> None:
        """Begin to write down."""
        self._events = self._board.bus.subscribe(DeviceChanged, wake=self._take)

    def stop(self) -> None:
        """Write down no more; idempotent."""
        if self._events is not None:
            self._board.bus.unsubscribe(self._events)

    def of(self, device: str) -> Trend | None:
        """The trend of a device, None if it has shown no two different numbers."""
        now = int(self._clock.now() // 60)
        with self._lock:
            known = {each.at: each for each in self._minutes.get(device, ())}
        before = [each for at, each in sorted(known.items()) if at <= now - _MINUTES]
        held = before[-1].last if before else None
        spans: list[tuple[float, float] | None] = []
        for at in range(now - _MINUTES + 1, now + 1):
            if (minute := known.get(at)) is None:
                spans.append(None if held is None else (held, held))
                continue
            spans.append(minute.span)
            held = minute.last
        seen = [span for span in spans if span is not None]
        low, high = min((s[0] for s in seen), default=0), max((s[1] for s in seen), default=0)
        return Trend(low, high, spans) if low < high else None

    def _take(self) -> None:
        minute, snapshot = int(self._clock.now() // 60), self._board.snapshot
        with self._lock:
            for event in self._events.drain() if self._events is not None else ():
                known = isinstance(event.value, int | float) and not snapshot[event.device].get(
                    "stale"
                )
                value = float(event.value) if known else None
                minutes = self._minutes.setdefault(event.device, deque(maxlen=_MINUTES + 1))
                if not minutes or minutes[-1].at != minute:
                    minutes.append(_Minute(minute))
                minutes[-1].add(value)


@dataclass
class _Minute:
    at: int  # minutes of the clock
    span: tuple[float, float] | None = None
    last: float | None = None

    def add(self, value: float | None) -> None:
        self.last = value
        if value is not None:
            low, high = self.span or (value, value)
            self.span = min(low, value), max(high, value)


@dataclass(frozen=True)
class Trend:
    """The last hour of a device: lowest and highest in all, and of each minute; None is a gap."""

    low: float
    high: float
    spans: list[tuple[float, float] | None]

    @property
    def path(self) -> str:
        """A line for SVG, a unit wide for each minute and 20 high."""
        drawn, goes_on = [], False
        for x, span in enumerate(self.spans):
            if span is not None:
                low, high = (19 - 18 * (v - self.low) / (self.high - self.low) for v in span)
                drawn.append(f"{'L' if goes_on else 'M'}{x} {low:.1f}L{x}.5 {high:.1f}")
            goes_on = span is not None
        return "".join(drawn)


class NodeView:
    """The node in one language.

    `commands` are those of the control socket; `fault` says what is wrong with the node.
    """

    def __init__(
        self,
        node: Node,
        commands: Mapping[str, Callable[..., Row]],
        clock: Clock,
        *,
        trends: Trends,
        language: Language,
        fault: Callable[[], str | None],
    ) -> None:
        self._trends = trends
        self._node = node
        self._commands = commands
        self._clock = clock
        self._language = language
        self._fault = fault
        self.words = language.section("admin")

    def values(self, log: list[LogEntry]) -> Row:
        """The values of the template, except those of all pages."""
        status = self._commands["status"]()
        live = self._node.sessions.live()
        file = self._node.board.file
        devices = [
            self._device(each)
            for each in self._node.board.describe(self._language.locales, hidden=True)
        ]
        return {
            "words": self.words,
            "title": self._language.say(file.title) or file.lab.name,
            "status": status,
            "state": "stopped" if status["estop"] is not None else status["state"],
            "uptime": duration(status["uptime"]),
            "fault": self._fault(),
            "faults": [
                {**vars(fault), "message": self._language.say(fault.message)}
                for fault in self._node.board.faults
            ],
            "students": [self._student(session) for session in live],
            "idle": not live and status["estop"] is None,
            "devices": devices,
            "troubles": self._troubles(status, devices),
            "sessions": self._today("sessions", "created_at", self._session),
            "tasks": self._today("tasks", "submitted_at", self._task),
            "runnable": self._runnable(),
            "events": [self._event(row) for row in reversed(self._rows("events", names=False))],
            "log": [{**asdict(entry), "at": _moment(entry.at)} for entry in log],
        }

    def cleared(self, faults: Sequence[Fault], was: Row, done: Row) -> str:
        """What `clear` has cleared, and what not.

        `faults` and `was` are the board's faults and the node's status before, `done` is its reply.
        """
        latched = {f.name: self._language.say(f.message) or f.name for f in faults if f.latched}
        stop, quarantine = was["estop"], done["was"]
        what = [] if stop is None else [f"{self.words['estopped']} ({stop})"]
        if quarantine is not None and stop is None:
            what.append(fill(self.words["cleared:quarantine"], {"what": quarantine}))
        what += [text for name, text in latched.items() if name not in done["left"]]
        left = [latched.get(name, name) for name in done["left"]]
        sentences = [fill(self.words["cleared"], {"what": ", ".join(what)})] if what else []
        if left:
            sentences.append(fill(self.words["cleared:left"], {"what": ", ".join(left)}))
        return " ".join(sentences) or self.words["cleared:nothing"]

    def _troubles(self, status: Row, devices: list[Row]) -> list[str]:
        """What keeps the node from being healthy, the gravest first."""
        broken = [each["label"] for each in devices if each["broken"]]
        return [
            *filter(None, (self._fault(), status["alarm"], status["estop"], status["quarantine"])),
            *(self._language.say(fault.message) or fault.name for fault in self._node.board.faults),
            *(f"{label}: {self.words['error']}" for label in broken),
        ]

    def _student(self, session: Session) -> Row:
        user = self._node.sessions.user(session)
        return {
            "id": session.tag,
            "name": user.full_name or user.username or "?",
            "username": user.username_unique,
            "state": self.words[f"session:{session.state}"],
            "left": duration(user.time_left),
            "client": session.request.client,
            "link": self._node.observers.link(session) if user.active else None,
            "hand": session.hand_raised and user.active,
        }

    def _device(self, about: Row) -> Row:
        state = self._node.board.snapshot.get(about["name"], {})
        students = self._language.section("page")
        return {
            **about,
            "broken": bool(state.get("error") or state.get("stale"))
            or state.get("connected") is False,
            "value": self._value(state.get("value"), about),
            "trend": self._trend(about),
            "notes": [
                self._language.read(note)
                for note in (
                    state.get("error"),
                    self.words["stale"] if state.get("stale") else None,
                    self.words["not-connected"] if state.get("connected") is False else None,
                    state.get("locked"),
                )
                if note
            ],
            "commands": [
                {
                    "name": command["name"],
                    "label": (about.get("words") or {}).get(command["name"])
                    or students.get(
                        f"command:{command['name']}", command["name"].replace("_", " ")
                    ),
                    "fields": [self._field(each, about) for each in command["parameters"]],
                }
                for command in about["commands"]
            ],
        }

    def _trend(self, about: Row) -> Row | None:
        trend = self._trends.of(about["name"])
        if trend is None:
            return None
        low, high = (self._value(value, about) for value in (trend.low, trend.high))
        text = fill(self.words["trend"], {"low": low, "high": high})
        return {"path": trend.path, "text": text}

    def _field(self, parameter: Row, device: Row) -> Row:
        kind = parameter["type"]
        choices = [True, False] if kind == "bool" else parameter.get("choices", [])
        return {
            "name": parameter["name"],
            "number": kind in ("int", "float"),
            "whole": kind == "int",
            "choices": [(json.dumps(choice), self._value(choice, device)) for choice in choices],
            "required": "default" not in parameter,
        }

    def _value(self, value: Any, device: Row) -> str:
        if value is None:
            return self.words["none"]
        if isinstance(value, bool):
            own = device.get("words")
            return (
                own["on" if value else "off"] if own else self.words["true" if value else "false"]
            )
        if isinstance(value, float):
            text = f"{value:.6g}"
        else:
            text = value if isinstance(value, str) else json.dumps(value)
        return f"{text[:_SHOWN]} {device['unit']}".rstrip()

    def _today(self, what: str, column: str, shown: Callable[[Row], Row]) -> list[Row]:
        """The rows of the last day, newest first, and all that are scheduled."""
        since = self._clock.wall() - _DAY
        rows = self._rows(what, names=True)
        return [
            shown(row)
            for row in reversed(rows)
            if row[column] >= since or row.get("due") is not None
        ]

    def _rows(self, what: str, *, names: bool) -> list[Row]:
        """The last rows of the history; none if the disk fails, so that the page still works."""
        try:
            rows: list[Row] = self._commands[what](last=_MOST, names=names)[what]
        except StorageError:
            return []
        return rows

    def _session(self, row: Row) -> Row:
        left = row["time_left"]
        going_on = "" if left is None else f"{duration(left)} {self.words['time-left']}"
        return {
            **row,
            "at": _moment(row["created_at"]),
            "id": row["session"],
            "slot": duration(row["length"]),
            "state": self.words[f"session:{row['state']}"],
            "end": self.words[f"reason:{row['reason']}"] if row["reason"] else going_on,
        }

    def _task(self, row: Row) -> Row:
        error, percent, result = row["error"], row["percent"], ""
        if isinstance(error, dict):
            result = str(error.get("message", ""))
        elif row["started_at"] and row["finished_at"]:
            result = f"{max(0.0, row['finished_at'] - row['started_at']):.1f} s"
        elif percent is not None:
            result = f"{percent:.0f} %"
        elif row["due"] is not None:
            result = f"{self.words['next']} {_moment(row['due'])['text']}"
        return {
            **row,
            "at": _moment(row["submitted_at"]),
            "student": row["student"] or "",
            "result": result,
            "status": self.words[f"task:{row['status']}"],
            "unfinished": row["status"] in ("submitted", "running"),
        }

    def _runnable(self) -> list[Row]:
        """The lab's tasks that need no arguments; of periodic ones, when they come next."""
        periodic = {row["name"]: row for row in self._node.tasks.timers.periodic()}
        known = self._node.sequences.functions.items()
        rows = [periodic.get(n, {"name": n}) for n, each in known if not each.needs_arguments]
        return [
            {
                "name": row["name"],
                "schedule": self._language.read(row.get("words", "")),
                "due": None if row.get("due") is None else _moment(row["due"]),
            }
            for row in rows
        ]

    def _event(self, row: Row) -> Row:
        detail = row["detail"] if isinstance(row["detail"], dict) else {}
        known = [
            self.words.get(f"{key}:{value}", str(value))
            for key, value in detail.items()
            if value is not None
        ]
        kind, at = self._kind(row["kind"]), _moment(row["at"])
        return {
            **row,
            "kind": kind,
            "at": at,
            "id": row["session"] or "",
            "detail": ", ".join(known),
        }

    def _kind(self, kind: str) -> str:
        """What happened, in words: "task.failed" is "Task: failed"."""
        subject, _, state = kind.partition(".")
        if f"event:{kind}" in self.words or subject not in ("session", "task"):
            return self.words.get(f"event:{kind}", kind)
        return f"{self.words[subject]}: {self.words.get(f'{subject}:{state}', state)}"


def duration(seconds: float) -> str:
    """ "3 h 12 min", "4:05": what a person reads; the same in all our languages."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes}:{rest:02d}"


def _moment(at: float) -> Row:
    """A time in ISO 8601, and for people by this machine's clock."""
    return {"iso": utc(at).isoformat(), "text": f"{local(at):%H:%M:%S}"}
