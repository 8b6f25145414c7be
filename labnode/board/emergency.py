"""Emergency stops: who ordered one, and whether the hardware thread knows of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labnode.clock import Clock
from labnode.drivers.output import Output
from labnode.errors import Interlocked

_GRACE = 1.0  # seconds; what is later than this has lost its owner


class Emergency:
    """`why` the board is stopped, or None. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self.why: str | None = None
        self._clock = clock
        self._unheard_since: float | None = None

    def begin(self, why: str) -> None:
        if self.why is None:
            self._unheard_since = self._clock.now()
        self.why = why

    def heard(self) -> None:
        """The hardware thread has made everything safe after what it was doing."""
        self._unheard_since = None

    def end(self) -> None:
        self.why = None

    def permit(self, output: Output, value: Any) -> None:
        """Interlocked for everything but the safe value, while there is one."""
        if self.why is not None and not output.is_safe(value):
            raise Interlocked(f"The board is stopped: {self.why}")

    def fault(self, outputs: Iterable[Output]) -> str | None:
        """What the hardware thread should have done and has not, or None."""
        now = self._clock.now()
        for output in outputs:
            if output.overdue(now) > _GRACE:
                return f"'{output.name}' is on for longer than its max_on_time"
        if self._unheard_since is not None and now - self._unheard_since > _GRACE:
            return "nobody has acknowledged an emergency stop"
        return None
