"""A reader: somebody's place on the tape of a line, at the line's `max_rate`."""

from __future__ import annotations

from labnode.drivers.serial.line import Line

_BURST = 0.25  # seconds' worth that one who was silent gets at once
_BREATH = 0.05  # seconds after which there is something again for one that has used up its rate


class Reader:
    """Reads a line from `offset` on; what it was too slow for is counted in `dropped`."""

    def __init__(self, line: Line, offset: int, max_rate: int | None = None) -> None:
        self.offset = offset
        self.dropped = 0  # since it was last set to 0
        self._line = line
        self._max_rate = max_rate
        self._paid_until = 0.0  # the rate is used up until then

    def waiting(self) -> bool:
        """Whether there is something to read now; if not, the line tells its listeners later."""
        return self.offset < self._line.tape.end and self._allowed() > 0

    def read(self, limit: int) -> bytes:
        """The next bytes, at most `limit`; b"" while there are none."""
        begin, data = self._line.tape.read(self.offset, min(limit, self._allowed()))
        if begin > self.offset:
            self.dropped += begin - self.offset
            self._line.count_dropped(begin - self.offset)
        self.offset = begin + len(data)
        if self._max_rate is not None and data:
            self._paid_until = (
                max(self._paid_until, self._line.now() - _BURST) + len(data) / self._max_rate
            )
        return data

    def _allowed(self) -> int:
        if self._max_rate is None:
            return 1 << 30
        allowed = int(min(_BURST, self._line.now() - self._paid_until) * self._max_rate)
        if allowed < self._max_rate * _BREATH:
            self._line.tell_again(_BREATH)
            return 0
        return allowed
