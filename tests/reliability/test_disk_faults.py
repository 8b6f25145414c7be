"""A disk that is full, broken or read-only from any write of a real node on: it goes on."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from labnode.clock import Clock
from labnode.errors import LabnodeError
from tests.kit.figures import FigureReporter
from tests.kit.strace import Fault, failing, need_strace, refusals
from tests.kit.waiting import eventually
from tests.process.machine import PROBE, SAFE, Answer, Machine, Node, Process, Student

WRITES = ("write", "pwrite64", "pwritev", "ftruncate", "fallocate")
SYNCS = ("fsync", "fdatasync")
FAULTS = [(WRITES, "ENOSPC"), ((*WRITES, *SYNCS), "EIO"), (SYNCS, "EIO"), (WRITES, "EROFS")]
MOMENTS = ["before the start", "active", "in a task", "leaving"]
FILES = [f"labnode.db{suffix}" for suffix in ("", "-wal", "-shm")]


def a_fault(dice: random.Random, number: int, state: Path) -> Fault:
    """The disk is full, broken, broken when it syncs, or read-only, from some call on."""
    calls, error = FAULTS[number % len(FAULTS)]
    since = dice.randrange(1, 4 if calls is SYNCS else 15)
    return Fault(calls, error, [state / name for name in FILES], since)


class Traceable(Node):
    entry: ClassVar[Path] = Path(__file__).with_name("traceable.py")


class Faulty:
    """A node whose disk fails now and then."""

    def __init__(self, home: Path) -> None:
        self.node = Traceable(home)
        self.acknowledged: set[str] = set()
        self.refused: list[str] = []  # starts, with what was said
        self.struck = 0  # faults that something was refused by
        self.slowest = 0.0

    def round(self, moment: str, fault: Fault) -> None:
        """A session whose disk fails from a moment on, and the next one when it works again."""
        student = None if moment == "before the start" else self.start()
        if moment == "in a task":
            assert student is not None
            student.start_task("hold", how="wait")
        record = self.node.home / "record"
        with failing(self.node.popen.pid, fault, record):
            try:
                student = student or self.start()
            except LabnodeError as refusal:
                self.refused.append(str(refusal))
            else:
                (self.leave if moment == "leaving" else self.use)(student)
                assert self.node.server.delete(student.session_id).clean
            assert self.node.levels_so_far() == SAFE
            self.node.server.check()
        self.struck += refusals(record) > 0
        began = Clock().now()
        eventually(self.serves, "it does not recover")
        self.slowest = max(self.slowest, Clock().now() - began)

    def start(self) -> Student:
        student = self.node.student()
        self.acknowledged.add(student.session_id)
        return student

    def use(self, student: Student) -> None:
        """What a student does gets an answer: yes, or a sentence about the disk."""
        for answer in (
            student.get("/api/state"),
            student.post("/api/devices/switch/on"),
            student.post("/api/tasks/chore", {}),
            student.post("/api/tasks/hold", {}),
        ):
            assert answer.status in (200, 403, 409, 503), answer
            if answer.status == 503:
                assert "message" in answer.json

    def leave(self, student: Student) -> None:
        assert student.leave().status == 200
        eventually(lambda: self.node.server.status(student.session_id) == -1)

    def serves(self) -> bool:
        """Whether a session starts, does a task to its end, and ends."""
        try:
            student = self.start()
        except LabnodeError:
            return False
        task = student.start_task("hold")
        eventually(lambda: self.outcome(student, task).json["status"] == "done")
        return self.node.server.delete(student.session_id).clean

    def outcome(self, student: Student, task: str) -> Answer:
        return student.get(f"/api/tasks/{task}")

    def rows(self) -> dict[str, str]:
        """The states of all sessions, from a database that is in order."""
        db = sqlite3.connect(self.node.state / "labnode.db")
        verdict: list[Any] = db.execute("PRAGMA integrity_check").fetchall()
        rows = dict(db.execute("SELECT id, state FROM sessions"))
        db.close()
        assert verdict == [("ok",)]
        return rows


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Faulty]:
    need_strace()
    faulty = Faulty(tmp_path)
    yield faulty
    faulty.node.end()


def test_a_node_goes_on_whatever_its_disk_refuses(
    faulty: Faulty, long_run: bool, figure: FigureReporter
) -> None:
    rounds = 400 if long_run else 8
    seed = int(os.environ.get("LABNODE_TEST_SEED", "1"))
    dice = random.Random(seed)
    for number in range(rounds):
        moment, fault = dice.choice(MOMENTS), a_fault(dice, number, faulty.node.state)
        try:
            faulty.round(moment, fault)
        except BaseException as trouble:
            trouble.add_note(f"round {number} of LABNODE_TEST_SEED={seed}: {moment}, {fault}")
            raise
        assert faulty.slowest <= 10
        if long_run and number % 50 == 49:
            print(f"{number + 1} faults", file=sys.__stderr__)
    assert all("database" in sentence for sentence in faulty.refused), faulty.refused
    assert faulty.struck > rounds / 2
    faulty.node.stop()
    rows = faulty.rows()
    assert faulty.acknowledged <= set(rows)
    assert set(rows.values()) == {"disposed"}
    levels = faulty.node.levels()
    assert levels == SAFE
    figure(
        "the disk is full, broken or read-only from any write on",
        "serves, cleans up, safe; all as before within 10 s",
        f"{faulty.struck} faults: {len(faulty.refused)} starts refused with a sentence, all else "
        f"served and cleaned up; the next session at most {faulty.slowest:.1f} s after the fault",
    )


def test_a_node_whose_disk_fails_while_it_starts_starts_when_it_works(
    machine: Machine, long_run: bool, figure: FigureReporter
) -> None:
    """As systemd does: again and again, with the outputs safe in between."""
    need_strace()
    seed = int(os.environ.get("LABNODE_TEST_SEED", "1"))
    dice = random.Random(seed)
    starts = 40 if long_run else 2
    told, struck = 0, 0
    state, record = machine.home / "state", machine.home / "record"
    run = ("run", PROBE, "--simulate", "--port", "0", "--state-dir", state)
    for number in range(starts):
        fault = a_fault(dice, number, state)
        fault = replace(fault, since=dice.randrange(1, 3 if fault.calls is SYNCS else 12))
        note = f"start {number} of LABNODE_TEST_SEED={seed}: {fault}"
        process = machine.process(*run, under=["strace", "-D", *fault.options(record)])
        if not serves(process):
            told += 1
            assert process.wait() == 2, note
            sentence = process.errors.splitlines()[-1]
            assert sentence.startswith("labnode: "), note
            assert "labnode.db" in sentence, (note, sentence)
        process.end()
        struck += refusals(record) > 0
        with machine.node() as node:
            student = node.student()
            assert node.server.delete(student.session_id).clean, note
            node.stop()
    assert told
    figure(
        "the disk is full, broken or read-only when the node starts",
        "it says so and starts when the disk works again",
        f"{struck} faults in {starts} starts: {told} ended with a sentence; the next start served "
        "each time",
    )


def serves(process: Process) -> bool:
    """Whether it gets that far, instead of ending."""
    try:
        process.output.wait_for(" serves ")
    except AssertionError:
        return False
    return True
