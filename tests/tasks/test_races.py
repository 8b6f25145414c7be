"""Race hunts: many threads start, stop, join and close at once, and the books still agree."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labnode import context
from labnode.clock import Clock
from labnode.errors import AlreadyRunningError, Busy, Deadlock, LabnodeError, SessionOver, Stopped
from labnode.events import TaskChanged
from labnode.tasks import Task

from ..worker.rig import PATIENCE, TasksRig, as_user, eventually

EXPECTED = (AlreadyRunningError, SessionOver, Stopped, Deadlock, Busy)


@pytest.fixture(autouse=True)
def _threads_switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Books:
    """Counts for each run how often it began and ended, and how often that was told."""

    def __init__(self, rig: TasksRig) -> None:
        self.rig = rig
        self.lock = threading.Lock()
        self.began: Counter[str] = Counter()
        self.returned: Counter[str] = Counter()
        self.tasks: list[Task] = []
        self.unexpected: list[BaseException] = []
        self.inside = 0  # how many unique tasks run now
        self.most = 0
        self.news = rig.bus.subscribe(TaskChanged, limit=100_000)
        self.chore = rig.task(self._work)
        self.heat = rig.task(self._unique, unique="global")
        self.mine = rig.task(self._work_for_one, unique="user")
        self.parent = rig.task(self._parent)

    def _work(self, seconds: float) -> bool:
        task = context.current_task.get()
        self.began[task.task_id] += 1
        task.data["begun"] = True
        went_on: bool = task.wait(seconds)
        self.returned[task.task_id] += 1
        return went_on

    def _unique(self, seconds: float) -> bool:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            return self._work(seconds)
        finally:
            with self.lock:
                self.inside -= 1

    def _work_for_one(self, seconds: float) -> bool:
        return self._work(seconds)

    def _parent(self, seconds: float) -> Any:
        child = self.chore.delay(seconds)
        self.tasks.append(child)
        self._work(0)
        return child.join().status

    def random_user(self, dice: random.Random, session: str, turns: int) -> None:
        """Do what views of a session do, in any order."""
        mine: list[Task] = []
        try:
            with as_user(session):
                for _ in range(turns):
                    self._one_thing(dice, session, mine)
        except BaseException as error:  # noqa: BLE001 - told by check()
            self.unexpected.append(error)

    def _one_thing(self, dice: random.Random, session: str, mine: list[Task]) -> None:
        function = dice.choice([self.chore, self.chore, self.heat, self.mine, self.parent])
        seconds = dice.choice([0, 0, 0.001, 0.003])
        what = dice.random()
        try:
            if what < 0.45:
                mine.append(function.delay(seconds))
                self.tasks.append(mine[-1])
            elif what < 0.55 and mine:
                dice.choice(mine).stop()
            elif what < 0.65 and mine:
                dice.choice(mine).join(5)
            elif what < 0.75:
                self.tasks.append(function.run_sync(seconds, timeout=5))
            elif what < 0.82:
                function(seconds)
            elif what < 0.86 and mine:
                dice.choice(mine).retrieve().to_json()
            elif what < 0.92:
                self.rig.worker.call(self.rig.board.heat)
            elif what < 0.96:
                self.rig.tasks.close_session(session)
            else:
                self.rig.tasks.open_session(session)
        except EXPECTED:
            pass

    def check(self) -> None:
        """All is over: every admitted run has ended once, and the store says the same."""
        assert self.unexpected == []
        for task in self.rig.tasks.of_session(None) + self.tasks:
            task.join(PATIENCE)
        rig = self.rig
        for name in ("ada", "bob"):
            rig.tasks.close_session(name)
            for task in rig.tasks.of_session(name, unfinished=True):
                task.join(PATIENCE)
        rig.stored()
        registry = rig.tasks._registry
        assert registry._runs == {}
        assert registry._watchers == {}
        assert self.most <= 1, "two runs of a globally unique task at once"
        assert self.inside == 0
        rows = {row["id"]: row for row in rig.store.select("tasks", "1")}
        ends = Counter(e.task_id for e in self.news.drain() if e.status in ("done", "failed"))
        assert set(self.began) <= set(rows)
        for task_id, row in rows.items():
            assert row["status"] in ("done", "failed"), row
            assert (row["error"] is None) == (row["status"] == "done"), row
            assert self.began[task_id] <= 1, "it ran twice"
            assert self.returned[task_id] == self.began[task_id] or row["status"] == "failed"
            assert ends[task_id] == 1, f"its end was told {ends[task_id]} times"
            assert row["finished_at"] is not None
            if row["status"] == "done":
                assert self.began[task_id] == 1
            if self.began[task_id] == 0:
                assert row["started_at"] is None or row["error"] is not None, row
        stories = Counter(
            row["task_id"] for row in rig.store.select("events", "kind LIKE 'task.%'")
        )
        assert set(stories.values()) <= {1}
        assert set(stories) == set(rows)
        for run in registry._finished.values():
            if run.id in rows:
                row = rows[run.id]
                seen = run.row()
                assert {key: seen[key] for key in row} == row
        assert rig.pending() == 0
        for function in (self.heat, self.mine, self.chore):
            assert function.run_sync(0).result is True
        assert rig.worker.fault() is None
        assert rig.worker._background._places == 0
        rig.stored()


@pytest.mark.parametrize("seed", range(7))
def test_users_who_do_everything_at_once_leave_the_books_in_order(
    tmp_path: Path, seed: int
) -> None:
    rig = TasksRig(tmp_path, Clock(), slots=8)
    rig.start()
    books = Books(rig)
    for name in ("ada", "bob"):
        rig.tasks.open_session(name)
    try:
        users = [
            rig.go(
                lambda n=n: books.random_user(  # type: ignore[misc]
                    random.Random(100 * seed + n), ("ada", "bob")[n % 2], 25
                )
            )
            for n in range(6)
        ]
        for user in users:
            user.ends()
        books.check()
    finally:
        rig.close()


@pytest.mark.parametrize("unique", [None, "global"], ids=["background", "hardware"])
def test_a_stop_at_any_moment_of_a_task_ends_it_once(tmp_path: Path, unique: Any) -> None:
    rig = TasksRig(tmp_path, Clock())
    rig.start()
    books = Books(rig)
    dice = random.Random(1)
    function = books.heat if unique else books.chore
    try:
        for _ in range(80):
            task = function.delay(0.0005)

            def stop(later: int = dice.randrange(400), task: Task = task) -> None:
                for _ in range(later):
                    task.retrieve()
                task.stop()

            stopping = rig.go(stop)
            task.join(PATIENCE)
            stopping.result()
        books.check()
    finally:
        rig.close()


@pytest.mark.parametrize("unique", [None, "global"], ids=["background", "hardware"])
def test_a_session_that_closes_at_any_moment_leaves_nothing_running(
    tmp_path: Path, unique: Any
) -> None:
    rig = TasksRig(tmp_path, Clock())
    rig.start()
    books = Books(rig)
    function = books.heat if unique else books.chore
    try:
        for number in range(70):
            name = f"session {number}"
            rig.tasks.open_session(name)
            together = threading.Barrier(3)

            def start(name: str = name, together: threading.Barrier = together) -> list[Task]:
                together.wait(PATIENCE)
                with as_user(name):
                    return [function.delay(1000) for _ in range(2)]

            starts = [rig.go(start) for _ in range(2)]
            together.wait(PATIENCE)
            rig.tasks.close_session(name)
            for task in rig.tasks.of_session(name, unfinished=True):
                task.join(PATIENCE)
            for started in starts:
                for task in started.result():
                    assert task.join(PATIENCE).finished
            assert rig.tasks.of_session(name, unfinished=True) == []
        books.check()
    finally:
        rig.close()


@pytest.mark.parametrize("seed", range(5))
def test_the_node_can_stop_at_any_moment(tmp_path: Path, seed: int) -> None:
    rig = TasksRig(tmp_path, Clock(), slots=8)
    rig.start()
    books = Books(rig)
    for name in ("ada", "bob"):
        rig.tasks.open_session(name)
    users = [
        rig.go(
            lambda n=n: books.random_user(  # type: ignore[misc]
                random.Random(100 * seed + n), ("ada", "bob")[n % 2], 1000
            )
        )
        for n in range(4)
    ]
    eventually(lambda: sum(books.began.values()) >= 4 * seed)  # the moment
    rig.tasks.stop_all()
    assert rig.worker.stop(PATIENCE)
    assert rig.board.closed == 1
    assert not rig.board.heater
    for user in users:
        user.ends()
    assert books.unexpected == []
    rig.stored()
    assert rig.pending() == 0
    assert rig.tasks._registry._runs == {}
    rig.close()


def test_a_crash_at_any_moment_is_recovered_from(tmp_path: Path, crash: Any) -> None:
    for number in range(4):
        rig = TasksRig(tmp_path, Clock())
        rig.start()
        assert rig.pending() == 0
        books = Books(rig)
        rig.tasks.open_session("ada")
        with as_user("ada"):
            for function in (books.heat, books.mine, books.chore, books.parent):
                assert function.delay(0).error is None  # nothing is held by those before
            for _ in range(number):
                books.chore.delay(1000)
                books.heat.delay(1000)
        crash(rig)
    rig = TasksRig(tmp_path, Clock())
    rig.start()
    assert rig.pending() == 0
    rig.close()


def test_only_errors_of_labnodes_own_come_out_of_all_this() -> None:
    assert all(issubclass(error, LabnodeError) for error in EXPECTED)
