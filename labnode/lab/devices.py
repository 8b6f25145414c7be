"""lab.devices: the board's devices for Python; commands run on the hardware thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from labnode import context
from labnode.board import Board
from labnode.errors import BadInput, NotFound
from labnode.lab.programming import Programming
from labnode.worker import Worker


class Device:
    """One device: its driver's commands as methods, and its last known value.

    `lab.devices.heater.set(True)` runs the command `set` on the hardware thread, waits for it and
    returns its result. It raises Busy if the hardware thread has no time for it within 5 s,
    SessionOver if the session has ended by then, BadInput for wrong arguments, Interlocked if the
    board forbids it now, and DeviceError if the device fails.

    A programmer has `program(path)`, relative to the board file, and `blank()`. Both wait until
    programming is done. On the hardware thread they are a part of the current task or hook;
    elsewhere they run the task `NAME.program`. They raise BadFile if the file is not for this chip,
    ToolFailed if programming fails, AlreadyRunningError or TooLittleTime if it cannot start now.
    """

    def __init__(self, name: str, board: Board, worker: Worker, programming: Programming) -> None:
        self._name = name
        self._board = board
        self._worker = worker
        self._programming = programming

    @property
    def value(self) -> Any:
        """The last known value as JSON data, in the device's unit; None if there is none.

        Reading it does not wait for the hardware. `state["stale"]` says whether it is too old.
        """
        return self._board.snapshot[self._name]["value"]

    @property
    def state(self) -> dict[str, Any]:
        """The value and what else is known of the device, a new dictionary.

        It has `value`; where they apply, `sampled` (when it was read, in seconds of the node's
        clock), `stale`, `error` (a sentence), `connected` and `locked`.
        """
        return dict(self._board.snapshot[self._name])

    def command(
        self,
        name: str,
        arguments: Any = None,
        *,
        deadline: float = math.inf,
        asked_at: float = math.inf,
    ) -> Any:
        """Call a command by its name with JSON arguments: a list by position, a dictionary by name.

        `deadline` and `asked_at` are seconds of the node's clock. TooLate if the command could not
        begin before `deadline`. Outdated if it was asked for before the device went to safe by
        itself; a command that makes the device safe is never outdated.
        """
        if self._worker.on_hardware_thread:  # in a hook or task; the session's end waits for it
            return self._board.command(self._name, name, arguments)
        user, in_task = context.current_user.get(), context.current_task.get() is not None

        def checked_command() -> Any:
            if user is not None:  # the session may have ended while the call was queued
                user.check_may_act(in_task=in_task)
            return self._board.command(self._name, name, arguments, asked_at)

        return self._worker.call(checked_command, deadline)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # or copying a Device would never end
            raise AttributeError(name)
        if name in ("program", "blank") and self._name in self._programming.programmers:
            program = partial(self._programming.run, self._name)  # takes longer than a command may
            return program if name == "program" else partial(program, None)
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

    def __repr__(self) -> str:
        return f"<Device {self._name} {self.value!r}>"


class Devices:
    """The devices by name, as attributes or keys: `lab.devices.heater`, `lab.devices["heater"]`.

    `in` and iteration are over the names. A name that the board does not have is an AttributeError,
    as a key NotFound.
    """

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
