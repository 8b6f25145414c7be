from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..worker.rig import PATIENCE, TasksRig


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
    """End a node as SIGKILL does: nothing more is stored, nothing told.

    Its threads, which no test can kill, end with the test.
    """
    crashed: list[TasksRig] = []

    def crash(rig: TasksRig) -> None:
        rig.store.run(lambda db: None)  # what it has asked for is in the hands of the disk
        rig.store._queue.put(None)
        rig.store._thread.join(PATIENCE)
        crashed.append(rig)

    yield crash
    for rig in crashed:
        rig.close()
