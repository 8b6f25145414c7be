"""Routines: what a board does by itself while nobody uses it, and when a fault begins."""

from __future__ import annotations

import logging
import threading

from labnode.board import Board
from labnode.clock import Clock
from labnode.errors import LabnodeError
from labnode.events import FaultChanged, SessionChanged
from labnode.lab.sequences import Sequences
from labnode.sessions import Sessions
from labnode.worker import Hook, Worker

log = logging.getLogger(__name__)

_LAST_WORDS = 2.0  # seconds that on_shutdown has: a node stops within 10
_HOOK_GRACE = 10.0  # seconds that a hook may take beyond the timeout of its sequence
_AGAIN = 1.0  # seconds until a turn that failed is followed by another
_SUSPICIOUS = 10.0  # seconds until a quarantined board is tested, then twice as many, and so on


class Routines:
    """Runs `on_boot`, `on_idle`, `on_fault`, `on_shutdown` and the self-test of a board.

    A thread ("routines") waits for the times of idling and testing, for boards that have such
    sequences. What it runs is ended as soon as a student comes.
    """

    def __init__(
        self, board: Board, worker: Worker, sessions: Sessions, clock: Clock, sequences: Sequences
    ) -> None:
        self._board = board
        self._specs = board.file.sequences
        self._worker = worker
        self._sessions = sessions
        self._clock = clock
        self._sequences = sequences
        self._wake = clock.event()
        self._stopping = False
        self._hook: Hook | None = None
        self._free_since: float | None = clock.now()
        self._idled = False
        self._tested_at = clock.now()
        self._patience = _SUSPICIOUS
        self._faults: set[str] = set()  # those that have been answered and are not over
        self._news = board.bus.subscribe(SessionChanged, FaultChanged, wake=self._wake.set)
        self._thread = threading.Thread(target=self._run, name="routines", daemon=True)

    def start(self) -> None:
        """Run `on_boot`, then look after the board; LabnodeError when `on_boot` says so."""
        try:
            self._do("on_boot")
        except LabnodeError as error:
            if self._specs["on_boot"].on_error == "fail":
                raise
            log.error("%s", error)
        if {"on_idle", "on_fault", "selftest"} & self._specs.keys():
            self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End what is run, and the thread; False when it did not end in time."""
        self._stopping = True
        self._board.bus.unsubscribe(self._news)
        self._interrupt()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def run_on_shutdown(self) -> None:
        """Run `on_shutdown`, if the hardware thread still lives."""
        if self._worker.stopping:
            return
        try:
            self._do("on_shutdown", at_most=_LAST_WORDS)
        except LabnodeError as error:
            log.warning("%s", error)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._listen()
                due = None if self._stopping else self._look()
            except Exception:
                log.exception("A turn of the routines failed.")
                due = self._clock.now() + _AGAIN
            self._wake.wait(None if due is None else max(0.0, due - self._clock.now()))

    def _listen(self) -> None:
        for event in self._news.drain():
            self._hear(event)

    def _hear(self, event: SessionChanged | FaultChanged) -> None:
        if isinstance(event, FaultChanged):
            self._fault(event)
        elif self._sessions.live():
            self._free_since = None
            self._interrupt()
        elif self._free_since is None:
            self._free_since = self._clock.now()
            self._idled = False

    def _fault(self, event: FaultChanged) -> None:
        if event.state == "cleared":
            self._faults.discard(event.name)
        elif "on_fault" in self._specs and event.name not in self._faults:
            self._faults.add(event.name)
            log.warning("Fault '%s': on_fault begins.", event.name)
            self._worker.queue(self._on_fault)  # at once: it is served while a task waits

    def _on_fault(self) -> None:
        done = False
        try:
            done = self._sequences.run("on_fault")
        finally:
            if not done and not self._sessions.live():
                self._board.reset()

    def _look(self) -> float | None:
        """Do what is due; when something is due again."""
        if self._free_since is None or self._sessions.live():
            return None
        dues = []
        now = self._clock.now()
        idle = self._specs.get("on_idle")
        if idle is not None and not self._idled:
            if self._free_since + idle.after <= now:
                self._idled = True
                self._attempt("on_idle")
            else:
                dues.append(self._free_since + idle.after)
        test = self._specs.get("selftest")
        if test is not None:
            if self._test_at(test.every) <= self._clock.now():
                self._tested_at = self._clock.now()
                self._attempt("selftest")
                self._patience = 2 * self._patience if self._suspect() else _SUSPICIOUS
            dues.append(self._test_at(test.every))
        return min(dues, default=None)

    def _test_at(self, every: float) -> float:
        return self._tested_at + (min(every, self._patience) if self._suspect() else every)

    def _attempt(self, name: str) -> None:
        suspected = self._sessions.quarantine.why
        try:
            done = self._do(name)
        except LabnodeError as error:
            log.warning("%s", error)
            return
        unchanged = self._sessions.quarantine.why == suspected
        if done and name == "selftest" and self._suspect() and unchanged:
            log.warning("The self-test finds nothing: the quarantine ends.")
            self._sessions.quarantine.clear()

    def _suspect(self) -> bool:
        """Is there a quarantine that a self-test may lift? One that a person ordered is none."""
        return self._sessions.quarantine.why is not None and self._board.halted is None

    # ------------------------------------------------------------------ on the hardware thread

    def _do(self, name: str, at_most: float | None = None) -> bool:
        """Run a sequence there and make everything safe after it; whether it did all of it."""
        sequence = self._specs.get(name)
        if sequence is None:
            return False
        outcome: list[bool] = []
        errors: list[Exception | None] = []

        def run() -> None:
            if name not in ("on_boot", "on_shutdown") and self._sessions.live():
                return  # a student was quicker
            try:
                outcome.append(self._sequences.run(name))
            finally:
                kept = name == "on_boot" and any(outcome)  # until the first student comes
                if not kept and not self._sessions.live():
                    self._board.reset()

        def end(error: Exception | None) -> None:
            errors.append(error)
            self._wake.set()

        limit = sequence.timeout if at_most is None else min(at_most, sequence.timeout)
        self._hook = hook = Hook(run, end, limit)
        self._worker.hook(hook)
        self._wait_for(errors, limit + _HOOK_GRACE if at_most is None else limit)
        if not errors:
            self._worker.withdraw(hook)
        self._hook = None
        error = errors[0] if errors else None
        if error is not None and not hook.stopping:
            raise LabnodeError(str(error)) from error
        return bool(outcome and outcome[0])

    def _wait_for(self, outcome: list[Exception | None], seconds: float) -> None:
        """Until there is one; who comes meanwhile ends what is run."""
        end = self._clock.now() + seconds
        while not outcome and (left := end - self._clock.now()) > 0:
            self._wake.clear()
            self._listen()
            if not outcome:
                self._wake.wait(left)
        self._wake.set()  # what has come in between is still to be looked at

    def _interrupt(self) -> None:
        hook = self._hook
        if hook is not None:
            hook.stopping = True
            self._worker.wake()
