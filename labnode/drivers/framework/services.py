"""What a board gives its drivers: all that they know of what is above them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from labnode.clock import Clock


class DeviceView(Protocol):
    """Another device of the board, which may be looked at but not commanded."""

    @property
    def value(self) -> Any: ...

    def state(self) -> dict[str, Any]: ...


class Services(Protocol):
    """What a board gives one driver."""

    @property
    def pins(self) -> Any:
        """The gpiozero pin factory; every gpiozero device gets it as `pin_factory=`."""

    @property
    def clock(self) -> Clock: ...

    @property
    def simulated(self) -> bool: ...

    def publish(self) -> None:
        """My value has changed: read it again (hardware thread)."""

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` on the hardware thread soon (any thread)."""

    @property
    def folder(self) -> Path:
        """Where the board file is, and the files that it names."""

    @property
    def state_dir(self) -> Path | None:
        """Where the node keeps what has to survive it; None: nowhere."""

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let others use the hardware thread meanwhile; False once the task has to stop.

        It ends early when `until()` is true, which is checked whenever something was posted.
        """

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        """Let others use the hardware thread until it is `over()`; False after `seconds`.

        For the short end of what was asked to stop: nothing else ends this.
        """

    def device(self, name: str) -> DeviceView:
        """Another device of the board."""

    def command(self, device: str, command: str, args: Any = None) -> Any:
        """Have another device of the board do something, within its limits and interlocks."""

    def emergency(self, why: str) -> None:
        """Stop everything on the node, at once (any thread)."""

    def permit(self, value: Any) -> None:
        """Interlocked when the board's interlocks forbid this output to be `value` now."""

    def lend(self, device: str) -> AbstractContextManager[str]:
        """The path of another device's port, the caller's alone inside the block."""

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        """How far the running task is (0 to 100), and a line of what it says."""


class Poster(Protocol):
    """Who takes calls for the hardware thread."""

    def post(self, call: Callable[[], None], /) -> None: ...


class PendingPost:
    """A call to the hardware thread that is posted again only after it has begun.

    For what may happen more often than the hardware thread has a turn.
    """

    def __init__(self, poster: Poster, call: Callable[[], None]) -> None:
        self._poster = poster
        self._call = call
        self._pending = False

    def post(self) -> None:
        """Have it run soon (any thread)."""
        if not self._pending:
            self._pending = True
            self._poster.post(self._run)

    def _run(self) -> None:
        self._pending = False  # before the call: what happens during it is news
        self._call()


@runtime_checkable
class Counting(Protocol):
    """A driver that counts what would flood its snapshot: bytes, say."""

    def counters(self) -> dict[str, int]:
        """Numbers since the board was opened, by their names; any thread may ask."""
