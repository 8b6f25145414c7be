"""What one driver sees of its board, and what the board is handed by those around it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from labnode.clock import Clock

Post = Callable[[Callable[[], None]], None]
Until = Callable[[], bool]
Wait = Callable[[float, Until | None], bool]
Progress = Callable[[float | None, str | None], None]


@dataclass(frozen=True)
class Surroundings:
    """What the worker and the tasks offer: `post` a call to the hardware thread, `wait` serving
    others, tell the `progress` of the task that runs."""

    post: Post
    wait: Wait
    progress: Progress


def alone(clock: Clock) -> Surroundings:
    """A board by itself: changes of inputs go unseen, waiting just waits."""
    return Surroundings(
        post=lambda _: None,
        wait=lambda seconds, _: not clock.event().wait(seconds),
        progress=lambda _percent, _line: None,
    )


class Host(Protocol):
    """The board, as far as its drivers' services need it."""

    around: Surroundings
    pins: Any

    def refresh(self, *devices: str) -> None: ...
    def permit(self, device: str, value: Any) -> None: ...
    def lend(self, device: str) -> AbstractContextManager[str]: ...


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

    def publish(self) -> None:
        self._board.refresh(self._name)

    def post(self, call: Callable[[], None]) -> None:
        self._board.around.post(call)

    def wait(self, seconds: float, until: Until | None = None) -> bool:
        return self._board.around.wait(seconds, until)

    def permit(self, value: Any) -> None:
        self._board.permit(self._name, value)

    def lend(self, device: str) -> AbstractContextManager[str]:
        return self._board.lend(device)

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        self._board.around.progress(percent, line)
