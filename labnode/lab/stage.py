"""The running node as the steps of one sequence use it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from labnode.board import Board
from labnode.board.config.expressions import Expression, Readings
from labnode.board.config.sequences import Sequence
from labnode.clock import Clock
from labnode.drivers.framework.subprocess import run
from labnode.errors import DeviceError, Interlocked, NotFound, Stopped, TooLate
from labnode.events import Notice
from labnode.schema import Text
from labnode.sessions import Sessions
from labnode.tasks import TaskFunction

log = logging.getLogger(__name__)


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
        passed = self._board.around.wait(
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
