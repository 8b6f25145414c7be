"""Recordings: the values of devices during a session, for the student to download."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from labnode.board import Board
from labnode.board.config.page import RecordSpec
from labnode.clock import Clock, Turn, utc
from labnode.errors import ConfigError, Problem
from labnode.events import SessionChanged
from labnode.locale import Message
from labnode.sessions import Session, Sessions

log = logging.getLogger(__name__)

_MOST_ROWS = 20_000  # then every other row is dropped, and the interval doubles
_SUFFIX = ".json.gz"

Row = list[Any]  # seconds since the start, then the value of each device


@dataclass
class Recording:
    """The recording of one session; `began` is wall time, `every` is in seconds."""

    devices: list[str]
    began: float
    every: float
    rows: list[Row] = field(default_factory=list)
    zero: float = 0.0  # `began` by the monotonic clock
    due: float = 0.0  # when the next row is (monotonic)

    def add(self, row: Row) -> None:
        """Add a row; a session of any length fits into memory."""
        self.rows.append(row)
        if len(self.rows) >= _MOST_ROWS:
            del self.rows[1::2]
            self.every *= 2

    def csv(self) -> str:
        """With a header line; true and false are 1 and 0.

        A value that was stale or missing is empty, and 0 in the column `NAME_valid`.
        """
        file = io.StringIO()
        writer = csv.writer(file)
        valid = [f"{name}_valid" for name in self.devices]
        writer.writerow(["seconds", "time", *self.devices, *valid])
        for seconds, *values in self.rows:
            time = utc(self.began + seconds).isoformat("T", "milliseconds")
            writer.writerow([seconds, time, *map(_cell, values), *map(int, _valid(values))])
        return file.getvalue()

    def to_json(self) -> dict[str, Any]:
        return {
            "began": utc(self.began).isoformat("T", "milliseconds"),
            "every": self.every,
            "devices": self.devices,
            "rows": self.rows,
            "valid": [_valid(values) for _, *values in self.rows],
        }


class Recordings:
    """Records every active session in memory, and writes a file at its end.

    A thread ("recorder") takes the rows. After a crash the recording is lost; after a stop of the
    node it continues with the session.
    """

    def __init__(self, directory: Path, sessions: Sessions, board: Board, clock: Clock) -> None:
        self._spec = board.file.record
        self._directory = directory
        self._sessions = sessions
        self._board = board
        self._clock = clock
        self._wake = clock.event()
        self._lock = threading.Lock()
        self._running: dict[str, Recording] = {}  # by the session's tag
        self._stopping = False
        self._news = board.bus.subscribe(SessionChanged, wake=self._wake.set)
        self._busy = Turn(clock, "recorder")
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to record, if the board file says what; ConfigError if there is no place for it."""
        if self._spec is None:
            return
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = Message("board.no-recordings-folder", why=str(error.strerror))
            raise ConfigError(Problem(str(self._directory), message)) from None
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Write what is being recorded and end the thread; False if that took too long."""
        self._stopping = True
        self._board.bus.unsubscribe(self._news)
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def fault(self) -> str | None:
        """Why nothing is recorded any more, or None; any thread may ask."""
        if self._thread.ident is None or self._stopping:
            return None
        return self._busy.fault() if self._thread.is_alive() else "the recorder has died"

    def of(self, session: Session) -> Recording | None:
        """The recording of a session so far, or None."""
        with self._lock:
            if (recording := self._running.get(session.tag)) is not None:
                return replace(recording, rows=recording.rows.copy())
        return self._read(session.tag)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        spec = self._spec
        assert spec is not None
        self._prune(spec.keep)
        while not self._stopping:
            self._wake.clear()
            with self._busy:
                try:
                    self._follow(spec)
                    due = self._sample()
                except Exception:
                    log.exception("A turn of the recorder failed.")
                    due = self._clock.now() + spec.every
            self._wake.wait(None if due is None else max(0.0, due - self._clock.now()))
        for tag in list(self._running):
            self._end(tag)

    def _follow(self, spec: RecordSpec) -> None:
        """Begin recordings of sessions that have become active, end those of others."""
        self._news.drain()
        active = {session.tag for session in self._sessions.live() if session.active}
        for tag in active - self._running.keys():
            self._begin(tag, spec)
        for tag in self._running.keys() - active:
            self._end(tag)
            self._prune(spec.keep)

    def _begin(self, tag: str, spec: RecordSpec) -> None:
        recording = self._read(tag)
        if recording is None or recording.devices != spec.devices:
            recording = Recording(spec.devices, self._clock.wall(), spec.every)
        passed = recording.rows[-1][0] if recording.rows else 0.0  # the wall clock may have jumped
        recording.due = self._clock.now()
        recording.zero = recording.due - max(passed, self._clock.wall() - recording.began)
        with self._lock:
            self._running[tag] = recording

    def _end(self, tag: str) -> None:
        path = self._directory / f"{tag}{_SUFFIX}"
        content = json.dumps(self._running[tag].to_json()).encode()
        try:
            draft = path.with_suffix(".new")
            draft.write_bytes(gzip.compress(content, mtime=0))
            draft.replace(path)
        except OSError as error:
            log.error("What was recorded is lost: %s", error)
        with self._lock:
            del self._running[tag]

    def _sample(self) -> float | None:
        """Add the rows that are due; returns when the next one is."""
        now = self._clock.now()
        snapshot = self._board.snapshot
        with self._lock:
            for recording in self._running.values():
                if recording.due <= now:
                    values = [_valid_value(snapshot[name]) for name in recording.devices]
                    recording.add([round(now - recording.zero, 3), *values])
                    missed = int((now - recording.due) / recording.every)
                    recording.due += recording.every * (1 + missed)
            return min((recording.due for recording in self._running.values()), default=None)

    # ------------------------------------------------------------------ files

    def _read(self, tag: str) -> Recording | None:
        try:
            found = json.loads(gzip.decompress((self._directory / f"{tag}{_SUFFIX}").read_bytes()))
            began = datetime.fromisoformat(found["began"]).timestamp()
            return Recording(found["devices"], began, found["every"], found["rows"])
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            log.error("A recording cannot be read: %s", error)
            return None

    def _prune(self, keep: float) -> None:
        """Delete recordings that are older than `keep` seconds."""
        oldest = self._clock.wall() - keep
        try:
            for path in self._directory.iterdir():
                if path.stat().st_mtime < oldest:
                    path.unlink()
        except OSError as error:
            log.warning("Old recordings cannot be deleted: %s", error)


def _valid_value(state: dict[str, Any]) -> Any:
    """What a device shows, None if nobody knows whether it still does."""
    return None if state.get("stale") else state["value"]


def _valid(values: list[Any]) -> list[bool]:
    return [value is not None for value in values]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return json.dumps(value) if isinstance(value, list | dict) else value
