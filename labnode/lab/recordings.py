"""Recordings: the values of devices over the time of a session, for the student to take home."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labnode.board import Board
from labnode.board.config.page import RecordSpec
from labnode.clock import Clock
from labnode.events import SessionChanged
from labnode.sessions import Session, Sessions

log = logging.getLogger(__name__)

_MOST_ROWS = 20_000  # then every other is left out, and only every other is taken
_SUFFIX = ".json.gz"

Row = list[Any]  # seconds since the beginning, then the value of each device


@dataclass
class Recording:
    """What was recorded in one session; `began` is wall time, `every` is in seconds."""

    devices: list[str]
    began: float
    every: float
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Take one more row; a session of any length fits into memory."""
        self.rows.append(row)
        if len(self.rows) >= _MOST_ROWS:
            del self.rows[1::2]
            self.every *= 2

    def csv(self) -> str:
        """With a heading; truth is 1 or 0, and what was missing is empty."""
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(["seconds", "time", *self.devices])
        for seconds, *values in self.rows:
            time = datetime.fromtimestamp(self.began + seconds, UTC).isoformat("T", "milliseconds")
            writer.writerow([seconds, time, *map(_cell, values)])
        return file.getvalue()

    def to_json(self) -> dict[str, Any]:
        return {
            "began": datetime.fromtimestamp(self.began, UTC).isoformat("T", "milliseconds"),
            "every": self.every,
            "devices": self.devices,
            "rows": self.rows,
        }


class Recordings:
    """Records every session that is active, in memory; a file of each is written at its end.

    A thread ("recorder") wakes up while there is something to record. What a crash interrupts is
    lost; what a stop interrupts goes on when the session does.
    """

    def __init__(self, directory: Path, sessions: Sessions, board: Board, clock: Clock) -> None:
        self._spec = board.file.record
        self._directory = directory
        self._sessions = sessions
        self._board = board
        self._clock = clock
        self._wake = clock.event()
        self._lock = threading.Lock()  # of what is recorded
        self._running: dict[str, tuple[Recording, float, float]] = {}  # by tag: began, next row
        self._stopping = False
        self._news = board.bus.subscribe(SessionChanged, wake=self._wake.set)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where the board says what to record."""
        if self._spec is not None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._thread = threading.Thread(
                target=self._run, args=[self._spec], name="recorder", daemon=True
            )
            self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Write what has not ended, to go on with it later; False when that took too long."""
        self._stopping = True
        self._board.bus.unsubscribe(self._news)
        self._wake.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def of(self, session: Session) -> Recording | None:
        """What has been recorded in a session so far, None when there is nothing."""
        with self._lock:
            running = self._running.get(session.tag)
            if running is not None:
                recording = running[0]
                return Recording(
                    recording.devices, recording.began, recording.every, recording.rows.copy()
                )
        return self._read(session.tag)

    # ------------------------------------------------------------------ the thread

    def _run(self, spec: RecordSpec) -> None:
        self._prune(spec)
        while not self._stopping:
            self._wake.clear()
            try:
                self._follow(spec)
                due = self._sample(spec)
            except Exception:
                log.exception("A turn of the recorder failed.")
                due = self._clock.now() + spec.every
            self._wake.wait(None if due is None else max(0.0, due - self._clock.now()))
        for tag in list(self._running):
            self._end(tag)

    def _follow(self, spec: RecordSpec) -> None:
        """Begin with the sessions that have become active, end with those that are no more."""
        self._news.drain()
        active = {session.tag for session in self._sessions.live() if session.active}
        for tag in active - self._running.keys():
            self._begin(tag, spec)
        for tag in self._running.keys() - active:
            self._end(tag)
            self._prune(spec)

    def _begin(self, tag: str, spec: RecordSpec) -> None:
        now = self._clock.now()
        found = self._read(tag)
        if found is None or found.devices != spec.devices:
            found = Recording(spec.devices, self._clock.wall(), spec.every)
        passed = found.rows[-1][0] if found.rows else 0.0  # and the wall clock may have jumped
        began = now - max(passed, self._clock.wall() - found.began)
        with self._lock:
            self._running[tag] = (found, began, now)

    def _end(self, tag: str) -> None:
        recording, _, _ = self._running[tag]
        path = self._directory / f"{tag}{_SUFFIX}"
        try:
            draft = path.with_suffix(".new")
            draft.write_bytes(gzip.compress(json.dumps(recording.to_json()).encode(), mtime=0))
            draft.replace(path)
        except OSError as error:
            log.error("What was recorded is lost: %s", error)
        with self._lock:
            del self._running[tag]

    def _sample(self, spec: RecordSpec) -> float | None:
        """Take the rows that are due; when the next one is."""
        now = self._clock.now()
        snapshot = self._board.snapshot
        values = [snapshot[name]["value"] for name in spec.devices]
        dues = []
        with self._lock:
            for tag, (recording, began, due) in self._running.items():
                following = due
                if due <= now:
                    recording.add([round(now - began, 3), *values])
                    following += recording.every * (1 + int((now - due) / recording.every))
                    self._running[tag] = (recording, began, following)
                dues.append(following)
        return min(dues, default=None)

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

    def _prune(self, spec: RecordSpec) -> None:
        """Delete what is older than it is to be kept."""
        oldest = self._clock.wall() - spec.keep
        try:
            for path in self._directory.iterdir():
                if path.stat().st_mtime < oldest:
                    path.unlink()
        except OSError as error:
            log.warning("Old recordings cannot be deleted: %s", error)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return json.dumps(value) if isinstance(value, list | dict) else value
