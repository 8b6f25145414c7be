"""A node that serves sessions for a year, in a process of its own and on a clock that only jumps.

    python -m tests.reliability.year DIRECTORY SESSIONS

Every session is what a student does: start, callback, a click, a task, a look, delete, through the
WSGI application. After each of ten parts, and when caches are full, a line of JSON tells what the
process uses; it goes on when it has read a line from its standard input.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labnode.clock import ManualClock
from labnode.testing import LabClient
from tests.kit.statements import Statements
from tests.kit.waiting import PATIENCE, eventually

DAYS = 365.0
PARTS = 10
WARM_UP = 300  # sessions until caches are full: 256 finished tasks are kept

_BOARD = """
schema: 1
lab: {name: bench}
session: {timeout: 30}
devices:
  switch: {driver: digital_output, pin: GPIO17}
  lamp: {driver: digital_input, pin: GPIO27}
  dimmer: {driver: pwm_output, pin: GPIO18}
simulate: {lamp: switch}
module: own.py
"""
_MODULE = """
from labnode import Lab

lab = Lab()
cleaned = 0


@lab.on_start
def on_start(client, server):
    lab.user.data["visits"] = 1


@lab.on_dispose
def on_dispose():
    global cleaned
    cleaned += 1


@lab.app.get("/cleaned", access="public")
def how_many():
    return {"cleaned": cleaned}


@lab.task(unique="global", label="Measure")
def measure(number):
    lab.current_task.data["number"] = number
    return {"number": number}
"""


@dataclass(frozen=True)
class Use:
    """What the process uses after `sessions` sessions."""

    sessions: int
    memory: int
    """Bytes of resident memory."""
    threads: int
    files: int
    database: int
    """Bytes of the database and its log."""
    statements: int
    """SQL statements since the start."""
    cleaned: int
    """Sessions whose on_dispose ran."""


def live(directory: Path, sessions: int) -> None:
    (directory / "board.yaml").write_text(_BOARD, encoding="utf-8")
    (directory / "own.py").write_text(_MODULE, encoding="utf-8")
    counted = Statements()
    clock = ManualClock()
    settings: dict[str, Any] = {"history": "7d", "lifecycle_log": False, "log_level": "WARNING"}
    with LabClient(
        directory / "board.yaml", state_dir=directory / "state", clock=clock, **settings
    ) as lab:
        part = max(1, sessions // PARTS)
        for number in range(1, sessions + 1):
            visit(lab, clock, number)
            clock.advance(DAYS * 86400 / sessions - 3)
            lab.agent.runtime.turn()
            if number == WARM_UP or number % part == 0:
                print(json.dumps(asdict(use(lab, directory, number, counted.number))), flush=True)
                sys.stdin.readline()


def visit(lab: LabClient, clock: ManualClock, number: int) -> None:
    """One student, three seconds long."""
    student = lab.student(60, username_unique=f"student{number % 500}")
    assert student.post("/api/devices/switch/on").status == 200
    task = student.post("/api/tasks/measure", {"number": number}).json["task_id"]
    lab.agent.tasks.join(task, timeout=PATIENCE, error_on_timeout=True)
    clock.advance(3)
    assert student.get("/api/state").status == 200
    eventually(lambda: lab.finish(student)["should_finish"] == -1, "the end of a session")
    assert lab.value("switch") is False
    lab.agent.runtime.store.run(lambda db: None)  # and what nobody waited for


def use(lab: LabClient, directory: Path, sessions: int, statements: int) -> Use:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Use(
        sessions=sessions,
        memory=pages * os.sysconf("SC_PAGE_SIZE"),
        threads=len(os.listdir("/proc/self/task")),  # noqa: PTH208
        files=len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        database=sum(file.stat().st_size for file in (directory / "state").glob("labnode.db*")),
        statements=statements,
        cleaned=lab.browser().get("/cleaned").json["cleaned"],
    )


if __name__ == "__main__":
    live(Path(sys.argv[1]), int(sys.argv[2]))
