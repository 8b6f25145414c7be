"""What a command does when its process gets a signal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labnode.cli.signals import Signals, read_again_on_hangup
from labnode.errors import Busy
from tests.kit.programs import ran

LOCKED = """
import os, signal
from labnode.cli.signals import Signals, stop_on

with Signals() as signals:
    stop = stop_on(signals)
    with stop._cond:  # as the main thread does for moments while it waits for the event
        os.kill(os.getpid(), signal.SIGTERM)
        os.getpid()
    print(stop.wait(60))
"""
TWICE = """
import os, signal
from labnode.cli.signals import Signals, stop_on

with Signals() as signals:
    stop = stop_on(signals, patient=False)
    os.kill(os.getpid(), signal.SIGINT)
    print(stop.wait(60))
    try:
        os.kill(os.getpid(), signal.SIGINT)
        stop.clear()
        stop.wait(60)
    except KeyboardInterrupt:
        print("interrupted")
"""


STUCK = """
import os, signal, threading
from labnode.cli import signals

signals._ENDS_WITHIN = 0.1
begun = threading.Event()
with signals.Signals() as heard:
    heard.on(signal.SIGHUP, lambda: (begun.set(), threading.Event().wait()))
    os.kill(os.getpid(), signal.SIGHUP)
    begun.wait(60)
print("ended")
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [(LOCKED, ["True"]), (TWICE, ["True", "interrupted"]), (STUCK, ["ended"])],
    ids=["locked", "twice", "stuck"],
)
def test_a_signal_is_heard_in_every_moment_and_keeps_nobody(program: str, said: list[str]) -> None:
    assert ran([sys.executable, "-c", program], timeout=60).stdout.split() == said


# --- SIGHUP ---


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = signal.getsignal(signal.SIGHUP)
    with Signals() as signals:
        yield signals
    signal.signal(signal.SIGHUP, before)


class Changing:
    """An agent as far as SIGHUP is concerned."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.board = SimpleNamespace(file=SimpleNamespace(path=Path("/boards/x.yaml")))
        self.board_change = self
        self.begun: list[Path] = []
        self._refusal = refusal

    def begin(self, path: Path) -> None:
        self.begun.append(path)
        if self._refusal is not None:
            raise self._refusal


def hang_up(signals: Signals, agent: Changing, *, terminal: bool) -> None:
    """SIGHUP, and another signal: when that one is heard, SIGHUP has had its effect."""
    read_again_on_hangup(signals, cast(Any, agent), has_terminal=terminal)
    heard = threading.Event()
    before = signal.getsignal(signal.SIGUSR1)
    signals.on(signal.SIGUSR1, heard.set)
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGUSR1)
    assert heard.wait(60)
    signal.signal(signal.SIGUSR1, before)


def test_without_a_terminal_sighup_reads_the_board_again(signals: Signals) -> None:
    agent = Changing()
    hang_up(signals, agent, terminal=False)
    assert agent.begun == [Path("/boards/x.yaml")]


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            Busy("The node is changing its board already."),
            "SIGHUP: The node is changing its board already.",
        ),
        (RuntimeError("unforeseen"), "unforeseen"),
    ],
)
def test_a_sighup_that_is_refused_or_fails_is_logged(
    signals: Signals, caplog: pytest.LogCaptureFixture, refusal: Exception, said: str
) -> None:
    hang_up(signals, Changing(refusal), terminal=False)
    assert said in caplog.text


def test_with_a_terminal_sighup_is_its_end(signals: Signals) -> None:
    ended = threading.Event()
    signals.on(signal.SIGHUP, ended.set)
    agent = Changing()
    hang_up(signals, agent, terminal=True)
    assert (agent.begun, ended.is_set()) == ([], True)


def test_under_nohup_sighup_is_nothing(signals: Signals) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    agent = Changing()
    hang_up(signals, agent, terminal=False)
    assert agent.begun == []
