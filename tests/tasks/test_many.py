"""Ten thousand scheduled tasks: they cost nothing until they are due."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labnode.tasks.queues import DELAYED
from tests.kit.figures import FigureReporter
from tests.kit.rig import TasksRig
from tests.tasks.test_scheduled import quiet

HOUR = 3600.0
SAMPLE = 50  # measured calls


def cost(function: Callable[[], object]) -> float:
    """The CPU time of a call, on all threads: the machine may be busy with something else."""
    begin = time.process_time()
    for _ in range(SAMPLE):
        function()
    return (time.process_time() - begin) / SAMPLE


def blink() -> None:
    pass


def water() -> None:
    pass


def written(directory: Path) -> list[tuple[str, int, int]]:
    """What changes in a directory when anything is written."""
    stats = [(entry.name, entry.stat()) for entry in os.scandir(directory) if entry.is_file()]
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def test_many_scheduled_tasks_make_no_other_slower_and_an_idle_node_writes_nothing(
    tmp_path: Path, long_run: bool, figure: FigureReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labnode.clock._REAL_LIMIT", 3600)  # the timers wait while all is scheduled
    number = 10_000 if long_run else 500
    rig = TasksRig(tmp_path)
    rig.start()
    try:
        blinks, waters = rig.task(blink, unique="global"), rig.task(water)
        cost(lambda: blinks.delay().join())  # all that is needed is loaded
        before = cost(lambda: blinks.delay().join())
        for at in range(number):
            assert waters.schedule(delay=2 * HOUR + at).error is None
        after = cost(lambda: blinks.delay().join())
        assert after < 2 * before + 0.001

        quiet(rig)
        turns: list[float] = []
        turn = rig.tasks.timers._turn
        rig.tasks.timers._turn = lambda: (turns.append(rig.clock.now()), turn())[1]  # type: ignore[method-assign]
        files = written(tmp_path)
        for _ in range(60):
            rig.manual.advance(60)
        quiet(rig)
        assert (written(tmp_path), turns) == (files, [])
    finally:
        rig.close()

    again = TasksRig(tmp_path)
    again.task(water)
    try:
        begin = time.perf_counter()
        again.start()
        again.stored()
        took = time.perf_counter() - begin
        assert len(again.waiting()) == number
        first = again.store.run(lambda _: again.tasks._queues.next_due(DELAYED))
        assert first is not None
    finally:
        again.close()
    figure(
        f"{number:,} scheduled tasks",
        "no other task is slower; an idle node writes nothing and has no wake-ups",
        f"a task from delay() to join() takes {1000 * after:.1f} ms of CPU time instead of "
        f"{1000 * before:.1f} ms; so it was for an hour; the next start takes {took:.1f} s",
    )
