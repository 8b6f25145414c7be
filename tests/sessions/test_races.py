"""The same with all threads let loose: the real reaper, a crowd of requests, sudden ends."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import labnode.store.file
from labnode.clock import Clock, Event
from labnode.errors import Busy, StartFailed
from labnode.lab import Lab
from labnode.sessions import Deletion, Reason, Session, StartRequest, State
from tests.kit.node import SAFE, SmallNode

_TIMES_FASTER = 50


class FastClock(Clock):
    """The machine's clock, in a hurry."""

    def now(self) -> float:
        return super().now() * _TIMES_FASTER

    def event(self, on_set: Callable[[], None] | None = None) -> Event:
        event = super().event(on_set)
        wait = event.wait

        def hasty(timeout: float | None = None) -> bool:
            return wait(None if timeout is None else timeout / _TIMES_FASTER)

        event.wait = hasty  # type: ignore[method-assign]
        return event


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pragmas = labnode.store.file._PRAGMAS.replace("synchronous = FULL", "synchronous = OFF")
    monkeypatch.setattr(labnode.store.file, "_PRAGMAS", pragmas)
    caplog.set_level(logging.CRITICAL)


class Watch:
    """Hooks and tasks that take a moment, sometimes fail, and see who else is on the board."""

    def __init__(self, users: int) -> None:
        self.lab = lab = Lab()
        self.present: set[str] = set()
        self.starts: Counter[str] = Counter()
        self.cleans: Counter[str] = Counter()
        self.faults: list[str] = []
        self.users = users
        self.chance = random.Random(1)
        lab.on_start(self.on_start)
        lab.on_dispose(self.on_dispose)

        @lab.task(unique="global")
        def hardware() -> None:
            lab.devices.switch.toggle()
            lab.wait(self.chance.uniform(0, 10))

        @lab.task
        def background() -> None:
            lab.wait(self.chance.uniform(0, 5))
            lab.devices.dimmer.set(0.5)
            lab.user.data["n"] = lab.user.data.get("n", 0) + 1

        self.tasks = [hardware, background]

    def on_start(self, client: dict[str, Any], server: dict[str, Any]) -> None:
        me = self.lab.user.session_id
        self.present.add(me)
        self.starts[me] += 1
        if len(self.present) > self.users:
            self.faults.append(f"crowded: {self.present}")
        self.lab.devices.switch.on()
        self.lab.wait(self.chance.uniform(0, 4))
        if self.chance.random() < 0.15:
            raise OSError("cold")

    def on_dispose(self) -> None:
        me = self.lab.user.session_id
        if me not in self.present:
            self.faults.append(f"nobody to clean up after: {me}")
        self.cleans[me] += 1
        self.lab.wait(self.chance.uniform(0, 2))
        self.present.discard(me)


class Crowd:
    """Threads that ask for everything at once."""

    def __init__(self, node: SmallNode, watch: Watch) -> None:
        self.node = node
        self.watch = watch
        self.sessions: dict[str, Session] = {}
        self.answers: list[Any] = []
        self.statuses: list[float] = []
        self.lock = threading.Lock()

    def run(self, threads: int, requests: int) -> None:
        crowd = [
            threading.Thread(target=self.act, args=[n, requests], name=f"client-{n}")
            for n in range(threads)
        ]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(30)
            assert not thread.is_alive(), "somebody waits for ever"

    def act(self, number: int, requests: int) -> None:
        chance = random.Random(number)
        acts: list[Callable[[random.Random], None]] = [
            self.start,
            self.start,
            self.delete,
            self.log_out,
            self.student,
            self.student,
            self.ask,
        ]
        for _ in range(requests):
            try:
                chance.choice(acts)(chance)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.answers.append(error)

    def start(self, chance: random.Random) -> None:
        request = StartRequest(
            client=chance.choice("aab"),
            reservation_id=chance.choice(["1", "2", None]),
            length=chance.choice([3, 20, 100]),
            counts_start=chance.random() < 0.5,
        )
        try:
            session = self.node.sessions.start(request)
        except (Busy, StartFailed) as error:
            self.answers.append(error)
        else:
            with self.lock:
                self.sessions[session.id] = session
            self.answers.append(session)

    def delete(self, chance: random.Random) -> None:
        if session := self.some(chance):
            self.answers.append(self.node.sessions.delete(session.id))

    def log_out(self, chance: random.Random) -> None:
        if session := self.some(chance):
            self.node.sessions.end(session, Reason.EXITED)

    def student(self, chance: random.Random) -> None:
        if session := self.some(chance):
            self.node.sessions.poll(session)
            if chance.random() < 0.2:
                self.node.sessions.leaving(session)
            self.node.run_as(session, chance.choice(self.watch.tasks).delay)

    def ask(self, chance: random.Random) -> None:
        if session := self.some(chance):
            self.statuses.append(self.node.sessions.status(session.id))

    def some(self, chance: random.Random) -> Session | None:
        with self.lock:
            live = [s for s in self.sessions.values() if s.state is not State.DISPOSED]
        return chance.choice(live) if live else None


@pytest.mark.parametrize("users", [1, 2])
def test_a_crowd_leaves_a_clean_board(tmp_path: Path, users: int) -> None:
    watch = Watch(users)
    rules = {"start_wait": 20, "dispose_wait": 3, "connect_timeout": 8, "timeout": 10}
    clock: Any = FastClock()
    node = SmallNode(tmp_path, watch.lab, clock=clock, reaper=True, users=users, seats=8, **rules)
    try:
        node.__enter__()
        crowd = Crowd(node, watch)
        crowd.run(threads=6, requests=50)
        for session in node.sessions.live():
            node.sessions.end(session, Reason.DELETED)
            assert session.disposed.wait(200)
        everyone = list(node.known())
        assert not watch.faults, watch.faults
        assert watch.present == set()
        assert {(watch.starts[s.id], watch.cleans[s.id]) for s in everyone} <= {(0, 0), (1, 1)}
        assert all(s.state is State.DISPOSED for s in everyone)
        kinds = (Session, Busy, StartFailed, Deletion)
        assert [a for a in crowd.answers if not isinstance(a, kinds)] == []
        assert sum(isinstance(a, Session) for a in crowd.answers) > 5
        assert all(status in (-1, 2) or 1 <= status <= 5 for status in crowd.statuses)
        assert node.values() == SAFE
        assert node.store.select("sessions", "state != 'disposed'") == []
        assert node.store.select("tasks", "status IN ('submitted', 'running')") == []
        assert node.sessions.reaper.alive
    finally:
        node.stop()
    assert not node.sessions.reaper.alive


@pytest.mark.parametrize("seed", range(6))
def test_a_node_that_is_killed_at_any_moment_finishes_what_it_began(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    watch = Watch(2)
    rules = {"users": 2, "connect_timeout": 8, "timeout": 10, "start_wait": 20}
    clock: Any = FastClock()
    node = SmallNode(tmp_path, watch.lab, clock=clock, reaper=True, **rules)
    try:
        for _ in range(2):
            node.__enter__()
            crowd = Crowd(node, watch)
            asking = threading.Thread(target=crowd.act, args=[seed, 12], name="client")
            asking.start()
            asking.join(chance.uniform(0, 0.1))
            node.kill()
            asking.join(10)
            assert not asking.is_alive()
            node = SmallNode(tmp_path, watch.lab, clock=clock, reaper=True, **rules)
            left = [row["id"] for row in node.store.select("sessions", "state != 'disposed'")]
            watch.present = set(left)
        cleans = Counter(watch.cleans)
        node.__enter__()
        for session in node.sessions.live():
            node.sessions.end(session, Reason.DELETED)
            assert session.disposed.wait(200)
        assert not watch.faults, watch.faults
        assert all(watch.cleans[session_id] == cleans[session_id] + 1 for session_id in left)
        assert watch.present == set()
        assert node.values() == SAFE
        assert node.store.select("sessions", "state != 'disposed'") == []
        assert node.store.select("tasks", "status IN ('submitted', 'running')") == []
    finally:
        node.stop()
