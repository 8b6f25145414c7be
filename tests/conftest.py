"""Detectors that fail a test which leaves a thread, an open file or a pin behind."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from labnode.drivers.gpio.factories import pins_in_use

_PATIENCE = 3.0  # seconds in which a thread that has been told to end may do so
_WATCHED = re.compile(r"socket:|pipe:|/dev/pts/|/dev/ptmx|.*\.db(-wal|-shm)?$|.*/lock$")


@pytest.fixture(autouse=True)
def _no_file_is_left_open() -> Iterator[None]:
    """Looked at when the test's threads have ended, which may be who closes them."""
    before = _open_files()
    yield
    left = {number: name for number, name in _open_files().items() if before.get(number) != name}
    assert not left, f"left open: {sorted(left.values())}"


@pytest.fixture(autouse=True)
def _no_thread_is_left(_no_file_is_left_open: None) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(_PATIENCE)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not left, f"threads left running: {left}"


@pytest.fixture(autouse=True)
def _no_pin_stays_reserved(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[MockFactory] = []
    start = MockFactory.__init__

    def remember(self: MockFactory, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        start(self, *args, **kwargs)

    monkeypatch.setattr(MockFactory, "__init__", remember)
    yield
    assert [pins_in_use(factory) for factory in made] == [[] for _ in made]


def _open_files() -> dict[str, str]:
    """Descriptors of this process that a test could forget to close."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            name = str(link.readlink())
        except OSError:
            continue  # the one that lists the directory
        if _WATCHED.match(name):
            found[link.name] = name
    return found
