"""SIGKILL at random moments of real sessions over HTTP, and the start after each as systemd's.

One central server and its students, one node after the other with one state directory, and pins
that keep their levels. Everything that happens stands in one diary in its order.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from labnode.clock import Clock
from labnode.errors import LabnodeError
from labnode.weblab.fake import CentralServer
from tests.kit.figures import FigureReporter
from tests.kit.latching import Levels
from tests.kit.programs import ran
from tests.kit.waiting import PATIENCE
from tests.process.machine import PASSWORD, USERNAME, Student, environment

HERE = Path(__file__).parent
SAFE = {17: 0.0, 24: 1.0, 18: 0.0}
TOOL = "#!/bin/sh\necho 'Download 10%'\nsleep 0.02\necho 'Download 100%'\n"
# What the diary says, or the driver, when each phase begins.
PHASES = {
    "start": "asks",
    "on_start": "on_start",
    "active": "started",
    "task": "task",
    "programming": "programs",
    "dispose": "on_dispose",
    "recovery": "pid",
}


class Diary:
    """Lines of all processes in their order; any thread may wait for one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.times: list[float] = []
        self._read, self.descriptor = os.pipe()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="diary")
        self._thread.start()

    def tell(self, line: str) -> None:
        os.write(self.descriptor, f"{line}\n".encode())

    def next(self, pattern: str, since: int, patience: float = PATIENCE) -> int | None:
        """The index of the next line that fits, from `since` on; None if it does not come."""
        wanted = re.compile(pattern)
        place = itertools.count(since)
        number = next(place)
        end = Clock().now() + patience
        with self._news:
            while True:
                while number < len(self.lines):
                    if wanted.match(self.lines[number]):
                        return number
                    number = next(place)
                if not self._news.wait(end - Clock().now()) and Clock().now() >= end:
                    return None

    def close(self) -> None:
        os.close(self.descriptor)
        self._thread.join()

    def _work(self) -> None:
        with os.fdopen(self._read, encoding="utf-8") as lines:
            for line in lines:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self.times.append(Clock().now())
                    self._news.notify_all()


class Service:
    """The node as systemd keeps it: after each end `labnode safe`, then the next one."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self.dice = random.Random(seed)
        self.diary = Diary()
        self.running: int | None = None  # the command's process
        self.kills: Counter[str] = Counter()
        self.driven = 0  # kills that left an output on
        self.up = threading.Event()
        self.sessions = 0  # that the central server has asked for
        self.trouble: list[str] = []
        self.levels = Levels(home / "pins")
        for number in SAFE:
            self.levels[number] = 0.5  # nobody has made it safe yet
        tool = home / "bin" / "dfu-util"
        tool.parent.mkdir()
        tool.write_text(TOOL)
        tool.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        with (home / "stderr").open("ab") as errors:
            self._forks = subprocess.Popen(
                [sys.executable, HERE / "forks.py", HERE / "kills.yaml"],
                stdin=subprocess.PIPE,
                stderr=errors,
                text=True,
                pass_fds=[self.diary.descriptor],
                env=environment(
                    home,
                    PATH=f"{tool.parent}{os.pathsep}{os.environ['PATH']}",
                    LABNODE_TEST_DIARY=str(self.diary.descriptor),
                    LABNODE_TEST_PINS=str(home / "pins"),
                ),
            )
        assert self.diary.next("ready", 0) is not None, (home / "stderr").read_text()

    def begin(self, *command: str) -> tuple[int, int]:
        """Start a command; its process id, and the line of the diary that tells it."""
        since = len(self.diary.lines)
        assert self._forks.stdin is not None
        state = ("--state-dir", str(self.home / "state"))
        print(json.dumps([*command, *state]), file=self._forks.stdin, flush=True)
        line = self.diary.next("pid", since)
        assert line is not None, "the command did not start"
        self.running = int(self.diary.lines[line].split()[1])
        return self.running, line

    def ended(self, since: int) -> int:
        """The exit code of the command that runs."""
        line = self.diary.next("exit", since)
        assert line is not None, "it did not end"
        self.running = None
        return int(self.diary.lines[line].split()[1])

    def node(self) -> tuple[int, int]:
        return self.begin("run", str(HERE / "kills.yaml"), "--port", str(self.port))

    def kill_in(self, phase: str, after: int) -> None:
        """Let a node run for `after` sessions, kill it in `phase`, and make the outputs safe."""
        pid, since = self.node()
        if phase != "recovery":
            ready = self.diary.next("labnode .* serves|exit", since)
            assert ready is not None, "the node does not get ready"
            assert self.diary.lines[ready].startswith("labnode"), "the node has ended"
            self.up.set()
            for _ in range(after):
                ready = self.diary.next("asks", ready + 1) or ready
            self.diary.next(PHASES[phase], ready + 1, 20)
        # A pause is what this is about: somewhere in this phase, or just behind it.
        threading.Event().wait(self.dice.choice([0, 0.001, 0.005, 0.02, 0.05]) * self.dice.random())
        if phase == "recovery":
            threading.Event().wait(0.3 * self.dice.random())
        self.up.clear()
        os.kill(pid, signal.SIGKILL)
        code = self.ended(since)
        assert code == -signal.SIGKILL, f"it has ended itself with {code}"
        self.kills[phase] += 1
        self.driven += self.outputs() != SAFE
        self.make_safe()

    def make_safe(self) -> None:
        _, since = self.begin("safe", str(HERE / "kills.yaml"))
        code = self.ended(since)
        assert code == 0, f"labnode safe: {code}"
        assert self.outputs() == SAFE

    def outputs(self) -> dict[int, float | None]:
        return {number: self.levels[number] for number in SAFE}

    def stop(self) -> None:
        """End the node as systemd does, in order."""
        assert self.running is not None
        since = len(self.diary.lines)
        os.kill(self.running, signal.SIGTERM)
        assert self.ended(since) == 0

    def close(self) -> None:
        assert self._forks.stdin is not None
        self._forks.stdin.close()
        if self.running is not None:  # the test has failed
            os.kill(self.running, signal.SIGKILL)
        self._forks.wait(PATIENCE)
        self.diary.close()
        self.levels.close()


class Central:
    """The central server with one student at a time, who does this and that and goes."""

    def __init__(self, service: Service, seed: float) -> None:
        self.service = service
        self.dice = random.Random(seed)
        self.started: set[str] = set()  # sessions whose start was answered
        self.deleted: set[str] = set()  # whose end was answered
        url = f"http://127.0.0.1:{service.port}"
        self.server = CentralServer(url, USERNAME, PASSWORD, timeout=30, start_timeout=60)

    def session(self) -> None:
        """One session, with whatever kills meanwhile; a student who is cut off comes again."""
        self.service.sessions += 1
        reservation = f"r{self.service.sessions}"
        found = None
        while found is None:
            assert self.service.up.wait(PATIENCE), "the node does not come up"
            with suppress(LabnodeError):
                self.service.diary.tell("asks")
                pause = self.dice.choice([0, 0.01, 0.03])
                found = self.server.new(
                    reservation_id=reservation, client_initial_data={"pause": pause}
                )
        session_id, url = found
        self.started.add(session_id)
        with suppress(OSError, HTTPException, AssertionError):
            student = Student(session_id, url)
            for _ in range(self.dice.randrange(4)):
                self.act(student)
            if self.dice.random() < 0.3:
                student.leave()
        if self.dice.random() < 0.9:  # else the next start ends it
            self.delete(session_id)

    def act(self, student: Student) -> None:
        what = self.dice.choice(["command", "heat", "count", "program", "look"])
        if what == "command":
            answer = student.post("/api/devices/switch/on")
        elif what == "program":
            self.service.diary.tell("programs")
            answer = student.post("/api/devices/chip/program?name=a.bin", b"firmware")
        elif what == "look":
            answer = student.get("/api/state")
        else:
            answer = student.post(f"/api/tasks/{what}", {})
        if answer.status not in (200, 202, 403, 409, 503):
            self.service.trouble.append(repr(answer))

    def delete(self, session_id: str) -> None:
        while not self.server.delete(session_id).clean:
            assert self.service.up.wait(PATIENCE), "the node does not come up"
        self.deleted.add(session_id)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    seed = int(os.environ.get("LABNODE_TEST_SEED", "1"))
    service = Service(tmp_path, seed)
    print(f"LABNODE_TEST_SEED={seed}")
    yield service
    service.close()


def test_every_session_is_disposed_once_whenever_the_node_is_killed(
    service: Service, long_run: bool, figure: FigureReporter
) -> None:
    kills, sessions = (1000, 5000) if long_run else (14, 60)
    central = Central(service, service.dice.random())
    failed: list[BaseException] = []

    def fate() -> None:
        try:
            phases = itertools.cycle(PHASES)
            for number in range(kills):
                service.kill_in(next(phases), service.dice.randrange(2 * sessions // kills))
                if number % 50 == 49:
                    print(f"{number + 1} kills, {service.sessions} sessions", file=sys.__stderr__)
            _, since = service.node()
            service.diary.next("labnode .* serves", since)
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)
        service.up.set()

    thread = threading.Thread(target=fate, name="fate")
    thread.start()
    while (service.sessions < sessions or thread.is_alive()) and not failed:
        central.session()
    thread.join()
    if failed:
        raise failed[0]
    central.session()
    for session_id in central.started:
        assert central.server.status(session_id) == -1 or central.delete(session_id) is None
    service.stop()
    assert service.outputs() == SAFE
    assert service.trouble == []

    again = disposals(service.diary.lines)
    check_database(service.home / "state" / "labnode.db", central)
    assert service.driven > kills / 5, "the kills come when nothing is on"
    figure(
        "the node is killed at random",
        "every session cleaned up, no two at once, outputs safe",
        f"{sum(service.kills.values())} kills ({phases_of(service.kills)}) in {service.sessions} "
        f"sessions: all cleaned up, {again} of them twice as the kill came in between, 0 two at "
        f"once, {service.driven} times an output was on, safe after each",
    )


def test_a_killed_nodes_outputs_are_safe_within_two_seconds_of_work(
    tmp_path: Path, figure: FigureReporter
) -> None:
    """CPU time, which other tests do not change; the command is a process of its own here."""
    levels = Levels(tmp_path / "pins")
    for number in SAFE:
        levels[number] = 0.5
    command = [sys.executable, "-m", "tests.kit.latching", "safe", str(HERE / "kills.yaml")]
    env = environment(tmp_path, LABNODE_TEST_PINS="pins")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran(command, cwd=tmp_path, env=env, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outputs = {number: levels[number] for number in SAFE}
    levels.close()
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert outputs == SAFE
    assert seconds <= 2
    figure(
        "CPU time until the outputs of a killed node are safe",
        "at most 2 s",
        f"{seconds:.2f} s on the machine of the test",
    )


@pytest.mark.parametrize(
    ("diary", "fault"),
    [
        ("on_start a, on_start b", "two at once"),
        ("on_start a, disposed a, on_start a", "again after its end"),
        ("on_start a, disposed a, on_dispose a, disposed a", "twice"),
        ("on_start a, exit -9", "never cleaned up"),
    ],
)
def test_the_diary_of_a_fault_is_told_from_that_of_a_node(diary: str, fault: str) -> None:
    node = "on_start a, exit -9, on_dispose a, disposed a, exit -9, on_dispose a, disposed a"
    assert disposals(node.split(", ")) == 1
    with pytest.raises(AssertionError, match=fault):
        disposals(diary.split(", "))


def phases_of(kills: Counter[str]) -> str:
    return ", ".join(f"{number} in {phase}" for phase, number in sorted(kills.items()))


def disposals(lines: list[str]) -> int:
    """How many clean-ups ran again, which only a kill explains; AssertionError for a fault."""
    on_board: str | None = None
    cleaned: dict[str, int] = {}  # the line where the clean-up of each ended last
    begun: set[str] = set()
    kill, again = -1, 0
    for number, line in enumerate(lines):
        word, _, session = line.partition(" ")
        if line.startswith("exit -9"):
            kill = number
        elif word == "on_start":
            assert on_board in (None, session), f"two at once, line {number}: {line}"
            assert session not in cleaned, f"again after its end, line {number}: {line}"
            on_board = session
            begun.add(session)
        elif word == "on_dispose":
            assert on_board in (None, session), f"two at once, line {number}: {line}"
            on_board = session
        elif word == "disposed":
            if session in cleaned:
                assert cleaned[session] < kill, f"twice, line {number}: {line}"
                again += 1
            assert on_board == session, f"another's, line {number}: {line}"
            cleaned[session] = number
            on_board = None
    assert begun <= set(cleaned), f"never cleaned up: {begun - set(cleaned)}"
    return again


def check_database(path: Path, central: Central) -> None:
    """Every session that was answered for is there, and each has ended once."""
    db = sqlite3.connect(path)
    states = dict(db.execute("SELECT id, state FROM sessions"))
    ends = Counter(
        session
        for (session,) in db.execute(
            "SELECT session_id FROM events WHERE kind = 'session.disposed'"
        )
    )
    quarantine = db.execute("SELECT value FROM node WHERE key = 'quarantine'").fetchall()
    db.close()
    assert central.started <= set(states)
    assert set(states.values()) == {"disposed"}
    assert ends == Counter(set(states))
    assert quarantine in ([], [("null",)])
