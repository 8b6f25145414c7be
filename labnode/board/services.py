"""What one driver sees of its board, and what the board is handed by those around it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from labnode.board.config.board_file import BoardFile
from labnode.clock import Clock
from labnode.drivers.framework.driver import Driver

Post = Callable[[Callable[[], None]], None]
Over = Callable[[], bool]
Wait = Callable[..., bool]  # seconds and, if it may end early, an Over
Outlast = Callable[[float, Over], bool]
Progress = Callable[[float | None, str | None], None]
Stop = Callable[[str], object]


@dataclass(frozen=True)
class Surroundings:
    """What the worker and the tasks offer: `post` a call to the hardware thread, `wait` serving
    others, tell the `progress` of the task that runs, `outlast` what ends soon; and what an
    `emergency` sets off."""

    post: Post
    wait: Wait
    progress: Progress
    emergency: Stop
    outlast: Outlast


def alone(clock: Clock, emergency: Stop) -> Surroundings:
    """A board by itself: changes of inputs go unseen, waiting just waits."""
    return Surroundings(
        post=lambda _: None,
        wait=lambda seconds, _until=None: not clock.event().wait(seconds),
        progress=lambda _percent, _line: None,
        emergency=emergency,
        outlast=lambda seconds, over: bool(over() or clock.event().wait(seconds) or over()),
    )


class Host(Protocol):
    """The board, as far as its drivers' services need it."""

    file: BoardFile
    work_dir: Path | None
    around: Surroundings
    pins: Any

    def refresh(self, *devices: str) -> None: ...
    def permit(self, device: str, value: Any) -> None: ...
    def lend(self, device: str) -> AbstractContextManager[str]: ...
    def command(self, device: str, command: str, args: Any = None) -> Any: ...


class DriverServices:
    """The services of one driver; see drivers.base.Services."""

    def __init__(self, board: Host, name: str, clock: Clock, *, simulated: bool) -> None:
        self._board = board
        self._name = name
        self.clock = clock
        self.simulated = simulated

    @property
    def pins(self) -> Any:
        return self._board.pins

    @property
    def folder(self) -> Path:
        return self._board.file.path.parent

    @property
    def state_dir(self) -> Path | None:
        return self._board.work_dir

    def publish(self) -> None:
        self._board.refresh(self._name)

    def post(self, call: Callable[[], None]) -> None:
        self._board.around.post(call)

    def wait(self, seconds: float, until: Over | None = None) -> bool:
        if until is None:
            return self._board.around.wait(seconds)
        return self._board.around.wait(seconds, until)

    def outlast(self, seconds: float, over: Over) -> bool:
        return self._board.around.outlast(seconds, over)

    def device(self, name: str) -> Driver:
        return self._board.file.devices[name]

    def command(self, device: str, command: str, args: Any = None) -> Any:
        return self._board.command(device, command, args)

    def emergency(self, why: str) -> None:
        self._board.around.emergency(why)

    def permit(self, value: Any) -> None:
        self._board.permit(self._name, value)

    def lend(self, device: str) -> AbstractContextManager[str]:
        return self._board.lend(device)

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        self._board.around.progress(percent, line)
