"""Lives of a node's tasks, each in a fork that is killed: what it was told, and what has begun.

A line on the standard input is a seed, or "end" for a life that submits nothing and ends when all
is done. A life writes to LABNODE_TEST_DIARY, in one write each: "recovered", "wrong …" where
history and Huey's tables do not agree, "ack ID NAME" once a task is accepted, "begin ID", "rests".
Its parent writes "pid N" before and "exit CODE" after it.
"""

from __future__ import annotations

import os
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from labnode import context
from labnode.clock import Clock
from labnode.clock.schedules import Every
from labnode.tasks import Periodic, Task
from tests.kit.rig import TasksRig, as_user

_DIARY = int(os.environ["LABNODE_TEST_DIARY"])
_PERIOD = 0.05  # seconds
_UNFINISHED = "status IN ('submitted', 'running')"


class RightClock(Clock):
    """The machine's, whose time somebody has confirmed."""

    def is_right(self) -> bool:
        return True


class OftenByTheWall:
    """A crontab for the impatient."""

    wall: ClassVar[bool] = True

    def next(self, after: float) -> float:
        return (after // _PERIOD + 1) * _PERIOD


def tell(line: str) -> None:
    os.write(_DIARY, f"{line}\n".encode())


class Life:
    """One process of the node."""

    def __init__(self, directory: Path) -> None:
        self.rig = rig = TasksRig(directory, RightClock(), background=2)
        self.failing = rig.task(self.fails_at_first, retries=2, retry_delay=0.01)
        repeated = {"retries": 500, "idempotent": True}
        self.tasks = {
            "plain": rig.task(self.plain),
            "heats": rig.task(self.heats, unique="global"),
            "failing": self.failing,
            "repeated": rig.task(self.repeated, unique="global", **repeated),
            "session": rig.task(self.session),
        }
        rig.task(self.often, periodic=Periodic(Every(_PERIOD)))
        rig.task(self.by_the_wall, periodic=Periodic(OftenByTheWall()))
        rig.start_tasks()
        rig.stored()
        self.check()
        tell("recovered")
        rig.tasks.begin()

    def check(self) -> None:
        """Whether what Huey keeps is what the history says that it waits."""
        rows = {row["id"]: row for row in self.rig.store.select("tasks", _UNFINISHED)}
        messages = [each.task_id for each in self.rig.waiting()]
        for task_id in {*rows, *messages}:
            status = rows[task_id]["status"] if task_id in rows else "nothing unfinished"
            if status != "submitted" or messages.count(task_id) != 1:
                tell(f"wrong: {task_id} is {status}, with {messages.count(task_id)} messages")

    def live(self, seed: int) -> None:
        """Submit until the end."""
        chance = random.Random(seed)
        self.rig.tasks.open_session("ada")
        while True:
            name = chance.choice(list(self.tasks))
            with as_user("ada" if name == "session" else None):
                task = self.submit(self.tasks[name], chance)
            if task.error is None:
                tell(f"ack {task.task_id} {name}")
            self.rig.tasks.pause(chance.choice([0, 0.002, 0.01]))

    def submit(self, function: Any, chance: random.Random) -> Task:
        task: Task
        match chance.randrange(3):
            case 0:
                soon = datetime.now() + timedelta(seconds=chance.uniform(0, 0.1))
                task = function.schedule(eta=soon)
            case 1:
                task = function.schedule(delay=chance.uniform(0, 0.1))
            case _:
                task = function.delay()
        return task

    def end(self) -> None:
        """Wait until nothing is unfinished but what comes again and again."""
        names = ", ".join(f"'{name}'" for name in self.names())
        unfinished = f"{_UNFINISHED} AND name IN ({names})"
        while self.rig.store.select("tasks", unfinished):
            self.rig.tasks.pause(0.01)
        self.rig.close()
        tell("rests")

    def names(self) -> list[str]:
        return [function.name for function in self.tasks.values()]

    # ------------------------------------------------------------------ tasks

    def plain(self) -> None:
        self.begin(0.003)

    def heats(self) -> None:
        self.begin(0.003)
        self.rig.board.heat()

    def fails_at_first(self) -> None:
        self.begin(0.001)
        raise OSError("not yet")

    def repeated(self) -> None:
        self.begin(0.01)

    def session(self) -> None:
        self.begin(0.002)

    def often(self) -> None:
        self.begin(0)

    def by_the_wall(self) -> None:
        self.begin(0)

    def begin(self, seconds: float) -> None:
        task = context.current_task.get()
        assert task is not None
        tell(f"begin {task.task_id}")
        task.wait(seconds)


def main(directory: Path) -> None:
    tell("ready")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            life = Life(directory)
            life.end() if line.strip() == "end" else life.live(int(line))
            os._exit(0)
        tell(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        tell(f"exit {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
