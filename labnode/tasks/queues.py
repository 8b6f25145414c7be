"""The queues of tasks: Huey's SQLite storage, served by our own threads."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from labnode.errors import ConfigError
from labnode.tasks.runs import Lane
from labnode.worker import Job

log = logging.getLogger(__name__)

logging.getLogger("huey").setLevel(logging.WARNING)  # or it logs each task twice


class Queues:
    """One queue per lane in the file `path`; a message is a task's id.

    The messages do not outlive the process (recovery marks such tasks as interrupted in the store),
    so the file begins empty and needs no fsync.
    """

    def __init__(self, path: Path) -> None:
        """ConfigError if the file cannot be created."""
        try:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.touch(mode=0o600)
            self._hueys = {
                lane: SqliteHuey(
                    lane.value,
                    filename=str(path),
                    results=False,
                    fsync=False,
                    cache_mb=1,
                    strict_fifo=True,
                )
                for lane in Lane
            }
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"{path}: the queue of tasks cannot be made ({error}); it must be a file in a "
                "directory that labnode may write"
            ) from error

    def serve(self, execute: Callable[[str], None]) -> None:
        """Have the jobs of `take` call `execute(task_id)`, which raises nothing."""
        self._execute = execute
        self._messages = {
            lane: huey.task(name="execute")(execute) for lane, huey in self._hueys.items()
        }

    def put(self, lane: Lane, task_id: str) -> None:
        """Queue a task; the caller then wakes the threads of the lane."""
        self._hueys[lane].enqueue(self._messages[lane].s(task_id))

    def take(self, lane: Lane) -> Job | None:
        """The oldest message of `lane` as a job, or None."""
        message = self._hueys[lane].dequeue()
        return None if message is None else partial(self._run_message, self._hueys[lane], message)

    def close(self) -> None:
        for huey in self._hueys.values():
            huey.storage.close()

    def _run_message(self, huey: SqliteHuey, message: Any) -> None:
        try:
            huey.execute(message)
        except Exception:  # it uses its file, which a full disk may refuse
            log.exception("Huey could not execute a task.")
            self._execute(*message.args)  # does nothing if it has begun
