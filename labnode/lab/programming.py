"""Programming chips: the node's own task `NAME.program` for each programmer of the board."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labnode import context
from labnode.board import Board, Programmer
from labnode.errors import (
    AlreadyRunningError,
    BadFile,
    DeviceError,
    LabnodeError,
    NotFound,
    Stopped,
    TooLittleTime,
)
from labnode.lab.spool import Spool
from labnode.locale import Retold
from labnode.tasks import Task, TaskFunction, Tasks
from labnode.worker import Worker

_RAISED: tuple[type[LabnodeError], ...] = (AlreadyRunningError, TooLittleTime, Stopped)


class Programming:
    """The tasks `NAME.program`, also of programmers that students may not use."""

    def __init__(self, board: Board, tasks: Tasks, worker: Worker, state_dir: Path) -> None:
        self.spool = Spool(state_dir / "spool")
        self._worker = worker
        self._images: dict[str, Path] = {}  # by device, of its latest task
        self.programmers: Mapping[str, Programmer] = {
            name: driver
            for name, driver in board.file.devices.items()
            if isinstance(driver, Programmer)
        }
        self.functions = {name: self._function(name, p) for name, p in self.programmers.items()}
        for function in self.functions.values():
            function.bind(tasks)

    def start(self, device: str, image: Path | None, *, name: str = "") -> Task:
        """Queue writing a file (None: the blank image); `name` is shown to people.

        Like every task it may have failed already, for example because another one is running. The
        task deletes a file of the spool when it ends.
        """
        function = self._of(device)
        task = function.delay(None if image is None else str(image), name)
        done_with = image if task.failed else self._images.pop(device, None)
        if done_with is not None:  # its task may have been cancelled in the queue
            self.spool.remove(done_with)
        if not task.failed and image is not None:
            self._images[device] = image
        return task

    def run(self, device: str, image: str | Path | None) -> Any:
        """Write a file (None: the blank image) and wait; failures are raised."""
        image = None if image is None else Path(image)
        function = self._of(device)
        programmer = self.programmers[device]
        if self._worker.on_hardware_thread:  # as a part of the current task or hook
            return programmer.blank() if image is None else programmer.program(image)
        task = function.delay(None if image is None else str(image), "").join()
        if task.error is None:
            return task.result
        message = task.error["message"] if task.words is None else Retold(task.words)
        for error in _RAISED:
            if error.code == task.error["code"]:
                raise error(message)
        if task.error["code"] == BadFile.code:
            raise BadFile(message)
        raise DeviceError(message)

    def _of(self, device: str) -> TaskFunction[..., Any]:
        if device not in self.functions:
            raise NotFound(f"'{device}' is no programmer.")
        return self.functions[device]

    def _function(self, device: str, programmer: Programmer) -> TaskFunction[..., Any]:
        def program(image: str | None, name: str) -> Any:
            task = context.current_task.get()
            task.data.update(device=device, file=name, percent=0)
            path = None if image is None else Path(image)
            try:
                return programmer.blank() if path is None else programmer.program(path)
            finally:
                if path is not None:
                    self.spool.remove(path)

        program.__name__ = f"{device}.program"  # cannot be the name of a function of the lab
        return TaskFunction(program, unique="global", estimated_time=programmer.estimated_time)
