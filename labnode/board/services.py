"""What a board needs of the node around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from labnode.clock import Clock
from labnode.drivers.framework.services import Operator, Poster

Until = Callable[[], bool]


class HardwareWorker(Poster, Protocol):
    """The worker, as far as a board needs it."""

    @property
    def busy_since(self) -> float | None:
        """Since when it has not served anybody; None while it rests."""

    def outlast(self, seconds: float, over: Until, /) -> bool: ...


class RunningTask(Protocol):
    """Whatever task or hook runs on the hardware thread; see Tasks."""

    def pause(self, seconds: float, until: Until | None = None, /) -> bool: ...
    def progress(self, percent: float | None = None, line: str | None = None) -> None: ...


class OperatorSource(Protocol):
    """Who commands: read from the context of the call, task, hook or sequence."""

    def current(self) -> Operator: ...


class FaultStore(Protocol):
    """The node's store, which keeps the names of latched faults over restarts."""

    def recall(self, key: str, /) -> Any: ...
    def remember_soon(self, key: str, value: Any, /) -> None: ...


class Alone:
    """The worker, task, store and operator of a board without a node.

    Nothing is posted or kept, and who uses it counts as present.
    """

    busy_since = None

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def current(self) -> Operator:
        return self

    def heard_until(self, patience: float) -> float:
        return self._clock.now() + patience

    def was_lost(self, device: str) -> None:
        pass

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
