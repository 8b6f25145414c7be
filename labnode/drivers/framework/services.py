"""What a board gives its drivers: all that they know of what is above them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from labnode.clock import Clock


class DeviceView(Protocol):
    """Another device of the board, which may be looked at but not commanded."""

    @property
    def value(self) -> Any: ...

    def state(self) -> dict[str, Any]: ...


class Operator(Protocol):
    """Whoever has switched an output on: a student, a task, a sequence, or nobody in particular."""

    def heard_until(self, patience: float) -> float:
        """Until when they count as present: `patience` seconds from their last sign, or longer.

        Any thread; by the monotonic clock.
        """

    def was_lost(self, device: str) -> None:
        """An output has gone to safe because they were no longer heard (hardware thread)."""


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
        """Where the board file and the files that it names are."""

    @property
    def state_dir(self) -> Path | None:
        """Where the node keeps what has to survive a restart; None: nowhere."""

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let others use the hardware thread meanwhile; False once the task has to stop.

        It ends early when `until()` is true, which is checked whenever something was posted.
        """

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        """Let others use the hardware thread until it is `over()`; False after `seconds`.

        No stop ends this: it is for the short end of what was asked to stop.
        """

    @property
    def snapshot(self) -> Mapping[str, Mapping[str, Any]]:
        """What every device of the board showed last: {"value": ...} and more."""

    def device(self, name: str) -> DeviceView:
        """Another device of the board."""

    def command(self, device: str, command: str, args: Any = None) -> Any:
        """Command another device of the board, within its limits and interlocks.

        A driver that `operates` others is their operator.
        """

    def emergency(self, why: str) -> None:
        """Stop everything on the node, at once (any thread)."""

    def permit(self, value: Any) -> None:
        """Interlocked when the board's interlocks forbid this output to be `value` now."""

    @property
    def asked_at(self) -> float:
        """When what commands this device now was asked for; inf: just now (hardware thread)."""

    def operator(self) -> Operator:
        """Whoever commands this device at the moment (hardware thread)."""

    def lend(self, device: str) -> AbstractContextManager[str]:
        """The path of another device's port, the caller's alone inside the block."""

    def progress(self, percent: float | None = None, line: str | None = None) -> None:
        """The progress of the running task (0 to 100), and a line of its output."""


class Poster(Protocol):
    """Runs calls on the hardware thread."""

    def post(self, call: Callable[[], None], /) -> None: ...


class PendingPost:
    """A call that is posted again only after it has begun, for events that may come in floods."""

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
        self._pending = False  # before the call: what happens during it needs another one
        self._call()


@runtime_checkable
class Counting(Protocol):
    """A driver with counters that change too often for the snapshot, of bytes, say."""

    def counters(self) -> dict[str, int]:
        """Counts since the board was opened, by name; any thread may ask."""


@runtime_checkable
class Arrayed(Protocol):
    """A driver whose value is an array, of which pages get no more than what they can show."""

    def csv(self) -> str | None:
        """All of it as a file, None while there is none; any thread may ask."""

    def to_json(self) -> dict[str, Any] | None:
        """All of it as JSON, None while there is none; any thread may ask."""
