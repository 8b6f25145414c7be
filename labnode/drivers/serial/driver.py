"""A serial port with a console: a microcontroller, a modem, a measuring instrument."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from labnode.drivers.framework.driver import Widget, command, private_command
from labnode.drivers.framework.registry import register
from labnode.drivers.framework.services import PendingPost
from labnode.drivers.serial.buffer import ReceiveBuffer
from labnode.drivers.serial.line import Line
from labnode.drivers.serial.options import LineEnding, SerialOptions
from labnode.errors import BadInput, DeviceError, Stopped, TooLate

T = TypeVar("T")

_LINE_END = re.compile(r"\r\n|\r|\n")
_ENDINGS = {"none": "", "lf": "\n", "cr": "\r", "crlf": "\r\n"}
_MOST_UNREAD = 1 << 16  # characters that a wait looks at: the last ones
_LONGEST_WAIT = 600.0  # seconds
_SHOWN = 200  # characters of what came instead
_BACK_WITHIN = 3.0  # seconds that a port may be missing before and after it is lent
_ANSWER_WITHIN = 2.0  # seconds that the io thread has for a request
_LOOK_EVERY = 0.5  # seconds after which a write looks by itself


@register("serial")
@dataclass(kw_only=True)
class Serial(SerialOptions):
    """A serial port with a console on the page, and for Python and sequences.

    It is named by `port` (best /dev/serial/by-id/... or by-path/...), or found by the identity
    of its USB device, `match: {vid: 0x2341, serial: "7543..."}`. The board also starts without it:
    labnode opens the port, exclusively, as soon as it is there, and again after it was unplugged.

    Example::

        console: {driver: serial, port: /dev/serial/by-id/usb-uno, baudrates: [9600, 115200]}
    """

    widget: ClassVar[Widget] = "console"

    # ------------------------------------------------------------------ life

    def open(self) -> None:
        # A wait looks at its end whenever the thread is woken.
        self._look_again = PendingPost(self.services, lambda: None)
        self.hardware = self.line = Line(self)
        self.unread = UnreadText(self.line.received, self.encoding)
        self.line.start(_ANSWER_WITHIN)

    def reset(self) -> None:
        """The next student sees nothing of this one, and finds the usual baud rate."""
        self.line.forget()
        self.unread.skip()
        if self.line.status.baudrate != self.baudrate:
            self._ask(lambda line: line.set_baudrate(self.baudrate))

    def close(self) -> None:
        if self.hardware is not None:
            self.hardware = None
            self.line.stop()

    def make_safe(self) -> None:
        """A port has no safe level; the device behind it is made safe by other means."""

    def state(self) -> dict[str, Any]:
        """Without counters, which would change the snapshot with every byte."""
        status = self.line.status
        state = {
            "value": None,
            "connected": status.connected,
            "lent": status.lent,
            "baudrate": status.baudrate,
        }
        return state if status.error is None else {**state, "error": status.error}

    def counters(self) -> dict[str, int]:
        """Since the board was opened; any thread may ask."""
        line: Line | None = self.hardware
        if line is None:
            return {}
        return {
            "rx_bytes": line.rx_bytes,
            "tx_bytes": line.tx_bytes,
            "dropped_bytes": line.dropped_bytes,
        }

    # ------------------------------------------------------------------ what students may do

    @command
    def set_baudrate(self, baudrate: int) -> None:
        if baudrate not in self.baudrates:
            choice = ", ".join(map(str, self.baudrates))
            raise BadInput(f"'{self.name}' has no baud rate {baudrate}; it has {choice}")
        self._ask(lambda line: line.set_baudrate(baudrate))

    @command
    def send_break(self, duration: float = 0.25) -> None:
        """Hold the line low for `duration` seconds, 2 at most."""
        if not 0 < duration <= 2:
            raise BadInput(f"a break takes up to 2 seconds, not {duration:g}")
        self._ask(lambda line: line.port.set_line("break", True))
        try:
            self.services.wait(duration)
        finally:
            self._ask(lambda line: line.port.set_line("break", False))

    @command
    def set_dtr(self, value: bool) -> None:
        """A rising DTR resets many boards."""
        self._ask(lambda line: line.port.set_line("dtr", value))

    @command
    def set_rts(self, value: bool) -> None:
        self._ask(lambda line: line.port.set_line("rts", value))

    # ------------------------------------------------------------------ for Python and sequences

    @command
    def send(self, text: str, line_ending: LineEnding | None = None) -> None:
        """Send a text and the line ending of the board file, or another one ("none" ...)."""
        ending = _ENDINGS[line_ending or self.line_ending]
        self.write((text + ending).encode(self.encoding, "replace"))

    @command
    def send_bytes(self, data: str) -> None:
        """Send bytes that are written in hexadecimal: "01 ff 7e"."""
        try:
            self.write(bytes.fromhex(data))
        except ValueError:
            raise BadInput(f"expected bytes such as '01 ff 7e', not {data!r}") from None

    def write(self, data: bytes) -> None:
        """Return when the port has taken it; DeviceError after `write_timeout`."""
        left = len(data)
        lost = False

        def written(number: int) -> None:
            nonlocal left, lost
            left -= number
            lost = lost or not number
            self._look_again.post()

        self.line.write(data, written)
        while left and not lost:
            self._wait(_LOOK_EVERY, lambda: not left or lost)
        if left:
            self.line.check()
            raise DeviceError(f"'{self.name}' did not take {left} of {len(data)} bytes.")

    @private_command
    def expect(self, pattern: str, timeout: float = 3.0) -> list[str | None]:
        """Wait for text that matches the regular expression `pattern`.

        Returns the matching text, then its groups; the next `expect` begins after it. TooLate after
        `timeout` seconds.
        """
        try:
            wanted = re.compile(pattern, re.MULTILINE)
        except re.error as error:
            raise BadInput(f"{pattern!r} is no regular expression: {error}") from None
        found = self._until(lambda: self.unread.take(wanted), timeout, repr(pattern))
        return [found[0], *found.groups()]

    @private_command
    def ask(self, text: str, expect: str = r"(.*)[\r\n]", timeout: float = 3.0) -> str | None:
        """Send a text and wait for the answer: the first group of `expect`, or all it matches."""
        self.unread.skip()
        self.send(text)
        found = self.expect(expect, timeout)
        return found[1] if len(found) > 1 else found[0]

    @private_command
    def read_line(self, timeout: float = 3.0) -> str:
        """The device's next line, without its end; TooLate after `timeout` seconds."""
        return self._until(self.unread.take_line, timeout, "a line")

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The path of the closed port, for a programmer, which alone uses it inside the block.

        Waits before and after for a device that has just been powered or reset.
        """
        self._wait_for_device()
        self._ask(Line.lend)
        try:
            yield self.line.status.path or ""
        finally:
            self.unread.skip()
            self._ask(Line.take_back)
            self._wait_for_device()

    # ------------------------------------------------------------------ inside

    def _wait_for_device(self) -> None:
        self.services.wait(_BACK_WITHIN, lambda: self.line.status.connected)

    def _ask(self, action: Callable[[Line], None]) -> None:
        """Have the io thread do something short with the port."""
        try:
            self.line.request(action).result(_ANSWER_WITHIN)
        except TimeoutError:
            raise DeviceError(f"'{self.name}' does not react.") from None

    def _until(self, take: Callable[[], T | None], timeout: float, what: str) -> T:
        """The first result of `take` that is not None, tried whenever something was received."""
        if not 0 <= timeout <= _LONGEST_WAIT:
            raise BadInput(f"a wait takes 0 to {_LONGEST_WAIT:g} seconds, not {timeout:g}")
        deadline = self.services.clock.now() + timeout
        while (found := take()) is None:
            self.line.check()
            left = deadline - self.services.clock.now()
            if left <= 0:
                last = self.unread.text[-_SHOWN:]
                said = f"all it said was {last!r}" if last else "it said nothing"
                raise TooLate(f"'{self.name}' did not say {what} within {timeout:g} s; {said}.")
            self._wait(left, lambda: self.unread.has_more or not self.line.status.connected)
        return found

    def _wait(self, seconds: float, until: Callable[[], bool]) -> None:
        """Let others use the hardware thread until `until()`; Stopped when the task is to stop."""
        self.line.listen(self._look_again.post)
        try:
            if not until() and not self.services.wait(seconds, until):
                raise Stopped(f"The wait for '{self.name}' was ended.")
        finally:
            self.line.unlisten(self._look_again.post)


class UnreadText:
    """The text that a line has received and no `expect` or `read_line` has taken."""

    def __init__(self, received: ReceiveBuffer, encoding: str) -> None:
        self._received = received
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._text = ""
        self._half = False  # a line was ended by a CR, whose LF may still come

    @property
    def has_more(self) -> bool:
        """Whether more has come than was looked at."""
        return self._received.end > self._offset

    @property
    def text(self) -> str:
        """All of it, the last 64 K characters at most."""
        self._offset, data = self._received.read(self._offset, 1 << 30)
        self._offset += len(data)
        new = self._decoder.decode(data)
        if self._half and new:
            self._half = False
            new = new.removeprefix("\n")
        self._text = (self._text + new)[-_MOST_UNREAD:]
        return self._text

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The first match; it and everything before it is taken."""
        match = pattern.search(self.text)
        if match is not None:
            self._text = self._text[match.end() :]
        return match

    def take_line(self) -> str | None:
        """The next complete line (ended by LF, CR or both), without its end."""
        match = _LINE_END.search(self.text)
        if match is None:
            return None
        line, self._text = self._text[: match.start()], self._text[match.end() :]
        self._half = match[0] == "\r" and not self._text
        return line

    def skip(self) -> None:
        self._offset = self._received.end
        self._text = ""
        self._half = False
        self._decoder.reset()
