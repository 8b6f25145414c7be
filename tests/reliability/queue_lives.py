"""Lives of a node's tasks: each a process that queues, schedules and runs until it is killed.

    python -m tests.reliability.queue_lives DIRECTORY

A line on the standard input, "SEED" or "SEED drain", begins a life on the database in DIRECTORY, in
a fork of this process; one that drains queues nothing, and ends when nothing waits any more. What
happens is told to LABNODE_TEST_DIARY, a line each.
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
from labnode.tasks import Recurrence, Task, TaskFunction
from tests.kit.rig import as_user
from tests.kit.wiring import FakeBoard, Parts

TICK = 0.03  # seconds between two ticks
_MOST = 20  # tasks that wait, before more are queued
_DIARY = int(os.environ["LABNODE_TEST_DIARY"])


def tell(line: str) -> None:
    os.write(_DIARY, f"{line}\n".encode())


def body(seconds: float = 0.0, fails: bool = False) -> None:
    """What all tasks do: the diary says when one begins and ends."""
    task: Task = context.current_task.get()
    tell(f"begin {task.task_id}")
    task.wait(seconds)
    if fails:
        raise RuntimeError("as it should")
    tell(f"end {task.task_id}")


def chore(seconds: float) -> None:
    body(seconds)


def heat(seconds: float) -> None:
    body(seconds)


def flaky(seconds: float) -> None:
    body(seconds, fails=True)


def again(seconds: float) -> None:
    body(seconds)


def tick() -> None:
    body()


def bell() -> None:
    body()


class OftenByTheWall:
    """A crontab for who cannot wait for a minute."""

    wall: ClassVar[bool] = True

    def next(self, after: float) -> float:
        return (after // TICK + 1) * TICK


FUNCTIONS: dict[str, Any] = {
    "chore": (chore, {}),
    "heat": (heat, {"unique": "user"}),
    "flaky": (flaky, {"retries": 2, "retry_delay": 0.01}),
    "again": (again, {"retries": 2, "idempotent": True}),
    "tick": (tick, {"periodic": Recurrence(Every(TICK))}),
    "bell": (bell, {"periodic": Recurrence(OftenByTheWall())}),
}


class RightClock(Clock):
    """The machine's clocks, with a wall clock that somebody has confirmed."""

    def is_right(self) -> bool:
        return True


class Life:
    def __init__(self, directory: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.parts = Parts(RightClock(), FakeBoard(), directory)
        self.functions = {
            name: TaskFunction(function, **options)
            for name, (function, options) in FUNCTIONS.items()
        }
        for function in self.functions.values():
            function.bind(self.parts.tasks)

    def start(self) -> None:
        """Recover, and tell whether the history and Huey's tables agree."""
        self.parts.start_tasks()
        store, tasks = self.parts.store, self.parts.tasks
        rows = {row["id"] for row in store.select("tasks", "status IN ('submitted', 'running')")}
        messages = [each.task_id for each in store.run(lambda _: tasks._queues.waiting())]
        agree = sorted(rows) == sorted(map(str, messages))
        tell("agrees" if agree else f"differs {rows} {messages}")
        tasks.begin()

    def go_on(self) -> None:
        """Queue this and that until somebody kills the process."""
        self.parts.tasks.open_session("student")
        tell("begun")
        tasks: list[Task] = []
        while True:
            tasks = [task for task in tasks if not task.retrieve().finished]
            if len(tasks) >= _MOST:
                tasks.pop(0).join(30, error_on_timeout=False)
            elif (task := self.ask()) is not None:
                tasks.append(task)

    def ask(self) -> Task | None:
        """Queue or schedule something, and acknowledge it."""
        name = self.dice.choice(["chore", "heat", "flaky", "again"])
        seconds = self.dice.choice([0, 0, 0.001, 0.005])
        of_session = self.dice.random() < 0.2
        with as_user("student" if of_session else None):
            if self.dice.random() < 0.4:
                delay = self.dice.choice([0.001, 0.02, 0.1])
                if self.dice.random() < 0.5:
                    task = self.functions[name].schedule((seconds,), delay=delay)
                else:
                    eta = datetime.now() + timedelta(seconds=delay)
                    task = self.functions[name].schedule((seconds,), eta=eta)
            else:
                task = self.functions[name].delay(seconds)
        if task.failed:
            return None
        tell(f"ack {task.task_id} {name} {'student' if of_session else 'lab'}")
        if self.dice.random() < 0.05:
            task.stop()
            tell(f"stop {task.task_id}")
        return task

    def drain(self) -> None:
        """Run what waits, and end in order."""
        tasks = self.parts.tasks
        for task in tasks.of_session(None, unfinished=True):
            if FUNCTIONS[task.name][1].get("periodic") is None:
                task.join(60)
        tasks.stop_all()
        assert self.parts.worker.stop(30)
        self.parts.store.close()
        tell("drained")


def main(directory: Path) -> None:
    tell("ready")
    for line in sys.stdin:
        seed, *drain = line.split()
        pid = os.fork()
        if pid == 0:
            life = Life(directory, int(seed))
            life.start()
            (life.drain if drain else life.go_on)()
            os._exit(0)
        tell(f"pid {pid}")
        _, status = os.waitpid(pid, 0)
        tell(f"exit {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    # Tasks of the lab that give way to no student, as in a node without sessions.
    for _, options in FUNCTIONS.values():
        options["during_sessions"] = True
    main(Path(sys.argv[1]))
