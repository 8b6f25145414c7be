"""What the administration's page shows: the node's state as values for the template."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from labnode.board.interlocks import Fault
from labnode.clock import Clock, local, utc
from labnode.errors import StorageError
from labnode.lab import Node
from labnode.lab.pages import text
from labnode.sessions import Session
from labnode.web.admin.logtail import LogEntry
from labnode.web.admin.texts import words as words_of
from labnode.web.texts import words as student_words

Row = dict[str, Any]

_DAY = 86400.0  # seconds
_SHOWN = 60  # characters of a value
_MOST = 50  # rows of a list


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
        language: str,
        fault: Callable[[], str | None],
    ) -> None:
        self._node = node
        self._commands = commands
        self._clock = clock
        self._language = language
        self._fault = fault
        self.words = words_of(language)

    def values(self, log: list[LogEntry]) -> Row:
        """The values of the template, except those of all pages."""
        status = self._commands["status"]()
        live = self._node.sessions.live()
        file = self._node.board.file
        devices = [
            self._device(each) for each in self._node.board.describe([self._language], hidden=True)
        ]
        return {
            "words": self.words,
            "title": file.title.pick(self._language) or file.lab.name,
            "status": status,
            "state": "stopped" if status["estop"] is not None else status["state"],
            "uptime": duration(status["uptime"]),
            "fault": self._fault(),
            "faults": [
                {**vars(fault), "message": fault.message.pick(self._language)}
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
        latched = {f.name: f.message.pick(self._language) or f.name for f in faults if f.latched}
        stop, quarantine = was["estop"], done["was"]
        what = [] if stop is None else [f"{self.words['estopped']} ({stop})"]
        if quarantine is not None and stop is None:
            what.append(self.words["cleared:quarantine"].format(what=quarantine))
        what += [text for name, text in latched.items() if name not in done["left"]]
        left = [latched.get(name, name) for name in done["left"]]
        sentences = [self.words["cleared"].format(what=", ".join(what))] if what else []
        if left:
            sentences.append(self.words["cleared:left"].format(what=", ".join(left)))
        return " ".join(sentences) or self.words["cleared:nothing"]

    def _troubles(self, status: Row, devices: list[Row]) -> list[str]:
        """What keeps the node from being healthy, the gravest first."""
        broken = [each["label"] for each in devices if each["broken"]]
        return [
            *filter(None, (self._fault(), status["alarm"], status["estop"], status["quarantine"])),
            *(
                fault.message.pick(self._language) or fault.name
                for fault in self._node.board.faults
            ),
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
        }

    def _device(self, about: Row) -> Row:
        state = self._node.board.snapshot.get(about["name"], {})
        students = student_words(self._language)
        return {
            **about,
            "broken": bool(state.get("error") or state.get("stale"))
            or state.get("connected") is False,
            "value": self._value(state.get("value"), about["unit"]),
            "notes": [
                text(note, [self._language])
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
                    "label": students.get(
                        f"command:{command['name']}", command["name"].replace("_", " ")
                    ),
                    "fields": list(map(self._field, command["parameters"])),
                }
                for command in about["commands"]
            ],
        }

    def _field(self, parameter: Row) -> Row:
        kind = parameter["type"]
        choices = [True, False] if kind == "bool" else parameter.get("choices", [])
        return {
            "name": parameter["name"],
            "number": kind in ("int", "float"),
            "whole": kind == "int",
            "choices": [(json.dumps(choice), self._value(choice)) for choice in choices],
            "required": "default" not in parameter,
        }

    def _value(self, value: Any, unit: str = "") -> str:
        if value is None:
            return self.words["none"]
        if isinstance(value, bool):
            return self.words["true" if value else "false"]
        if isinstance(value, float):
            text = f"{value:.6g}"
        else:
            text = value if isinstance(value, str) else json.dumps(value)
        return f"{text[:_SHOWN]} {unit}".rstrip()

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
        return [
            {
                "name": name,
                "schedule": periodic[name]["schedule"] if name in periodic else "",
                "due": _moment(due)
                if (due := periodic.get(name, {}).get("due")) is not None
                else None,
            }
            for name, function in self._node.sequences.functions.items()
            if not function.needs_arguments
        ]

    def _event(self, row: Row) -> Row:
        detail = row["detail"] if isinstance(row["detail"], dict) else {}
        known = [f"{key}: {value}" for key, value in detail.items() if value is not None]
        at = _moment(row["at"])
        return {**row, "at": at, "id": row["session"] or "", "detail": ", ".join(known)}


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
