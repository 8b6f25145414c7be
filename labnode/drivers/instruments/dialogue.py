"""What is said to an instrument, and what it answers: lines, and blocks of bytes."""

from __future__ import annotations

import re

from labnode.clock import Clock
from labnode.drivers.instruments.wire import TextWire
from labnode.errors import DeviceError, TooLate

MOST_BYTES = 1 << 22  # of one answer
_MOST_ERRORS = 20  # that are taken out of an instrument's queue at once
_NO_ERROR = re.compile(r"[+-]?0+(\D|$)")
_SHOWN = 80  # characters of an answer in a message


class Silent(TooLate, DeviceError):
    """An instrument did not answer in time; what it says later belongs to no question."""


class Dialogue:
    """Questions and answers over an open wire, one after the other (io thread)."""

    def __init__(
        self, wire: TextWire, clock: Clock, *, seconds: float, ending: str, errors: str | None
    ) -> None:
        """An answer comes within `seconds`; lines end with `ending`; `errors` asks for an error."""
        self.wire = wire
        self.seconds = seconds
        self._clock = clock
        self._ending = ending.encode()
        self._errors = errors
        self._unread = b""

    def write(self, text: str) -> None:
        self._unread = b""
        self.wire.send(text.encode("latin-1", "replace") + self._ending, self.seconds)

    def query(self, text: str, seconds: float | None = None) -> str:
        """The line that it answers, without its end; Silent."""
        self.write(text)
        deadline = self._deadline(seconds)
        while (end := self._unread.find(self._ending[-1:])) < 0:
            self._more(text, deadline)
        line, self._unread = self._unread[:end], self._unread[end + 1 :]
        return line.decode("latin-1").strip()

    def query_block(self, text: str, seconds: float | None = None) -> bytes:
        """The bytes of a block of definite length: #, a digit, so many digits, so many bytes.

        (IEEE 488.2, 8.7.9.) Silent; DeviceError for an answer that is none.
        """
        self.write(text)
        deadline = self._deadline(seconds)
        self._need(2, text, deadline)
        begin = self._unread[:2]
        if begin[:1] != b"#" or not begin[1:].isdigit() or begin == b"#0":
            raise DeviceError(
                f"it answers {begin.decode('latin-1')!r} to {text!r}, which begins no block of "
                "definite length"
            )
        digits = int(begin[1:])
        self._need(2 + digits, text, deadline)
        length = self._unread[2 : 2 + digits]
        if not length.isdigit() or int(length) > MOST_BYTES:
            raise DeviceError(f"the block that it answers to {text!r} has no sane length")
        self._need(2 + digits + int(length), text, deadline)
        block = self._unread[2 + digits : 2 + digits + int(length)]
        rest = self._unread[2 + digits + int(length) :]
        while not rest.endswith(self._ending[-1:]):  # or it would be the next answer's beginning
            rest += self._receive(text, deadline)
        self._unread = b""
        return block

    def confirm(self) -> None:
        """After a command: DeviceError with what the instrument's queue of errors says of it."""
        if told := self.take_errors():
            raise DeviceError("; ".join(told))

    def take_errors(self) -> list[str]:
        """What is in its queue of errors, the oldest first; empty afterwards."""
        told: list[str] = []
        while self._errors is not None and len(told) < _MOST_ERRORS:
            answer = self.query(self._errors)
            if _NO_ERROR.match(answer):
                break
            told.append(answer[:_SHOWN])
        return told

    def _deadline(self, seconds: float | None) -> float:
        return self._clock.now() + (self.seconds if seconds is None else seconds)

    def _need(self, count: int, text: str, deadline: float) -> None:
        while len(self._unread) < count:
            self._more(text, deadline)

    def _more(self, text: str, deadline: float) -> None:
        self._unread += self._receive(text, deadline)
        if len(self._unread) > MOST_BYTES + 16:
            raise Silent(f"it answers without end to {text!r}")

    def _receive(self, text: str, deadline: float) -> bytes:
        left = deadline - self._clock.now()
        data = self.wire.receive(left) if left > 0 else b""
        if not data:
            raise Silent(f"it does not answer {text!r} in time")
        return data
