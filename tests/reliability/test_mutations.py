"""A node starts with whatever has become of its database's file, serves, disposes and is safe."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labnode.clock import Clock
from labnode.store import file
from labnode.weblab.fake import CentralServer
from tests.kit.agents import agent_of
from tests.kit.figures import FigureReporter
from tests.kit.waiting import eventually
from tests.process.machine import PROBE, Machine

SAFE = {"switch": False, "heater": True, "cooler": True, "dimmer": 1}
PAGE = 1024


def flip(data: bytearray, dice: random.Random) -> None:
    """Some bits, as an old SD card does."""
    for _ in range(dice.choice([1, 3, 40])):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def blank(data: bytearray, dice: random.Random) -> None:
    """A sector of zeros, of ones or of something else."""
    at = dice.randrange(len(data)) // 512 * 512
    data[at : at + 512] = dice.choice([bytes(512), b"\xff" * 512, dice.randbytes(512)])


def swap(data: bytearray, dice: random.Random) -> None:
    """One page where another one should be."""
    a, b = (dice.randrange(len(data)) // PAGE * PAGE for _ in range(2))
    data[a : a + PAGE] = data[b : b + PAGE]


def cut(data: bytearray, dice: random.Random) -> None:
    """The end is missing."""
    del data[dice.randrange(len(data)) :]


def grow(data: bytearray, dice: random.Random) -> None:
    """Something is behind the end."""
    data += dice.randbytes(dice.randrange(1, 4 * PAGE))


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [flip, blank, swap, cut, grow]


@pytest.fixture
def killed(machine: Machine) -> Path:
    """The state directory of a node that was killed in a session."""
    node = machine.node()
    for _ in range(8):
        student = node.student(level=1)
        student.start_task("chore")
        assert node.server.delete(student.session_id).clean
    node.student()
    node.kill()
    return node.state


@pytest.fixture
def home(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    own_modules: None,
) -> Iterator[Path]:
    """Where the nodes of the test run."""
    quick = file._PRAGMAS.replace("synchronous = FULL", "synchronous = OFF")
    monkeypatch.setattr(file, "_PRAGMAS", quick)  # no power is cut here
    caplog.set_level(logging.CRITICAL)
    home = tmp_path / "mutated"
    home.mkdir()
    for source in (PROBE, PROBE.with_suffix(".py")):
        shutil.copy(source, home)
    with Path(os.devnull).open("wb") as nowhere:
        monkeypatch.setenv("LABNODE_TEST_TRACE", str(nowhere.fileno()))
        yield home


def serves(home: Path) -> tuple[float, bool]:
    """Seconds until a node has started and served one session, and whether all data was lost."""
    began = Clock().now()
    agent = agent_of(home / PROBE.name, settings={"log_level": "CRITICAL"})
    try:
        agent.start()
        lost = agent.store.alarm is not None
        server = CentralServer(agent.url, "weblab", "weblab")
        session, _ = server.new(reservation_id="after the mutation")
        assert server.status(session) > 0
        assert server.delete(session).clean
        seconds = Clock().now() - began
        eventually(lambda: not agent.sessions.live())
        assert {name: agent.board.snapshot[name]["value"] for name in SAFE} == SAFE
    finally:
        agent.stop()
    return seconds, lost


def test_a_node_serves_whatever_has_become_of_its_database(
    home: Path, killed: Path, long_run: bool, figure: FigureReporter
) -> None:
    number = 500 if long_run else 30
    seed = int(os.environ.get("LABNODE_TEST_SEED", "1"))
    dice = random.Random(seed)
    slowest, aside = 0.0, 0
    for count in range(number):
        shutil.rmtree(home / "state", ignore_errors=True)
        shutil.copytree(killed, home / "state", ignore=shutil.ignore_patterns("*.sock", "lock"))
        mutated = home / "state" / dice.choice(["labnode.db", "labnode.db", "labnode.db-wal"])
        mutation = dice.choice(MUTATIONS)
        data = bytearray(mutated.read_bytes())
        mutation(data, dice)
        mutated.write_bytes(data)
        what = f"{mutation.__name__} of {mutated.name}, number {count} of LABNODE_TEST_SEED={seed}"
        try:
            seconds, lost = serves(home)
        except BaseException as error:
            error.add_note(what)
            raise
        assert seconds <= 10, what
        slowest, aside = max(slowest, seconds), aside + lost
        if long_run and count % 50 == 49:
            print(f"{count + 1} mutations", file=sys.__stderr__)
    figure(
        "the database's file is mutated, then the node starts",
        "serves, cleans up, safe, within 10 s",
        f"{number} mutations: all served, at most {slowest:.1f} s; {aside} files were unreadable "
        "and put aside",
    )
