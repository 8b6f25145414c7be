"""SIGKILL at random points of queueing, scheduling, taking, running, finishing and ticking."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.figures import FigureReporter
from tests.kit.waiting import PATIENCE
from tests.process.machine import environment
from tests.reliability.test_kills import Diary

ROOT = Path(__file__).parent.parent.parent
TRIES = {"chore": 1, "heat": 1, "tick": 1, "bell": 1, "flaky": 3, "again": 3}  # at most
PERIODIC = {"tick", "bell"}  # by the time since boot, and by the wall clock


class Lives:
    """One life after the other on one database."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.diary = Diary()
        seed = int(os.environ.get("LABNODE_TEST_SEED", "1"))
        print(f"LABNODE_TEST_SEED={seed}")
        self.dice = random.Random(seed)
        self._pid: int | None = None
        self.ticks = set[tuple[str, float]]()  # the last that were noted when a life ended
        with (home / "stderr").open("ab") as errors:
            self._forks = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.queue_lives", str(home)],
                stdin=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                pass_fds=[self.diary.descriptor],
                env=environment(home, LABNODE_TEST_DIARY=str(self.diary.descriptor)),
            )
        assert self.diary.next("ready", 0) is not None, (home / "stderr").read_text()

    def begin(self, *words: str) -> int:
        """Begin a life; the line of the diary where it begins."""
        since = len(self.diary.lines)
        assert self._forks.stdin is not None
        print(self.dice.randrange(10**6), *words, file=self._forks.stdin, flush=True)
        line = self.diary.next("pid", since)
        assert line is not None, "no life begins"
        self._pid = int(self.diary.lines[line].split()[1])
        return line

    def ended(self, since: int) -> int:
        line = self.diary.next("exit", since)
        assert line is not None, "it did not end"
        self._pid = None
        return int(self.diary.lines[line].split()[1])

    def kill_one(self) -> None:
        """Begin a life, and kill it somewhere in it: also before it has begun anything."""
        since = self.begin()
        if self.dice.random() < 0.8:
            assert self.diary.next("begun", since) is not None, (self.home / "stderr").read_text()
            for _ in range(self.dice.randrange(40)):
                since = self.diary.next("ack|begin|end", since + 1) or since
        # A pause is what this is about: somewhere in what comes now.
        threading.Event().wait(self.dice.choice([0, 0.0005, 0.002, 0.01]) * self.dice.random())
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
        assert self.ended(since) == -signal.SIGKILL, (self.home / "stderr").read_text()

    def check_ticks(self) -> None:
        """A tick is noted with the task that it queues, in one transaction: both, or neither."""
        with closing(sqlite3.connect(self.home / "labnode.db")) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'kv'").fetchone():
                return  # it was killed before it had a database
            for name, noted in db.execute("SELECT key, value FROM kv").fetchall():
                _, _, at = json.loads(noted)
                since = "SELECT id FROM tasks WHERE name = ? AND submitted_at >= ?"
                tasks = db.execute(since, (name, at)).fetchall()
                assert len(tasks) == 1, f"{len(tasks)} tasks {name} since the tick that was noted"
                self.ticks.add((name, at))

    def close(self) -> None:
        assert self._forks.stdin is not None
        self._forks.stdin.close()
        if self._pid is not None:  # the test has failed
            os.kill(self._pid, signal.SIGKILL)
        self._forks.wait(PATIENCE)
        self.diary.close()


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    lives = Lives(tmp_path)
    yield lives
    lives.close()


def test_no_acknowledged_task_is_lost_or_begun_twice_whenever_the_node_is_killed(
    lives: Lives, long_run: bool, figure: FigureReporter
) -> None:
    kills = 500 if long_run else 20
    for number in range(kills):
        lives.kill_one()
        lives.check_ticks()
        if number % 50 == 49:
            print(f"{number + 1} kills", file=sys.__stderr__)
    since = lives.begin("drain")
    assert lives.ended(since) == 0, (lives.home / "stderr").read_text()
    assert {name for name, _ in lives.ticks} == PERIODIC
    counted = check(lives.diary.lines, lives.home / "labnode.db")
    figure(
        "the node is killed while it queues and runs tasks",
        "0 acknowledged tasks lost, none begun twice, no tick doubled",
        f"{kills} kills: of {counted['acknowledged']} acknowledged tasks 0 lost, 0 begun more "
        f"often than they say, {counted['interrupted']} interrupted; 0 of {counted['ticks']} ticks "
        "doubled; history and queue agreed at every start",
    )


def check(lines: list[str], database: Path) -> Counter[str]:
    """What the diary and the database say agrees; AssertionError for a fault."""
    with closing(sqlite3.connect(database)) as db:
        db.row_factory = sqlite3.Row
        rows = {row["id"]: row for row in db.execute("SELECT * FROM tasks")}
        waiting = [*db.execute("SELECT data FROM task"), *db.execute("SELECT data FROM schedule")]
        keys = {row["queue"] for row in db.execute("SELECT queue FROM kv")}
        verdict = db.execute("PRAGMA integrity_check").fetchall()
    assert [tuple(row) for row in verdict] == [("ok",)]
    assert not [line for line in lines if line.startswith("differs")]
    begun: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    stopped: set[str] = set()
    born: dict[str, int] = {}  # in which life each task was acknowledged
    life, acknowledged = 0, {}
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "pid":
            life += 1
        elif word == "ack":
            task_id, name, whose = rest.split()
            acknowledged[task_id] = name
            if whose == "student":
                born[task_id] = life
        elif word == "begin":
            # The end of one that may be repeated may have been told and not stored.
            may_repeat = rest in rows and rows[rest]["name"] == "again"
            assert rest not in ended or may_repeat, f"{rest} begins after its end"
            assert born.get(rest, life) == life, f"{rest} of a student begins in the next life"
            begun[rest] += 1
        elif word == "end":
            ended[rest] += 1
        elif word == "stop":
            stopped.add(rest)
    for task_id in acknowledged:
        assert task_id in rows, f"the task {task_id} is lost"
    for task_id, number in begun.items():
        assert number <= TRIES[rows[task_id]["name"]], f"{task_id} began {number} times"
    left = [row for row in rows.values() if row["status"] in ("submitted", "running")]
    assert {row["name"] for row in left} <= PERIODIC
    # One that had just begun when the last life ended has left Huey's tables.
    assert len(waiting) == sum(row["status"] == "submitted" for row in left)
    assert keys <= {"ticks"}, "a lock is left"
    errors = [row for row in rows.values() if row["status"] == "failed"]
    for row in errors:
        expected = row["name"] == "flaky" or row["id"] in stopped
        assert expected or "interrupted" in row["error"] or row["id"] in born, dict(row)
    ticks = [row for row in rows.values() if row["name"] in PERIODIC]
    interrupted = sum("interrupted" in (row["error"] or "") for row in errors)
    return Counter(acknowledged=len(acknowledged), interrupted=interrupted, ticks=len(ticks))
