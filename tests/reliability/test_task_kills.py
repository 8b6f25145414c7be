"""SIGKILL at random moments of queueing, scheduling, taking, running, finishing and ticking."""

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
from pathlib import Path
from typing import Any

import pytest

from tests.kit.figures import FigureReporter
from tests.process.machine import environment
from tests.reliability.test_kills import Diary

SHORT, LONG = 20, 500  # kills
TRIES = {"plain": 1, "heats": 1, "failing": 3, "session": 1}  # how often each may begin at most


class Lives:
    """One life after the other on one database, and what all of them have told."""

    def __init__(self, home: Path) -> None:
        self.diary = Diary()
        self.database = home / "labnode.db"
        self.ticks = set[tuple[str, float]]()  # that were noted last when a life ended
        with (home / "stderr").open("ab") as errors:
            self._forks = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.task_lives", home],
                stdin=subprocess.PIPE,
                stderr=errors,
                text=True,
                pass_fds=[self.diary.descriptor],
                env=environment(
                    home,
                    LABNODE_TEST_DIARY=str(self.diary.descriptor),
                    PYTHONPATH=str(Path(__file__).parents[2]),
                ),
            )
        self.await_line("ready", 0)

    def await_line(self, pattern: str, since: int) -> int:
        line = self.diary.next(pattern, since)
        assert line is not None, f"no {pattern!r}"
        return line

    def begin(self, order: object) -> tuple[int, int]:
        """A new life; its process, and where it begins in the diary."""
        since = len(self.diary.lines)
        assert self._forks.stdin is not None
        print(order, file=self._forks.stdin, flush=True)
        line = self.await_line("pid", since)
        return int(self.diary.lines[line].split()[1]), line

    def killed(self, chance: random.Random) -> bool:
        """A life that is killed; whether that was before it had recovered."""
        pid, line = self.begin(chance.randrange(10**6))
        early = chance.random() < 0.25
        if not early:
            self.await_line("recovered|exit", line)
        # A pause is what this is about: at any moment of what a life does.
        threading.Event().wait(chance.uniform(0, 0.1 if early else 0.3))
        os.kill(pid, signal.SIGKILL)
        ended = self.await_line("exit", line)
        assert self.diary.lines[ended] == f"exit {-signal.SIGKILL}"
        return not any(text == "recovered" for text in self.diary.lines[line:ended])

    def rest(self) -> None:
        """A life in which all that is left is done."""
        _, line = self.begin("end")
        ended = self.await_line("exit", line)
        assert self.diary.lines[ended - 1 : ended + 1] == ["rests", "exit 0"]

    def select(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """What is in the database between two lives."""
        connection = sqlite3.connect(self.database)
        try:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def check_ticks(self) -> None:
        """A tick is stored with the task that it queues: both, or neither."""
        if not self.select("SELECT name FROM sqlite_master WHERE name = 'kv'"):
            return  # it was killed before there was a database
        for name, noted in self.select("SELECT key, value FROM kv"):
            _, _, at = json.loads(bytes(noted))
            rows = self.select(
                "SELECT id FROM tasks WHERE name = ? AND submitted_at >= ?", name, at
            )
            assert len(rows) == 1, f"{len(rows)} tasks {name!r} since the tick that was noted"
            self.ticks.add((name, at))

    def close(self) -> None:
        assert self._forks.stdin is not None
        self._forks.stdin.close()
        self._forks.wait(120)
        self.diary.close()


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    lives = Lives(tmp_path)
    yield lives
    lives.close()


def test_no_task_is_lost_or_begun_twice_whenever_the_node_is_killed(
    lives: Lives, long_run: bool, figure: FigureReporter
) -> None:
    chance = random.Random(15)
    early = 0
    for _ in range(LONG if long_run else SHORT):
        early += lives.killed(chance)
        lives.check_ticks()
    lives.rest()
    assert {name for name, _ in lives.ticks} == {"often", "by_the_wall"}

    lines = lives.diary.lines
    assert [line for line in lines if line.startswith("wrong")] == []
    accepted, begun, session_life = dict[str, str](), Counter[str](), dict[str, int]()
    life = 0
    for line in lines:
        what, *words = line.split()
        if what == "pid":
            life += 1
        elif what == "ack":
            accepted[words[0]] = words[1]
            if words[1] == "session":
                session_life[words[0]] = life
        elif what == "begin":
            begun[words[0]] += 1
            assert session_life.get(words[0], life) == life, "begun after its session's life"

    rows = {row["id"]: row for row in lives.select("SELECT * FROM tasks")}
    assert accepted.keys() <= rows.keys(), "a task that was accepted is lost"
    for task_id, name in accepted.items():
        row = rows[task_id]
        assert row["status"] in ("done", "failed"), f"{name} is {row['status']} for ever"
        assert begun[task_id] <= TRIES.get(name, 500), f"{name} has begun {begun[task_id]} times"
        if name == "repeated":
            assert row["status"] == "done"
        elif row["status"] == "failed" and name != "failing":
            assert json.loads(row["error"])["code"] == "interrupted"
            assert name == "session" or row["started_at"] is not None, f"{name} has not begun"
    repeated = sum(begun[task_id] > 1 for task_id, name in accepted.items() if name == "repeated")
    kinds = Counter(accepted.values())
    assert kinds.keys() == {*TRIES, "repeated"}
    figure(
        "SIGKILL among the node's tasks",
        "no accepted task lost, none begun twice, no tick doubled, history and queues agree",
        f"so it was after {LONG if long_run else SHORT} kills ({early} of them before it had "
        f"recovered), with {len(accepted):,} tasks; {repeated} that may be repeated were",
    )
