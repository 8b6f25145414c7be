"""What a board needs of the node around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from labnode.clock import Clock
from labnode.drivers.framework.services import Poster

Until = Callable[[], bool]


class HardwareWorker(Poster, Protocol):
    """The worker, as far as a board needs it."""

    def outlast(self, seconds: float, over: Until, /) -> bool: ...


class RunningTask(Protocol):
    """Whatever task or hook runs on the hardware thread; see Tasks."""

    def pause(self, seconds: float, until: Until | None = None, /) -> bool: ...
    def progress(self, percent: float | None = None, line: str | None = None) -> None: ...


class FaultStore(Protocol):
    """The node's store, which keeps the names of latched faults over restarts."""

    def recall(self, key: str, /) -> Any: ...
    def remember_soon(self, key: str, value: Any, /) -> None: ...


class Alone:
    """The worker, task and store of a board without a node: nothing is posted or kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def post(self, function: Callable[[], None]) -> None:
        pass

    def outlast(self, seconds: float, over: Until) -> bool:
        return over() or self._clock.event().wait(seconds) or over()

    def pause(self, seconds: float, until: Until | None = None) -> bool:  # noqa: ARG002
        return not self._clock.event().wait(seconds)

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        pass

    def recall(self, key: str) -> Any:  # noqa: ARG002
        return None

    def remember_soon(self, key: str, value: Any) -> None:
        pass
