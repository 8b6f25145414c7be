from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode.store import file
from tests.kit.rig import TasksRig


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut can tell the difference, and none of these tests makes one."""
    quick = file._PRAGMAS.replace("synchronous = FULL", "synchronous = OFF")
    monkeypatch.setattr(file, "_PRAGMAS", quick)


@pytest.fixture
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[TasksRig]:
    """Started tasks; `@pytest.mark.parametrize("rig", [{...}], indirect=True)` gives options."""
    options: dict[str, Any] = getattr(request, "param", {})
    rig = TasksRig(tmp_path, **options)
    rig.start()
    yield rig
    rig.close()


@pytest.fixture
def crash() -> Iterator[Callable[[TasksRig], None]]:
    """End a node as SIGKILL does: what it asks of its store from now on is not stored.

    Its threads, which no test can kill, end with the test.
    """
    crashed: list[TasksRig] = []

    def crash(rig: TasksRig) -> None:
        rig.store.close()
        crashed.append(rig)

    yield crash
    for closing in [rig.go(rig.close, name="closer") for rig in crashed]:
        closing.result()
