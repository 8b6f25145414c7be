"""lab.devices: the board's devices for Python, every command run on the hardware thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labnode import context
from labnode.board import Board
from labnode.errors import BadInput, NotFound
from labnode.lab.programming import Programming
from labnode.worker import Worker


class Device:
    """One device: its driver's commands as methods, and what it was last seen to be.

    A command waits for the hardware thread: Busy after 5 s, SessionOver when the session that asks
    is over by then, BadInput for arguments that the command does not take, DeviceError when the
    device does not do it.

    A programmer has `program(path)`, relative to the board file, and `blank()`, which wait as long
    as it takes: in a task on the hardware thread as a part of that, elsewhere for the node's own
    task `NAME.program`. BadFile: the file is not for this chip. ToolFailed says why it did not
    work, AlreadyRunningError and TooLittleTime why it was not tried.
    """

    def __init__(self, name: str, board: Board, worker: Worker, programming: Programming) -> None:
        self._name = name
        self._board = board
        self._worker = worker
        self._programming = programming

    @property
    def value(self) -> Any:
        """The value (JSON) as last seen; reading it does not wait for the hardware."""
        return self._board.snapshot[self._name]["value"]

    @property
    def state(self) -> dict[str, Any]:
        """The value and what else the driver tells."""
        return dict(self._board.snapshot[self._name])

    def command(self, name: str, arguments: Any = None) -> Any:
        """Call a command by its name with JSON arguments, a list or an object."""
        if self._worker.on_hardware_thread:  # a hook or a task: the session's end waits for it
            return self._board.command(self._name, name, arguments)
        user, in_task = context.current_user.get(), context.current_task.get() is not None

        def asked_from_elsewhere() -> Any:
            # What waited in the queue for longer than its session lasted comes too late.
            if user is not None:
                user.check_may_act(in_task=in_task)
            return self._board.command(self._name, name, arguments)

        return self._worker.call(asked_from_elsewhere)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # or copying a Device would ask it for ever
            raise AttributeError(name)
        if name in ("program", "blank") and self._name in self._programming.programmers:
            # They take longer than a command may.
            return self._program if name == "program" else self._blank
        command = self._board.file.devices[self._name].commands.get(name)
        if command is None:
            raise AttributeError(f"device {self._name!r} has no command {name!r}")

        def call(*args: Any, **kwargs: Any) -> Any:
            if not kwargs:
                return self.command(name, list(args))
            names = [parameter.name for parameter in command.parameters[: len(args)]]
            if len(names) < len(args) or not kwargs.keys().isdisjoint(names):
                raise BadInput(f"{self._name}.{name}: there are more arguments than it takes")
            return self.command(name, {**dict(zip(names, args, strict=True)), **kwargs})

        return call

    def _program(self, image: str | Path) -> Any:
        return self._programming.run(self._name, Path(image))

    def _blank(self) -> Any:
        return self._programming.run(self._name, None)

    def __repr__(self) -> str:
        return f"<Device {self._name} {self.value!r}>"


class Devices:
    """The devices by name, as attributes or keys: `lab.devices.heater`, `lab.devices["heater"]`."""

    def __init__(self, board: Board, worker: Worker, programming: Programming) -> None:
        self._devices = {
            name: Device(name, board, worker, programming) for name in board.file.devices
        }

    def __getitem__(self, name: str) -> Device:
        if name not in self._devices:
            raise NotFound(f"There is no device {name!r} on this board.")
        return self._devices[name]

    def __getattr__(self, name: str) -> Device:
        if name.startswith("_") or name not in self._devices:
            raise AttributeError(f"there is no device {name!r} on this board")
        return self._devices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._devices)

    def __contains__(self, name: object) -> bool:
        return name in self._devices
