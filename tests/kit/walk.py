"""Random walks over what central servers, students, hooks and time can do to a node.

The clock stands still between two steps, and a step begins when every thread rests, so that a seed
always tells the same story.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from labnode.clock import Event
from labnode.errors import Busy, StartFailed
from labnode.lab import Lab
from labnode.sessions import Deletion, Reason, Session, State
from labnode.sessions.expiry import why_over
from tests.kit.clock import Asked
from tests.kit.node import SAFE, Visited

STEPS = 14


class Hooks:
    """The hooks of a lab that watch over who has the board; each waits to be told how it ends."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.starts: Counter[str] = Counter()
        self.cleans: Counter[str] = Counter()
        self.present: set[str] = set()
        self.crowded = False
        self.faults: list[str] = []
        self.users = 1
        self.patient = True
        self.gate: Event | None = None
        self.error: Exception | None = None
        self.lab.on_start(self.on_start)
        self.lab.on_dispose(self.on_dispose)

        @self.lab.task(unique="global")
        def run() -> None:
            self.lab.current_task.wait(1000)

        self.run = run

    def on_start(self, client: dict[str, Any], server: dict[str, Any]) -> None:
        me = self.lab.user.session_id
        if len(self.present) >= self.users:
            self.faults.append(f"{me} starts beside {self.present}")
        values = {name: self.lab.devices[name].value for name in self.lab.devices}
        if not self.present and values != SAFE:
            self.faults.append(f"{me} gets a board that is not clean: {values}")
        self.present.add(me)
        self.starts[me] += 1
        self.lab.devices.switch.on()
        self.wait()

    def on_dispose(self) -> None:
        me = self.lab.user.session_id
        if me not in self.present:
            self.faults.append(f"{me} is cleaned up after but was not there")
        self.cleans[me] += 1
        try:
            self.wait()
        finally:
            self.present.discard(me)

    def wait(self) -> None:
        """Until let(), or the hook's own end."""
        if self.patient:
            worker = self.lab._node.worker
            self.gate = gate = worker.signal()
            self.error = None
            worker.pause(1000, gate.is_set)
            self.gate = None
            if self.error is not None:
                raise self.error

    def let(self, error: Exception | None = None) -> None:
        """Have the hook that waits come to its end."""
        if self.gate is not None:
            self.error = error
            self.gate.set()


class Walk:
    """One random walk over what central servers, students, hooks and time can do."""

    def __init__(self, node: Visited, hooks: Hooks, seed: int, *, reaped: bool) -> None:
        self.node = node
        self.board = hooks
        self.chance = random.Random(seed)
        self.reaped = reaped  # else the reaper's turns are steps of the walk
        self.before = set(node.known())
        self.sessions: list[Session] = []
        self.starts: list[Asked] = []
        self.deletes: list[Asked] = []
        (self.begin,) = node.store.run(
            lambda db: db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        )

    def __call__(self) -> None:
        steps = self.steps()
        for _ in range(STEPS):
            (step,) = self.chance.choices(list(steps), list(steps.values()))
            step()
            self.node.settle()
            self.look()
        self.finish()

    def steps(self) -> dict[Callable[[], None], float]:
        """What can happen, and how often."""
        return {
            self.start: 6,
            self.delete: 2,
            self.log_out: 1,
            self.poll: 3,
            self.leave: 1,
            self.ask: 1,
            self.pass_time: 4,
            self.let: 5,
            self.fail: 1,
            self.run_task: 2,
            self.turn: 6,
        }

    # ------------------------------------------------------------------ what can happen

    def start(self) -> None:
        client, reservation = self.chance.choice("aab"), self.chance.choice(["1", "2", "3", None])
        self.starts.append(
            self.node.ask_start(
                client,
                reservation,
                length=self.chance.choice([5, 30, 600]),
                elapsed=self.chance.choice([0, 0, 0, 4]),
                counts_start=self.chance.random() < 0.7,
            )
        )

    def delete(self) -> None:
        session = self.some(self.sessions)
        self.deletes.append(self.node.ask_delete(session.id if session else "nonsense"))

    def log_out(self) -> None:
        if session := self.some(self.node.sessions.live()):
            self.node.sessions.end(session, Reason.EXITED)

    def poll(self) -> None:
        if session := self.some(self.node.sessions.live()):
            self.node.sessions.poll(session)

    def leave(self) -> None:
        if session := self.some(self.node.sessions.live()):
            self.node.sessions.leaving(session)

    def ask(self) -> None:
        if session := self.some(self.sessions):
            self.node.sessions.status(session.id)

    def pass_time(self) -> None:
        self.node.clock.advance(self.chance.choice([0.5, 2, 5, 5, 10, 31, 121]))

    def let(self) -> None:
        self.board.let()

    def fail(self) -> None:
        self.board.let(OSError("smoke"))

    def run_task(self) -> None:
        if session := self.some([s for s in self.node.sessions.live() if s.active]):
            self.node.run_as(session, self.board.run.delay)

    def turn(self) -> None:
        if not self.reaped:
            self.node.sessions.step()

    def some(self, sessions: list[Session]) -> Session | None:
        return self.chance.choice(sessions) if sessions else None

    # ------------------------------------------------------------------ what must always hold

    def look(self) -> None:
        known = self.node.known()
        self.sessions += [s for s in known if s not in self.before and s not in self.sessions]
        live = self.node.sessions.live()
        assert len(live) <= self.node.sessions.rules.users
        for session in self.sessions:
            state = session.state
            if state is State.DISPOSED:
                assert session.reason is not None
                assert session.id not in self.board.present
            else:
                assert session in live
            if session.reason is None and self.reaped:
                assert why_over(session, self.node.sessions.rules, self.node.clock.now()) is None
            if state is State.ACTIVE:
                assert session.reason is None
                assert session.id in self.board.present
        assert not self.board.faults, self.board.faults

    def finish(self) -> None:
        """Everything comes to its end, and is as if nothing had been."""
        node, board = self.node, self.board
        board.patient = False
        for _ in range(60):
            for session in node.sessions.live():
                node.sessions.end(session, Reason.DELETED)
            board.let()
            node.settle()
            self.turn()
            node.settle()
            if not node.sessions.live() and all(a.answered for a in self.starts + self.deletes):
                break
        board.patient = True
        self.look()
        assert node.sessions.live() == []
        assert board.present == set()
        history = ["starting", "active", "disposing", "disposed"]
        events = node.store.select("events", "id > ? AND kind LIKE 'session.%'", self.begin)
        for session in self.sessions:
            assert (board.starts[session.id], board.cleans[session.id]) in ((1, 1), (0, 0))
            assert node.sessions.status(session.id) == -1
            row = node.row(session)
            assert (row["state"], row["reason"]) == ("disposed", session.reason)
            assert row["ended_at"] is not None
            happened = [e["kind"][8:] for e in events if e["session_id"] == session.id]
            happened = [kind for kind in happened if kind != "connected"]
            assert happened in (history, [s for s in history if s != "active"])
        self.check_answers()
        assert node.values() == SAFE
        assert node.tasks.of_session(None) == []
        if node.sessions.quarantine.why is not None:
            node.sessions.quarantine.clear()

    def check_answers(self) -> None:
        kinds = (Session, Busy, StartFailed)
        assert all(isinstance(asked.answer, kinds) for asked in self.starts), self.starts
        assert all(isinstance(asked.answer, Deletion) for asked in self.deletes)
        given = sorted(
            (a for a in self.starts if isinstance(a.answer, Session)), key=lambda a: a.number
        )
        for session in (a.session for a in given):
            assert session.failure is None
        if self.node.sessions.rules.users == 1:  # the id that comes last is the newest
            places = [self.sessions.index(a.session) for a in given]
            assert places == sorted(places)
