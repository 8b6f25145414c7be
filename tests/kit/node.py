"""A small node for tests: real threads, store and board, and a clock that only a test advances."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from labnode import context
from labnode.board import load_board
from labnode.lab import Lab
from labnode.sessions import Deletion, Session, Sessions, StartRequest, User
from labnode.store import Store
from tests.kit.clock import Asked, WatchedClock
from tests.kit.waiting import PATIENCE
from tests.kit.wiring import Parts, bind, sessions_of

BOARD = """\
schema: 1
session: {{{rules}}}
devices:
  switch: {{driver: digital_output, pin: GPIO17}}
  lamp: {{driver: digital_input, pin: GPIO27}}
  dimmer: {{driver: pwm_output, pin: GPIO18}}
  heater: {{driver: relay, pin: GPIO24, safe: true}}
simulate: {{lamp: switch}}
"""
SAFE = {"switch": False, "lamp": False, "dimmer": 0, "heater": True}


class WatchedStore(Store):
    """Knows how many changes it was asked for that nobody waits for."""

    asked = 0

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.asked += 1
        super().update(*args, **kwargs)

    def soon(self, *args: Any, **kwargs: Any) -> None:
        self.asked += 1
        super().soon(*args, **kwargs)


class Visited:
    """What central servers and students ask of a node, and what can be seen of it.

    `settle()` returns when every thread waits for something that a test, or time, has to bring;
    `turn()` lets the reaper do what is due.
    """

    clock: WatchedClock
    sessions: Sessions
    store: Store
    board: Any
    asked: list[Asked[Any]]

    def settle(self) -> None:
        raise NotImplementedError

    def turn(self) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------------ requests

    def ask(self, what: Callable[[], Any]) -> Asked[Any]:
        """Ask for something that may take its time; returns when it is answered or waits."""
        asked = Asked(self.clock, what)
        self.asked = [a for a in self.asked if not a.answered] + [asked]
        self.settle()
        return asked

    def ask_start(
        self,
        client: str = "weblab",
        reservation: str | None = None,
        length: float = 600,
        **more: Any,
    ) -> Asked[Any]:
        request = StartRequest(
            client=client, reservation_id=reservation, length=length, **{"username": "ada", **more}
        )
        return self.ask(lambda: self.sessions.start(request))

    def start(self, client: str = "weblab", reservation: str | None = None, **more: Any) -> Session:
        """A session that is active."""
        asked = self.ask_start(client, reservation, **more)
        self.turn()
        assert asked.session.active
        return asked.session

    def connected(self, *args: Any, **more: Any) -> Session:
        """A session that is active and whose student has come."""
        session = self.start(*args, **more)
        self.sessions.poll(session)
        return session

    def ask_delete(self, session: Session | str) -> Asked[Any]:
        session_id = session if isinstance(session, str) else session.id
        return self.ask(lambda: self.sessions.delete(session_id))

    def delete(self, session: Session | str) -> Deletion:
        asked = self.ask_delete(session)
        self.turn()
        deletion: Deletion = asked.answer
        return deletion

    def run_as(self, session: Session, function: Callable[[], Any]) -> Any:
        """What a view of the session's student returns, in this thread."""
        with context.acting(user=self.user(session)):
            return function()

    # ------------------------------------------------------------------ what can be seen

    def known(self) -> list[Session]:
        """The sessions in memory, those that are over too, oldest first."""
        return list(dict.fromkeys(self.sessions._machine.index._by_secret.values()))

    def user(self, session: Session) -> User:
        return self.sessions.user(session)

    def values(self) -> dict[str, Any]:
        return {name: state["value"] for name, state in self.board.snapshot.items()}

    def row(self, session: Session | str) -> dict[str, Any]:
        """What is stored of a session."""
        session_id = session if isinstance(session, str) else session.id
        (row,) = self.store.select("sessions", "id = ?", session_id)
        return row

    def history(self, session: Session) -> list[str]:
        """The kinds of events stored of a session, in order."""
        rows = self.store.select("events", "session_id = ?", session.id, order="id")
        return [row["kind"] for row in rows]


class SmallNode(Parts, Visited):
    """What an agent builds, but for the web; `step()` is the reaper's turn unless `reaper`."""

    clock: WatchedClock
    store: WatchedStore

    def __init__(
        self,
        directory: Path,
        lab: Lab | None = None,
        *,
        clock: WatchedClock | None = None,
        reaper: bool = False,
        store: Callable[..., WatchedStore] = WatchedStore,
        seats: int = 10,
        keep_expired: float = 3600.0,
        **rules: Any,
    ) -> None:
        self.lab = lab or Lab()
        path = directory / "board.yaml"
        told = ", ".join(f"{key}: {value}" for key, value in rules.items())
        path.write_text(BOARD.format(rules=told), encoding="utf-8")
        super().__init__(
            clock or WatchedClock(), load_board(path), directory, store=store, slots=seats
        )
        self.sessions = sessions_of(self, self.lab, keep_expired=keep_expired)
        bind(self.lab, self, self.sessions)
        self.asked: list[Asked[Any]] = []
        self._reaper = reaper
        self._stored = 0  # changes that are known to be
        self._open = True

    def __enter__(self) -> SmallNode:
        self.start_tasks()
        self.sessions.recover()
        if self._reaper:
            self.sessions.reaper.start()
        self.tasks.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End as the agent does on SIGTERM."""
        if self._open:
            self.sessions.close()
            self.tasks.stop_all()
            self.sessions.reaper.stop(PATIENCE)
            assert self.worker.stop(PATIENCE)
            self.kill()

    def kill(self) -> None:
        """End as by SIGKILL: what is stored is all that stays.

        Threads of this process cannot be killed; they end in order, but nothing of it is kept.
        """
        if not self._open:
            return
        self._open = False
        self.store.close()
        assert self.tasks.timers.stop(PATIENCE)
        self.sessions.reaper.stop(PATIENCE)
        self.sessions.close()
        assert self.worker.stop(PATIENCE)
        for asked in self.asked:
            asked.thread.join(PATIENCE)

    # ------------------------------------------------------------------ time

    def settle(self) -> None:
        """Return when every thread waits for something that a test, or time, has to bring."""
        clock = self.clock
        threads = [self.worker._thread, self.tasks.timers.thread]
        if self._reaper:
            threads.append(self.sessions.reaper._thread)

        def at_rest() -> bool:
            waiting = all(clock.rests(thread.ident) for thread in threads)
            return waiting and all(a.answered or clock.rests(a.thread.ident) for a in self.asked)

        while True:
            with clock.watch:
                if not clock.watch.wait_for(at_rest, PATIENCE):
                    raise AssertionError("a thread does not come to rest")
                moves = clock.moves
                if self.store.asked == self._stored:
                    return
            self._stored = self.store.asked
            self.store.run(lambda db: None)
            with clock.watch:
                if at_rest() and clock.moves == moves and self.store.asked == self._stored:
                    return

    def step(self) -> None:
        """One turn of the reaper."""
        if not self._reaper:
            self.sessions.step()
        self.settle()

    def turn(self) -> None:
        """As many turns of the reaper as something happens in."""
        self.step()
        while self.sessions._machine._reports:
            self.step()
        self.step()

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due then."""
        self.clock.advance(seconds)
        self.settle()
        self.turn()

    def until(self, condition: Callable[[], bool]) -> None:
        """Take turns, as often as something happens, until `condition`."""
        happened = threading.Event()
        reader = self.bus.subscribe(wake=happened.set)
        try:
            while not condition():
                self.turn()
                if not condition():
                    assert happened.wait(PATIENCE), "nothing happens any more"
                happened.clear()
        finally:
            self.bus.unsubscribe(reader)

    @contextmanager
    def store_busy(self) -> Iterator[None]:
        """Inside the block the store's thread does nothing."""
        free = threading.Event()
        self.store._queue.put(lambda: free.wait(PATIENCE))
        try:
            yield
        finally:
            free.set()

    def until_task_rests(self) -> None:
        """Return when every task that runs waits for time to pass, or for being stopped."""
        runs = self.tasks._registry.working()

        def at_rest() -> bool:
            return all(self.clock.rests(run.thread) for run in runs)

        with self.clock.watch:
            assert self.clock.watch.wait_for(at_rest, PATIENCE)
