"""Routines: what a board does by itself while nobody uses it, and when a fault begins."""

from __future__ import annotations

import logging
import threading
from math import inf

from labnode.board import Board
from labnode.board.config.sequences import SHUTDOWN_LIMIT, Sequence
from labnode.clock import Clock, Turn, WallClock
from labnode.clock.schedules import Timetable
from labnode.errors import LabnodeError
from labnode.events import FaultChanged, SessionChanged
from labnode.lab.sequences import Sequences
from labnode.sessions import Sessions
from labnode.store import Store
from labnode.worker import Hook, Worker

log = logging.getLogger(__name__)

_HOOK_GRACE = 10.0  # seconds that a hook may take beyond the timeout of its sequence
_RETRY_AFTER = 1.0  # seconds from a turn that failed to the next one
_TESTED = "selftest_at"  # what the store calls the wall time of the last self-test that counts
_FIRST_RETEST = 10.0  # seconds until a quarantined board is tested, then twice as many, and so on


class SelfTestTimes:
    """When the self-test is due; with `catch_up` also after a restart what it has missed before."""

    def __init__(self, test: Sequence, clock: Clock, wall: WallClock, store: Store) -> None:
        assert test.schedule is not None
        self.by_wall_clock = test.schedule.wall
        self._clock = clock
        self._store = store if test.catch_up else None
        self._last: float | None = store.recall(_TESTED) if test.catch_up else None
        self._timetable = Timetable(
            test.schedule, clock, wall, last=self._last, catch_up=test.catch_up
        )

    def due(self) -> float:
        """When, by the monotonic clock; inf: nobody knows. It stays due until it is done."""
        due = self._timetable.due()
        self._remember()
        return due

    def done(self) -> None:
        """It has been done; what was not due is not done with."""
        if self._timetable.due() <= self._clock.now():
            self._timetable.came()
            self._remember()

    def _remember(self) -> None:
        if self._store is not None and self._timetable.last != self._last:
            self._last = self._timetable.last
            self._store.remember_soon(_TESTED, self._last)


class Routines:
    """Runs `on_boot`, `on_idle`, `on_fault`, `on_shutdown` and the self-test of a board.

    For boards with such sequences a thread ("routines") waits until one is due. A student who
    arrives interrupts them.
    """

    def __init__(
        self,
        board: Board,
        worker: Worker,
        sessions: Sessions,
        sequences: Sequences,
        *,
        clock: Clock,
        wall: WallClock,
        store: Store,
    ) -> None:
        self._board = board
        self._specs = board.file.sequences
        self._worker = worker
        self._sessions = sessions
        self._clock = clock
        self._wall = wall
        self._sequences = sequences
        self._wake = clock.event()
        self._stopping = False
        self._hook: Hook | None = None
        self._interrupted = False  # the last hook, by a student
        self._free_since: float | None = clock.now()
        self._idled = False
        self._tested_at = clock.now()
        test = self._specs.get("selftest")
        self._test_times = None if test is None else SelfTestTimes(test, clock, wall, store)
        self._patience = _FIRST_RETEST
        self._faults: set[str] = set()  # on_fault has run for them, and they are not over
        self._news = board.bus.subscribe(SessionChanged, FaultChanged, wake=self._wake.set)
        self._busy = Turn(clock, "routines")
        self._thread = threading.Thread(target=self._run, name="routines", daemon=True)

    def start(self) -> None:
        """Run `on_boot`, then start the thread; LabnodeError if `on_boot` fails with `fail`."""
        try:
            self._do("on_boot")
        except LabnodeError as error:
            if self._specs["on_boot"].on_error == "fail":
                raise
            log.error("%s", error)
        if {"on_idle", "on_fault", "selftest"} & self._specs.keys():
            if self._test_times is not None and self._test_times.by_wall_clock:
                self._wall.subscribe(self._wake.set)
            self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Interrupt what runs and end the thread; False when it did not end in time."""
        self._stopping = True
        self._board.bus.unsubscribe(self._news)
        self._interrupt()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def fault(self) -> str | None:
        """Why no routine begins any more, or None; any thread may ask."""
        if self._thread.ident is None or self._stopping:
            return None
        return self._busy.fault() if self._thread.is_alive() else "the thread routines has died"

    def run_on_shutdown(self) -> None:
        """Run `on_shutdown`, if the hardware thread is still alive."""
        if not self._worker.stopping:
            self._attempt("on_shutdown", at_most=SHUTDOWN_LIMIT)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                with self._busy:  # not what follows: it waits for hooks, which have limits
                    self._take_news()
                due = None if self._stopping else self._look()
            except Exception:
                log.exception("A turn of the routines failed.")
                due = self._clock.now() + _RETRY_AFTER
            self._wake.wait(None if due is None else max(0.0, due - self._clock.now()))

    def _take_news(self) -> None:
        for event in self._news.drain():
            if isinstance(event, FaultChanged):
                self._take_fault(event)
            elif self._sessions.live():
                self._free_since = None
                self._interrupt()
            elif self._free_since is None:
                self._free_since = self._clock.now()
                self._idled = False

    def _take_fault(self, event: FaultChanged) -> None:
        if event.state == "cleared":
            self._faults.discard(event.name)
        elif "on_fault" in self._specs and event.name not in self._faults:
            self._faults.add(event.name)
            log.warning("Fault '%s': on_fault begins.", event.name)
            self._worker.queue(self._run_on_fault)  # not a hook: it runs also while a task waits

    def _look(self) -> float | None:
        """Run what is due; returns when something is due again."""
        test_at = self._test_at()  # which is kept for later while a student is there
        if self._free_since is None or self._sessions.live():
            return None if test_at <= self._clock.now() or test_at == inf else test_at
        dues = []
        idle = self._specs.get("on_idle")
        if idle is not None and not self._idled:
            if (due := self._free_since + idle.after) <= self._clock.now():
                self._idled = True
                self._attempt("on_idle")
            else:
                dues.append(due)
        if self._test_at() <= self._clock.now():
            self._tested_at = self._clock.now()
            self._test()
            self._patience = 2 * self._patience if self._suspect() else _FIRST_RETEST
        if (due := self._test_at()) < inf:
            dues.append(due)
        return min(dues, default=None)

    def _test_at(self) -> float:
        """When the self-test is due; inf: never, as far as is known."""
        if self._test_times is None:
            return inf
        due = self._test_times.due()
        return min(due, self._tested_at + self._patience) if self._suspect() else due

    def _test(self) -> None:
        quarantine = self._sessions.quarantine
        why = quarantine.why
        if self._attempt("selftest") and self._suspect() and quarantine.why == why:
            log.warning("The self-test finds nothing: the quarantine ends.")
            quarantine.clear()
        if self._test_times is not None and not self._interrupted:
            self._test_times.done()

    def _suspect(self) -> bool:
        """Is there a quarantine that a self-test may lift? Not one that a person has ordered."""
        return self._sessions.quarantine.why is not None and self._board.halted is None

    def _attempt(self, name: str, at_most: float | None = None) -> bool:
        try:
            return self._do(name, at_most)
        except LabnodeError as error:
            log.warning("%s", error)
            return False

    def _do(self, name: str, at_most: float | None = None) -> bool:
        """Run a sequence as a hook; whether it ran to its end."""
        sequence = self._specs.get(name)
        if sequence is None:
            return False
        done: list[bool] = []
        errors: list[Exception | None] = []

        def end(error: Exception | None) -> None:
            errors.append(error)
            self._wake.set()

        limit = sequence.timeout if at_most is None else min(at_most, sequence.timeout)
        self._hook = hook = Hook(lambda: done.append(self._run_sequence(name)), end, limit)
        self._worker.hook(hook)
        self._wait_for(errors, limit + _HOOK_GRACE if at_most is None else limit)
        if not errors:
            self._worker.withdraw(hook)
        self._hook = None
        self._interrupted = hook.stopping or bool(self._sessions.live())
        error = errors[0] if errors else None
        if error is not None and not hook.stopping:
            raise LabnodeError(str(error)) from error
        return any(done)

    def _wait_for(self, outcome: list[Exception | None], seconds: float) -> None:
        """Wait until `outcome` has an item; a student who arrives interrupts the hook."""
        end = self._clock.now() + seconds
        while not outcome and (left := end - self._clock.now()) > 0:
            self._wake.clear()
            self._take_news()
            if not outcome:
                self._wake.wait(left)
        self._wake.set()  # events that have come in between are still to be taken

    def _interrupt(self) -> None:
        hook = self._hook
        if hook is not None:
            hook.stopping = True
            self._worker.wake()

    # ------------------------------------------------------------------ on the hardware thread

    def _run_sequence(self, name: str) -> bool:
        if name not in ("on_boot", "on_shutdown") and self._sessions.live():
            return False  # a session has started before this hook
        return self._run_and_reset(name, keep=name == "on_boot")

    def _run_on_fault(self) -> None:
        self._run_and_reset("on_fault", keep=True)

    def _run_and_reset(self, name: str, *, keep: bool) -> bool:
        """Run a sequence, then reset the board unless it is to `keep` what a whole run has set."""
        done = False
        try:
            done = self._sequences.run(name)
        finally:
            if not (keep and done) and not self._sessions.live():
                self._board.reset()
        return done
