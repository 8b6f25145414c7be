"""Whole nodes in all orders of what may happen: one owner of the board, one clean-up, no deadlock.

To what students and central servers do (tests/kit/walk.py) it adds who runs the lab: the emergency
stop is pressed and released, the node is drained, the board is changed for another one, read again,
or for one that does not open.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import labnode.store.file
from labnode.board import BoardFile, load_board
from labnode.errors import Busy, DeviceError
from labnode.lab import Lab
from labnode.node import apply, runtime
from labnode.node.agent import Agent
from labnode.sessions import Sessions
from labnode.settings import load_settings
from labnode.store import Store
from labnode.worker import Worker
from tests.kit.clock import Asked, WatchedClock
from tests.kit.figures import FigureReporter
from tests.kit.node import BOARD, SAFE, Visited, WatchedStore
from tests.kit.waiting import PATIENCE
from tests.kit.walk import STEPS, Hooks, Walk

SHORT, LONG = 150, 65_000  # walks; those of tests/sessions are 35,000 more
_NODES = 5  # a new node every so many parts of the walks


class WholeNode(Visited):
    """An agent without a web server; its clock only jumps, its threads are real."""

    def __init__(self, directory: Path, hooks: Hooks) -> None:
        self.clock = WatchedClock()
        self.asked: list[Asked[Any]] = []
        self.boards = [self._write(directory, name) for name in ("one", "two", "broken")]
        self._stored: tuple[Store, int] | None = None
        settings = {
            "weblab": {"username": "weblab", "password": "weblab"},
            "state_dir": str(directory / "state"),
            "expired_users_timeout": "200s",
        }
        self.agent = Agent(
            self.load(self.boards[0]),
            hooks.lab,
            load_settings(None, {}, settings),
            simulate=True,
            listen=False,
            clock=self.clock,
            load=self.load,
        )

    def __enter__(self) -> WholeNode:
        self.agent.start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self.agent.stop()
        for asked in self.asked:
            asked.thread.join(PATIENCE)

    @property
    def sessions(self) -> Sessions:  # type: ignore[override]
        return self.agent.sessions

    @property
    def store(self) -> Store:  # type: ignore[override]
        return self.agent.store

    @property
    def board(self) -> Any:  # type: ignore[override]
        return self.agent.board

    @property
    def worker(self) -> Worker:
        return self.agent.worker

    @property
    def tasks(self) -> Any:
        return self.agent.tasks

    def turn(self) -> None:
        self.settle()

    def settle(self) -> None:
        """The reaper and a change of the board run as they do in a node."""
        while True:
            store, moves = self._rested()
            asked = store.asked
            if self._stored == (store, asked):
                return
            self._stored = (store, asked)
            store.run(lambda db: None)
            with self.clock.watch:
                if (
                    self._at_rest()
                    and self.clock.moves == moves
                    and self._stored
                    == (
                        self.store,
                        store.asked,
                    )
                ):
                    return

    def load(self, path: Path) -> BoardFile:
        file = load_board(path)
        if path.stem == "broken":
            file.devices["lamp"].open = _smoke  # type: ignore[method-assign]
        return file

    def _rested(self) -> tuple[WatchedStore, int]:
        with self.clock.watch:
            for _ in range(int(PATIENCE / 0.01)):
                if self.clock.watch.wait_for(self._at_rest, 0.01):  # the end of a thread is no move
                    store = self.store
                    assert isinstance(store, WatchedStore)
                    return store, self.clock.moves
        raise AssertionError(f"a thread does not come to rest:\n{threading.enumerate()}")

    def _at_rest(self) -> bool:
        change = self.agent.board_change._thread
        threads = [self.worker._thread, self.sessions.reaper._thread]
        if change is not None and change.is_alive():
            threads.append(change)
        waiting = all(self.clock.rests(thread.ident) for thread in threads)
        return waiting and all(a.answered or self.clock.rests(a.thread.ident) for a in self.asked)

    @staticmethod
    def _write(directory: Path, name: str) -> Path:
        path = directory / f"{name}.yaml"
        rules = "connect_timeout: 40, start_wait: 30, dispose_wait: 5, max_time: 500"
        path.write_text(f"title: {name}\n{BOARD.format(rules=rules)}", encoding="utf-8")
        return path


def _smoke() -> None:
    raise DeviceError("The lamp does not open.")


class WalkOfAll(Walk):
    """With the people who run the lab."""

    node: WholeNode

    def steps(self) -> dict[Callable[[], None], float]:
        return {
            **super().steps(),
            self.connect: 3,
            self.press: 0.7,
            self.release: 2,
            self.drain: 0.5,
            self.undrain: 1,
            self.change: 0.4,
            self.read_again: 0.3,
        }

    def connect(self) -> None:
        if session := self.some(self.node.sessions.live()):
            cookie = self.chance.choice(["first", "second"])
            bound = self.node.sessions.bind(session, cookie)
            assert bound is (session.cookie == cookie)

    def press(self) -> None:
        assert self.node.agent.estop.press("a walk") == []

    def release(self) -> None:
        self.node.agent.estop.release()
        self.node.sessions.quarantine.clear()

    def drain(self) -> None:
        self.node.sessions.draining = True

    def undrain(self) -> None:
        self.node.sessions.draining = False

    def change(self) -> None:
        self._begin(self.chance.choice(self.node.boards))

    def read_again(self) -> None:
        self._begin(self.node.agent.runtime.file.path)

    def _begin(self, path: Path) -> None:
        try:
            self.node.agent.board_change.begin(path, timeout=self.chance.choice([0, 10, 600]))
        except Busy:
            assert self.node.agent.board_change.progress()["state"] != "finished"

    def look(self) -> None:
        super().look()
        if self.node.agent.estop.why is not None:
            assert self.node.values() == SAFE

    def finish(self) -> None:
        self.board.patient = False
        for _ in range(700):
            if self.node.agent.board_change.progress()["state"] == "finished":
                break
            self.node.clock.advance(1)
            self.board.let()
            self.node.settle()
        else:
            raise AssertionError("a change of the board does not end")
        self.release()
        self.undrain()
        super().finish()
        assert self.node.agent.runtime.fault() is None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody pulls the plug here."""
    pragmas = labnode.store.file._PRAGMAS.replace("synchronous = FULL", "synchronous = OFF")
    monkeypatch.setattr(labnode.store.file, "_PRAGMAS", pragmas)
    monkeypatch.setattr(runtime, "Store", WatchedStore)
    caplog.set_level(logging.CRITICAL + 1)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    hooks = Hooks()

    def same_lab(file: BoardFile) -> Lab:
        return hooks.lab

    monkeypatch.setattr(apply, "load_lab", same_lab)
    return hooks


@pytest.mark.parametrize("part", range(_NODES))
def test_whatever_happens_in_whatever_order_the_board_has_one_owner_and_is_cleaned_once(
    tmp_path: Path, hooks: Hooks, part: int, long_run: bool, figure: FigureReporter
) -> None:
    walks = (LONG if long_run else SHORT) // _NODES
    with WholeNode(tmp_path, hooks) as node:
        for seed in range(part * walks, (part + 1) * walks):
            try:
                WalkOfAll(node, hooks, seed, reaped=True)()
            except BaseException:
                print(f"seed {seed}")
                raise
    figure(
        f"orders of what may happen ({part + 1} of {_NODES})",
        "one owner, one clean-up, no deadlock",
        f"so it was in {walks:,} walks of {STEPS} steps",
    )
