"""Tasks, hooks and views that wait for each other at random: whatever the knot, all come out."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from labnode.clock import Clock
from labnode.errors import Busy, Deadlock
from labnode.tasks import Task
from tests.kit.rig import TasksRig
from tests.kit.waiting import PATIENCE, eventually


class Knot:
    """Tasks of both lanes that know each other and join one another, or run parts of their own."""

    def __init__(self, rig: TasksRig, seed: int, number: int) -> None:
        self.rig = rig
        self.seed = seed
        self.tasks: list[Task] = []
        self.tied = rig.gate()
        self.untied = 0  # waits that were refused as deadlocks
        self.part = rig.task(lambda: "part")
        self.functions = [self._function(n) for n in range(number)]

    def _function(self, number: int) -> Any:
        dice = random.Random(self.seed * 1000 + number)
        return self.rig.task(
            lambda: self.pull(dice, number), unique=dice.choice([None, "global", "user"])
        )

    def pull(self, dice: random.Random, number: int) -> list[str]:
        """Wait for some of the others."""
        assert self.tied.wait(PATIENCE)
        seen: list[str] = []
        for _ in range(3):
            what = dice.random()
            try:
                if what < 0.7:
                    seen.append(dice.choice(self.tasks).join().status)
                elif what < 0.8:
                    seen.append(self.part.delay().join().status)
                elif what < 0.9:
                    seen.append(self.part.run_sync().status)
                else:
                    self.rig.worker.call(self.rig.board.heat)
            except Deadlock:
                self.untied += 1
                seen.append("deadlock")
            except Busy:
                seen.append("busy")
        return seen


@pytest.mark.parametrize("cut", [False, True], ids=["left alone", "cut"])
@pytest.mark.parametrize("seed", range(4))
def test_whoever_waits_for_whom_all_tasks_end(tmp_path: Path, seed: int, cut: bool) -> None:
    rig = TasksRig(tmp_path, Clock(), slots=20)
    rig.start()
    untied = 0
    try:
        for turn in range(3):
            dice = random.Random(seed * 100 + turn)
            knot = Knot(rig, seed * 100 + turn, 14)
            knot.tasks = [function.delay() for function in knot.functions]
            views = [rig.ask(dice.choice(knot.tasks).join) for _ in range(4)]
            hooks = [rig.hook(dice.choice(knot.tasks).join) for _ in range(2)]
            knot.tied.set()
            for task in dice.sample(knot.tasks, 7 if cut else 0):
                task.stop()
            for task in knot.tasks:
                task.join(PATIENCE)
                assert task.done or (cut and task.error and task.error["code"] == "stopped")
            assert all(view.result().finished for view in views)
            for hook in hooks:
                assert hook.ends() is None or isinstance(hook.error, Deadlock)
            untied += knot.untied
        assert cut or untied > 0, "there was no knot to untie"
        rig.stored()
        assert rig.tasks._registry._runs == {}
        assert rig.pending() == 0
        eventually(lambda: rig.worker._background._places == 0)
    finally:
        rig.close()
