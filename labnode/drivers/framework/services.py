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
    def value(self) -> Any:
        """Its value now, as JSON data; None while there is none."""

    def state(self) -> dict[str, Any]:
        """Its state now: "value" and more."""


class Operator(Protocol):
    """Whoever has switched an output on: a student, a task, a sequence, or nobody in particular."""

    def heard_until(self, patience: float) -> float:
        """Until when they count as present: `patience` seconds from their last sign, or longer.

        Any thread; by the monotonic clock.
        """

    def was_lost(self, device: str) -> None:
        """An output has gone to safe because they were no longer heard (hardware thread)."""


class Services(Protocol):
    """What a board offers to a driver, as `self.services`.

    Only the hardware thread uses it, unless a method says that any thread may.
    """

    @property
    def pins(self) -> Any:
        """The gpiozero pin factory; give it to every gpiozero device as `pin_factory=`."""

    @property
    def clock(self) -> Clock:
        """The clock; `clock.now()` is seconds since boot and never jumps (any thread)."""

    @property
    def simulated(self) -> bool:
        """Whether the board runs without hardware."""

    def publish(self) -> None:
        """Say that the device's state has changed, so that the board reads it again."""

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` on the hardware thread soon (any thread)."""

    @property
    def folder(self) -> Path:
        """The folder of the board file and of the files that it names."""

    @property
    def state_dir(self) -> Path | None:
        """The folder for what has to survive a restart; None if there is none."""

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Wait, while others use the hardware thread; returns False once the task has to stop.

        The wait ends early when `until()` is true, which is checked after each `post`.
        """

    def outlast(self, seconds: float, over: Callable[[], bool]) -> bool:
        """Wait until `over()` is true, while others use the hardware thread; False after `seconds`.

        A stop does not end this: it is for the short end of what was asked to stop.
        """

    @property
    def snapshot(self) -> Mapping[str, Mapping[str, Any]]:
        """The last known state of each device of the board, by name: {"value": ...} and more."""

    def device(self, name: str) -> DeviceView:
        """Another device of the board, by its name."""

    def command(self, device: str, command: str, args: Any = None) -> Any:
        """Command another device of the board, within its limits and interlocks.

        `args` is a list or a dictionary. Returns the command's result, and raises what it raises:
        BadInput, Busy, Interlocked, DeviceError.
        """

    def emergency(self, why: str) -> None:
        """Press the node's emergency stop, with the reason in a sentence (any thread)."""

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
        """Show the progress of the running task (0 to 100), and a line of its program's output."""


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
