"""The board's sequences: run around sessions, by buttons of the page, and at any other time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from labnode import context
from labnode.board import Board
from labnode.board.config.sequences import Sequence
from labnode.clock import Clock
from labnode.drivers.framework.expressions import Expression
from labnode.drivers.framework.readings import Readings
from labnode.drivers.framework.subprocess import run
from labnode.errors import Busy, DeviceError, Interlocked, LabnodeError, NotFound, Stopped, TooLate
from labnode.events import Notice
from labnode.locale import Message
from labnode.schema import Text
from labnode.sessions import Sessions
from labnode.supervisor.client import Supervisor
from labnode.tasks import Recurrence, TaskFunction, Tasks
from labnode.worker import harmless

log = logging.getLogger(__name__)

_SHORTEST_REST = 0.01  # seconds; a rest that has just ended may still be some microseconds away


class Sequences:
    """The sequences of a board; hardware thread only. `functions` are the lab's tasks by name."""

    def __init__(
        self,
        board: Board,
        sessions: Sessions,
        tasks: Tasks,
        clock: Clock,
        functions: Mapping[str, TaskFunction[..., Any]],
    ) -> None:
        self.board = board
        self.sessions = sessions
        self.clock = clock
        self.functions = functions
        self._tasks = tasks

    def run(self, name: str, session_id: str | None = None) -> bool:
        """Run a sequence if the board has it; False if it was not completed.

        Its `on_error` says whether a failure is only logged, raised, or also a quarantine.
        """
        sequence = self.board.file.sequences.get(name)
        if sequence is None:
            return True
        try:
            SequenceRun(sequence, self, session_id).run()
        except Stopped:
            log.info("%s was ended before it was done.", name)
            raise
        except BaseException as caught:  # noqa: BLE001 - made harmless
            if self.board.halted is not None:  # everything is safe, and in quarantine already
                log.warning("%s was ended by the emergency stop.", name)
                return False
            error = harmless(caught)
            why = f"{name}: {error}"
            log.warning("%s (%s)", why, "; ".join(getattr(caught, "__notes__", [])))
            if sequence.on_error == "warn":
                return False
            if sequence.on_error == "quarantine" and self.sessions.quarantine.why != why:
                self.sessions.quarantine.impose(why)
            raise LabnodeError(why) from error
        return True

    def task_functions(self) -> dict[str, TaskFunction[..., Any]]:
        """A task for each sequence that students start, or that comes by itself."""
        return {
            name: self._scheduled(sequence) if sequence.label is None else self._button(sequence)
            for name, sequence in self.board.file.sequences.items()
            if sequence.is_task
        }

    def _button(self, sequence: Sequence) -> TaskFunction[..., Any]:
        def press() -> None:
            session_id = getattr(context.current_user.get(), "session_id", None)
            try:
                SequenceRun(sequence, self, session_id).run(self._tasks.progress)
            except BaseException:  # it may have done any of its steps
                self.board.reset(sequence.outputs())
                raise

        assert sequence.label is not None
        words = sequence.label.words
        press.__name__ = sequence.name
        return TaskFunction(
            press, unique="global", label=words if isinstance(words, str) else dict(words)
        )

    def _scheduled(self, sequence: Sequence) -> TaskFunction[..., Any]:
        def come() -> None:
            try:
                self.run(sequence.name)
            finally:
                self.board.reset(sequence.outputs())

        assert sequence.schedule is not None
        come.__name__ = sequence.name
        periodic = Recurrence(sequence.schedule, sequence.catch_up)
        return TaskFunction(come, unique="global", periodic=periodic)


class SequenceRun:
    """One run of a sequence, as its steps see it (see board.steps.Stage).

    `session_id` is the session that it belongs to, None outside of sessions. While it is `running`
    it operates what it switches on, afterwards the student of its `session` does.
    """

    def __init__(self, sequence: Sequence, sequences: Sequences, session_id: str | None) -> None:
        self.devices = sequences.board.file.devices
        self._sequence = sequence
        self._sequences = sequences
        self._board = sequences.board
        self._clock = sequences.clock
        self._session_id = session_id
        self.session = next((s for s in sequences.sessions.live() if s.id == session_id), None)
        self.running = True
        self.values: dict[str, Any] = {}
        # Until when it may take, for what that is, and how long that was.
        self._limit = self._clock.now() + sequence.timeout, sequence.name, sequence.timeout

    def run(self, progress: Callable[[float], None] = lambda _: None) -> None:
        """Take all steps; what one raises is raised."""
        try:
            with context.in_sequence(self):
                self._sequence.run(self, self._clock.now, progress)
        finally:
            self.running = False

    def check(self) -> None:
        if self._board.halted is not None:
            raise Interlocked(Message("error.board-stopped", why=self._board.halted))

    def put(self, device: str, value: Any) -> None:
        self._when_rested(lambda: self._board.put(device, value))

    def command(self, device: str, command: str, arguments: Mapping[str, Any]) -> None:
        self._when_rested(lambda: self._board.command(device, command, arguments))

    def _when_rested(self, do: Callable[[], Any]) -> None:
        while True:
            try:
                do()
                return
            except Busy as error:  # it rests, or was changed too often
                end, name, timeout = self._limit
                rest, left = error.retry_after or 0.0, end - self._clock.now()
                if rest > left:
                    raise TooLate(
                        f"{error} {name} has a timeout of {timeout:g} s, of which "
                        f"{max(0.0, left):.1f} s are left."
                    ) from None
                self.pause(max(rest, _SHORTEST_REST))

    @contextmanager
    def at_most(self, seconds: float | None, what: str) -> Iterator[None]:
        before = self._limit
        if seconds is not None and self._clock.now() + seconds < before[0]:
            name = f"{what} in {self._sequence.name}"
            self._limit = self._clock.now() + seconds, name, seconds
        try:
            yield
        finally:
            self._limit = before

    def make_safe(self, devices: tuple[str, ...] | None) -> None:
        self._board.reset(devices)

    def refresh(self, device: str) -> None:
        self._board.refresh(device)

    def evaluate(self, expression: Expression) -> Any:
        return expression.evaluate(Readings(self._board.snapshot, named=self.values))

    def demand(self, expression: Expression) -> Any:
        value = self.evaluate(expression)
        if value is None:
            raise DeviceError(f"'{expression.text}' has no value: one that it needs is missing")
        return value

    def pause(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        fulfilled = until or (lambda: False)
        if fulfilled():
            return True
        end, name, timeout = self._limit
        left = max(0.0, end - self._clock.now())
        passed = self._board.tasks.pause(
            min(seconds, left), lambda: fulfilled() or self._board.halted is not None
        )
        self.check()
        if fulfilled():
            return True
        if not passed:
            raise Stopped(f"{self._sequence.name} was ended before it was done.")
        if left < seconds:
            raise TooLate(f"{name} took longer than its timeout of {timeout:g} s.")
        return False

    def run_program(self, argv: tuple[str, ...], timeout: float) -> tuple[bool, tuple[str, ...]]:
        if self._board.simulation is not None:  # the program or its hardware may be missing
            log.info("Simulated, so not run: %s", " ".join(argv))
            return True, ()
        left = max(0.1, self._limit[0] - self._clock.now())
        try:
            with Supervisor(self._board.file.path.absolute().parent) as supervisor:
                ended = run(
                    argv,
                    self._board.services(self._sequence.name),
                    supervisor,
                    name=self._sequence.name,
                    timeout=min(timeout, left),
                )
        except OSError as error:
            raise DeviceError(f"the program '{argv[0]}' cannot be run: {error.strerror}") from error
        return ended.well, ended.output

    def run_task(self, name: str, arguments: Mapping[str, Any]) -> None:
        function = self._sequences.functions.get(name)
        if function is None:
            raise NotFound(f"the lab has no task {name!r}")
        task = function.run_sync(**arguments)
        if task.error is not None:
            raise DeviceError(f"the task {name!r} failed: {task.error['message']}")

    def notify(self, text: Text) -> None:
        for session in self._sequences.sessions.live():
            if self._session_id in (None, session.id):
                session.notify(text.words)
        self._board.bus.publish(Notice(text.words, self._session_id))
