"""A hardware thread's services for one driver, in real time: the tests' own thread is that one."""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.clock import Clock
from labnode.drivers.framework.driver import Driver
from labnode.errors import DeviceGone
from labnode.supervisor import client


class Stage:
    """What a driver is handed by its board; whatever is posted runs while it waits.

    `happens(when, what)` has something done as soon as `when()` is true while the driver waits, or
    tells its progress.
    """

    def __init__(self, folder: Path) -> None:
        self.pins: Any = None
        self.clock = Clock()
        self.simulated = False
        self.folder = folder / "board"
        self.state_dir: Path | None = folder / "state"
        self.stopping = False
        self.percents: list[float] = []
        self.lines: list[str] = []
        self.ports: dict[str, str] = {}
        self.lent: list[str] = []
        self.turns = 0
        self.commanded: list[tuple[str, str, Any]] = []
        self.others: dict[str, Any] = {}
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._plans: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        for path in (self.folder, self.state_dir):
            path.mkdir()

    def publish(self) -> None: ...

    def post(self, call: Callable[[], None]) -> None:
        self._posted.put(call)

    def happens(self, when: Callable[[], bool], what: Callable[[], None]) -> None:
        self._plans.append((when, what))

    def stop(self) -> None:
        self.stopping = True
        self.post(lambda: None)

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        self._pass(seconds, lambda: self.stopping or until())
        return not self.stopping

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        self._pass(seconds, over)
        return over()

    def _pass(self, seconds: float, over: Callable[[], bool]) -> None:
        end = self.clock.now() + seconds
        while True:
            self.turns += 1
            self._carry_out()
            left = end - self.clock.now()
            if over() or left <= 0:
                return
            with contextlib.suppress(queue.Empty):
                self._posted.get(timeout=min(left, 0.05))()

    def _carry_out(self) -> None:
        for plan in [plan for plan in self._plans if plan[0]()]:
            self._plans.remove(plan)
            plan[1]()

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        if percent is not None:
            self.percents.append(percent)
        if line is not None:
            self.lines += line.splitlines()
        self._carry_out()

    @contextlib.contextmanager
    def lend(self, device: str) -> Iterator[str]:
        if device not in self.ports:
            raise DeviceGone(f"'{device}' is not connected")
        self.lent.append(f"{device} lent")
        yield self.ports[device]
        self.lent.append(f"{device} back")

    def device(self, device: str) -> Any:
        return self.others[device]

    def command(self, device: str, command: str, args: Any = None) -> Any:
        self.commanded.append((device, command, args))

    def open(self, driver: Driver, name: str = "mcu") -> Any:
        driver.attach(name, self)  # type: ignore[arg-type]
        driver.open()
        return driver


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may have labnode as a service."""
    monkeypatch.setattr(client, "SOCKET", Path("/nowhere/labnode-tool.sock"))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a Python program called `name` on the PATH, before the real one.

    A shell starts it: the path of this Python may have a space, or be too long for a first line.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, program: str) -> Path:
        path = folder / name
        file = folder / f"{name}.py"
        file.write_text(f"{program}\n")
        start = shlex.join((sys.executable, "-S", str(file)))
        path.write_text(f'#!/bin/sh\nexec {start} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make
