"""Power cuts at random moments of a real node's life: nothing that was answered for is lost.

strace records the writes, the syncs and the answers of a node in one order. A cut leaves what was
synced until then; of the rest, each sector of 512 bytes may have come to the disk or not.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from labnode.clock import Clock
from labnode.sessions.session import derive
from labnode.store import Store, file
from tests.kit.agents import agent_of
from tests.kit.figures import FigureReporter
from tests.kit.strace import need_strace, recorded, recording
from tests.kit.waiting import eventually
from tests.process.machine import PROBE, Node, Student

from .disk import CALLS, Disk

ANSWERS = ("recvfrom", "sendto", "sendmsg")


class Careless(Node):
    entry: ClassVar[Path] = Path(__file__).with_name("careless.py")


@dataclass(frozen=True)
class Answer:
    """What a client knew from a line of the record on."""

    line: int
    kind: str  # "start", "end" or "result"
    id: str
    result: Any = None  # of a start the student's token


@dataclass
class Exchange:
    """A request and its answer on one connection."""

    request: bytes = b""
    answer: bytes = b""
    answered: int = 0

    def known(self) -> Answer | None:
        """What the answer promises, if it does."""
        head, _, body = self.request.partition(b"\r\n\r\n")
        method, path = head.split(b" ", 2)[:2] if head.count(b" ") > 1 else (b"", b"")
        status, _, said = self.answer.partition(b"\r\n\r\n")
        if b" 200 " not in status.partition(b"\r\n")[0] or b"application/json" not in status:
            return None
        told = json.loads(said)
        parts = path.decode().strip("/").split("/")
        if parts[:2] == ["weblab", "sessions"]:
            if method == b"POST" and len(parts) == 2:
                token = told["url"].rpartition("/callback/")[2]
                return Answer(self.answered, "start", told["session_id"], token)
            ended = told.get("should_finish") == -1 or (b'"delete"' in body and told["finished"])
            return Answer(self.answered, "end", parts[2]) if ended else None
        if parts[:2] == ["api", "tasks"] and told.get("status") in ("done", "failed"):
            outcome = [told["status"], told["result"]]
            return Answer(self.answered, "result", told["task_id"], outcome)
        return None


class Record:
    """The life of a node: its calls, and the answers that it gave."""

    def __init__(self, path: Path) -> None:
        self.calls = list(recorded(path))
        exchanges: dict[str, Exchange] = {}
        self.answers: list[Answer] = []
        for call in self.calls:
            if call.name not in ANSWERS or "<TCP" not in call.arguments[0]:
                continue
            where = call.path()
            exchange = exchanges.setdefault(where, Exchange())
            if call.name == "recvfrom":
                if exchange.answer:
                    self._note(exchanges.pop(where))
                    exchange = exchanges.setdefault(where, Exchange())
                exchange.request += call.data()
            else:
                exchange.answered = exchange.answered or call.begun
                exchange.answer += call.data()[: call.result]
        for exchange in exchanges.values():
            self._note(exchange)

    def _note(self, exchange: Exchange) -> None:
        if answer := exchange.known():
            self.answers.append(answer)

    def cuts(self, disk: Disk, dice: random.Random, number: int) -> Iterator[int]:
        """`number` moments, each a line up to which all has happened on the `disk`."""
        moments = [c for c in self.calls if c.name not in ANSWERS or "<TCP" in c.arguments[0]]
        chosen = Counter(dice.choices(range(len(moments)), k=number))
        for at, call in enumerate(moments):
            if call.name not in ANSWERS:
                disk.do(call)
            for _ in range(chosen[at]):
                yield call.ended


def live(home: Path, kind: type[Node], sessions: int, dice: random.Random) -> Record:
    """The record of a node on `home`/state that serves some sessions and is killed or stopped."""
    record = home / "record"
    record.unlink(missing_ok=True)
    with kind(home, under=recording([*CALLS, *ANSWERS], record)) as node:
        for _ in range(sessions):
            visit(node, dice)
        if dice.random() < 0.5:
            node.stop()
        else:
            node.kill()
        pid = node.popen.pid
    eventually(lambda: not _is_traced(record, pid))
    return Record(record)


def visit(node: Node, dice: random.Random) -> None:
    """A student's session; the next one ends it if nothing else does."""
    student = node.student()
    for task in [student.start_task(name) for name in dice.sample(["hold", "chore"], 2)]:
        eventually(partial(_is_done, student, task))
    if dice.random() < 0.5:
        student.leave()
        eventually(lambda: node.server.status(student.session_id) == -1)
    if dice.random() < 0.8:
        assert node.server.delete(student.session_id).clean


def _is_done(student: Student, task: str) -> bool:
    return bool(student.get(f"/api/tasks/{task}").json["status"] == "done")


def _is_traced(record: Path, pid: int) -> bool:
    """Whether strace still writes: its command has -o RECORD."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(str(record)) in process.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def faults(state: Path, answers: list[Answer]) -> list[str]:
    """What of the `answers` is lost, or what is corrupt, when the node opens its database."""
    store = Store(state / "labnode.db", Clock())
    try:
        if store.alarm is not None:
            return [store.alarm]
        verdict = store.run(lambda db: db.execute("PRAGMA integrity_check").fetchall())
        if verdict != [("ok",)]:
            return [f"integrity_check: {verdict}"]
        sessions = {row["id"]: row["state"] for row in store.select("sessions", "1")}
        tasks = {row["id"]: [row["status"], row["result"]] for row in store.select("tasks", "1")}
    finally:
        store.close()
    secret = state / "secret_key"
    key = secret.read_bytes() if secret.exists() else b""
    found = []
    for answer in answers:
        kept = {
            "start": answer.id in sessions
            and answer.result == derive(key.strip(), "callback", answer.id),
            "end": sessions.get(answer.id) == "disposed",
            "result": tasks.get(answer.id) == answer.result,
        }
        if not kept[answer.kind]:
            found.append(f"the {answer.kind} of {answer.id} is lost")
    return found


def starts_again(home: Path) -> list[str]:
    """What is not in order when a whole node starts on what a cut has left."""
    agent = agent_of(home / "probe.yaml", settings={"log_level": "CRITICAL"})
    try:
        agent.start()
        eventually(lambda: all(s.active for s in agent.sessions.live()))
        alarm = agent.store.alarm
    finally:
        agent.stop()
    return [alarm] if alarm else []


class Cutter:
    """Cuts the power in a node's life, and looks at what is left."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self.dice = random.Random(seed)
        self.cuts = 0
        self.answers: Counter[str] = Counter()  # that had to outlive the cuts
        self.faults: list[str] = []

    def run(self, kind: type[Node], cuts: int, sessions: int, starts_every: int) -> None:
        """One life of a node, cut again and again; the last cut is where the next life begins."""
        state = self.home / "state"
        disk = Disk(state)
        record = live(self.home, kind, sessions, self.dice)
        after = self.home / "after"
        for line in record.cuts(disk, self.dice, cuts):
            shutil.rmtree(after, ignore_errors=True)
            (after / "state").mkdir(parents=True)
            disk.after_cut(self.dice, after / "state")
            known = [answer for answer in record.answers if answer.line <= line]
            self.answers.update(answer.kind for answer in known)
            self.cuts += 1
            found = faults(after / "state", known)
            if not found and starts_every and self.cuts % starts_every == 0:
                for name in (PROBE, PROBE.with_suffix(".py")):
                    shutil.copy(name, after)
                found = starts_again(after)
            self.faults += [f"cut {self.cuts} at line {line}: {fault}" for fault in found]
        shutil.rmtree(state)
        (after / "state").rename(state)


@pytest.fixture
def cutter(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_modules: None,
) -> Iterator[Cutter]:
    need_strace()
    quick = file._PRAGMAS.replace("synchronous = FULL", "synchronous = OFF")
    monkeypatch.setattr(file, "_PRAGMAS", quick)  # of the looks at what is left
    seed = int(os.environ.get("LABNODE_TEST_SEED", "1"))
    print(f"LABNODE_TEST_SEED={seed}")
    with Path(os.devnull).open("wb") as nowhere:
        monkeypatch.setenv("LABNODE_TEST_TRACE", str(nowhere.fileno()))
        yield Cutter(tmp_path, seed)


def test_no_power_cut_loses_what_was_answered_for(
    cutter: Cutter, long_run: bool, figure: FigureReporter
) -> None:
    lives, cuts, sessions = (20, 250, 30) if long_run else (1, 200, 12)
    for life in range(lives):
        cutter.run(Node, cuts, sessions, starts_every=20)
        if long_run:
            print(f"{life + 1} of {lives} lives", file=sys.__stderr__)
        assert cutter.faults == []
    assert min(cutter.answers[kind] for kind in ("start", "end", "result")) > cuts
    figure(
        "power cuts at random moments",
        "0 corrupt databases, 0 answered starts, ends and results lost",
        f"{cutter.cuts} cuts: 0 corrupt, 0 lost; looked for {cutter.answers['start']} starts, "
        f"{cutter.answers['end']} ends and {cutter.answers['result']} results",
    )


def test_the_cuts_find_what_a_database_that_does_not_sync_loses(cutter: Cutter) -> None:
    cutter.run(Careless, 60, 4, starts_every=0)
    assert any("lost" in fault for fault in cutter.faults), cutter.faults
