"""The turnover of the board between students, and its sequences at any time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from labnode import context
from labnode.board import Board
from labnode.board.config.expressions import Expression, Readings
from labnode.board.config.sequences import Sequence
from labnode.clock import Clock
from labnode.drivers.framework.subprocess import run
from labnode.errors import DeviceError, Interlocked, LabnodeError, NotFound, Stopped, TooLate
from labnode.events import Notice
from labnode.schema import Text
from labnode.sessions import Sessions
from labnode.tasks import TaskFunction, Tasks
from labnode.worker import harmless


class BoardStage:
    """See board.steps.Stage; `session_id` is whose sequence it is, None between sessions."""

    def __init__(
        self,
        sequence: Sequence,
        *,
        board: Board,
        sessions: Sessions,
        clock: Clock,
        functions: Mapping[str, TaskFunction[..., Any]],
        session_id: str | None,
    ) -> None:
        self.devices = board.file.devices
        self._sequence = sequence
        self._board = board
        self._sessions = sessions
        self._clock = clock
        self._functions = functions
        self._session_id = session_id
        self._deadline = clock.now() + sequence.timeout

    def check(self) -> None:
        if self._board.halted is not None:
            raise Interlocked(f"The board is stopped: {self._board.halted}")

    def put(self, device: str, value: Any) -> None:
        self._board.put(device, value)

    def make_safe(self, devices: tuple[str, ...] | None) -> None:
        self._board.reset(devices)

    def refresh(self, device: str) -> None:
        self._board.refresh(device)

    def evaluate(self, expression: Expression) -> Any:
        return expression.evaluate(Readings(self._board.snapshot))

    def pause(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        fulfilled = until or (lambda: False)
        if fulfilled():
            return True
        left = max(0.0, self._deadline - self._clock.now())
        passed = self._board.tasks.pause(
            min(seconds, left), lambda: fulfilled() or self._board.halted is not None
        )
        self.check()
        if fulfilled():
            return True
        if not passed:
            raise Stopped(f"{self._sequence.name} was ended before it was done.")
        if left < seconds:
            raise TooLate(
                f"{self._sequence.name} took longer than its timeout of "
                f"{self._sequence.timeout:g} s."
            )
        return False

    def run_program(self, argv: tuple[str, ...], timeout: float) -> tuple[bool, tuple[str, ...]]:
        if self._board.simulation is not None:  # there may be no such program, nor its hardware
            log.info("Simulated, so not run: %s", " ".join(argv))
            return True, ()
        left = max(0.1, self._deadline - self._clock.now())
        try:
            ended = run(
                argv,
                self._board.services(self._sequence.name),
                name=self._sequence.name,
                folder=self._board.file.path.absolute().parent,
                timeout=min(timeout, left),
            )
        except OSError as error:
            raise DeviceError(f"the program '{argv[0]}' cannot be run: {error.strerror}") from error
        return ended.well, ended.output

    def run_task(self, name: str, arguments: Mapping[str, Any]) -> None:
        function = self._functions.get(name)
        if function is None:
            raise NotFound(f"the lab has no task {name!r}")
        task = function.run_sync(**arguments)
        if task.error is not None:
            raise DeviceError(f"the task {name!r} failed: {task.error['message']}")

    def notify(self, text: Text) -> None:
        for session in self._sessions.live():
            if self._session_id in (None, session.id):
                session.tell(text.words)
        self._board.bus.publish(Notice(text.words, self._session_id))


log = logging.getLogger(__name__)


class Turnover:
    """Hardware thread only."""

    def __init__(
        self,
        board: Board,
        sessions: Sessions,
        clock: Clock,
        functions: Mapping[str, TaskFunction[..., Any]],
    ) -> None:
        self._board = board
        self._sessions = sessions
        self._clock = clock
        self._functions = functions

    def prepare(self, session_id: str) -> None:
        """Make the board ready for a student, who has it alone: safe, blank, then `on_start`."""
        self._board.reset()
        self._board.prepare()
        self.run("on_start", session_id)

    def clean(self, session_id: str) -> list[Exception]:
        """`on_dispose`, blank, safe: one failure skips nothing; returns all of them."""
        failures: list[Exception] = []
        for part in (
            lambda: self.run("on_dispose", session_id),
            self._board.clean,
            self._board.reset,
        ):
            try:
                part()
            except Exception as error:
                log.warning("A part of the clean-up failed; it goes on.", exc_info=True)
                failures.append(error)
        return failures

    def run(self, name: str, session_id: str | None = None) -> bool:
        """Run a sequence of the board, if it has it; whether it did all of it.

        What goes wrong is logged, raised or a quarantine as well, as its `on_error` says.
        """
        sequence = self._board.file.sequences.get(name)
        if sequence is None:
            return True
        stage = self._stage(sequence, session_id)
        try:
            sequence.run(stage, self._clock.now)
        except Stopped:
            log.info("%s was ended before it was done.", name)
            raise
        except BaseException as caught:  # noqa: BLE001 - made harmless
            if self._board.halted is not None:  # everything is safe, and in quarantine already
                log.warning("%s was ended by the emergency stop.", name)
                return False
            error = harmless(caught)
            why = f"{name}: {error}"
            log.warning("%s (%s)", why, "; ".join(getattr(caught, "__notes__", [])))
            if sequence.on_error == "warn":
                return False
            if sequence.on_error == "quarantine" and self._sessions.quarantine.why != why:
                self._sessions.quarantine.impose(why)
            raise LabnodeError(why) from error
        return True

    def buttons(self, tasks: Tasks) -> dict[str, TaskFunction[..., Any]]:
        """The sequences that students start, each as a task."""
        return {
            name: self._button(sequence, sequence.label, tasks)
            for name, sequence in self._board.file.sequences.items()
            if sequence.label is not None
        }

    def _button(self, sequence: Sequence, label: Text, tasks: Tasks) -> TaskFunction[..., Any]:
        def press() -> None:
            session_id = getattr(context.current_user.get(), "session_id", None)
            stage = self._stage(sequence, session_id)
            try:
                sequence.run(stage, self._clock.now, lambda percent: tasks.progress(percent, None))
            except BaseException:  # nobody knows how far it was: what it has set is made safe
                self._board.reset(sequence.outputs())
                raise

        press.__name__ = sequence.name
        words = label.words if isinstance(label.words, str) else dict(label.words)
        function = TaskFunction(press, unique="global", label=words)
        function.bind(tasks)
        return function

    def _stage(self, sequence: Sequence, session_id: str | None) -> BoardStage:
        return BoardStage(
            sequence,
            board=self._board,
            sessions=self._sessions,
            clock=self._clock,
            functions=self._functions,
            session_id=session_id,
        )
