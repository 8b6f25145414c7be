"""A simulated serial device: it echoes, answers lines, and sends texts from time to time."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, Literal

from labnode.clock import Clock
from labnode.locale import Message
from labnode.schema import Doc, Duration

_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONGEST_LINE = 65536  # bytes of a line that is not ended; a device forgets the beginning


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """Texts that are sent in turn, exactly as written, one `every` so often."""

    every: Annotated[Duration, Doc("The time from one text to the next.")]
    text: Annotated[str | list[str], Doc("The text to send; several are sent in turn.")]

    def __post_init__(self) -> None:
        if not self.every or not self.text:
            raise ValueError(Message("driver.periodic"))

    @property
    def texts(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else self.text


@dataclass(frozen=True, kw_only=True)
class SerialScript:
    """A serial device in a simulation; without a script, it echoes.

    `answers` are looked up for every line: the first regular expression that matches the whole line
    is answered with its text, in which \\1 is its first group.

    Example::

        console: {answers: {"led (on|off)": "led is \\\\1\\r\\n"}, greeting: "ready\\r\\n"}
    """

    echo: Annotated[bool, Doc("Whether it sends back whatever it receives.")] = False
    greeting: Annotated[str, Doc("Sent when the port is opened, or DTR rises.")] = ""
    answers: Annotated[dict[str, str], Doc("Answers to lines, by regular expressions.")] = field(
        default_factory=dict
    )
    otherwise: Annotated[str, Doc("The answer to any other line.")] = ""
    delay: Annotated[Duration, Doc("How long an answer takes.")] = 0.0
    periodic: Annotated[list[Periodic], Doc("What it sends from time to time unasked.")] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        for pattern, answer in self.answers.items():
            try:
                if (match := re.match(f"(?:{pattern})|", "")) is not None:
                    match.expand(answer)
            except (re.error, IndexError) as error:
                raise ValueError(
                    Message("driver.answers", pattern=repr(pattern), error=str(error))
                ) from None


class ScriptedPort:
    descriptor: int | None = None

    def __init__(self, path: str, script: SerialScript, encoding: str, clock: Clock) -> None:
        self.path = path
        self._script = script
        self._encoding = encoding
        self._clock = clock
        self._patterns = [(re.compile(pattern), a) for pattern, a in script.answers.items()]
        self._line = b""
        self._outgoing: deque[tuple[float, bytes]] = deque()  # by the time when it can be read
        self._next = [clock.now() + periodic.every for periodic in script.periodic]
        self._turns = [0] * len(script.periodic)
        self._send(self._encode(script.greeting))

    def due(self) -> float | None:
        times = [*self._next, *(at for at, _ in list(self._outgoing)[:1])]
        return max(0.0, min(times) - self._clock.now()) if times else None

    def read(self) -> bytes:
        now = self._clock.now()
        for index, periodic in enumerate(self._script.periodic):
            if self._next[index] <= now:
                self._next[index] = max(self._next[index] + periodic.every, now)
                texts = periodic.texts
                self._outgoing.append((now, self._encode(texts[self._turns[index] % len(texts)])))
                self._turns[index] += 1
        ready = []
        while self._outgoing and self._outgoing[0][0] <= now:
            ready.append(self._outgoing.popleft()[1])
        return b"".join(ready)

    def write(self, data: memoryview) -> int:
        heard = bytes(data)
        if self._script.echo:
            self._send(heard)
        *lines, self._line = _LINE_END.split(self._line + heard)
        self._line = self._line[-_LONGEST_LINE:]
        for line in lines:
            if line:
                self._answer(line.decode(self._encoding, "replace"))
        return len(heard)

    def set_baudrate(self, baudrate: int) -> None:
        """Any baud rate works."""

    def set_line(self, line: Literal["dtr", "rts", "break"], active: bool) -> None:
        """A rising DTR resets the board: it greets again."""
        if line == "dtr" and active:
            self._send(self._encode(self._script.greeting))

    def drop_output(self) -> None:
        """Nothing waits: `write` takes everything."""

    def close(self) -> None:
        self._outgoing.clear()
        self._next.clear()

    def _answer(self, line: str) -> None:
        for pattern, answer in self._patterns:
            if match := pattern.fullmatch(line):
                self._send(self._encode(match.expand(answer)), self._script.delay)
                return
        self._send(self._encode(self._script.otherwise), self._script.delay)

    def _send(self, data: bytes, delay: float = 0.0) -> None:
        if data:
            self._outgoing.append((self._clock.now() + delay, data))

    def _encode(self, text: str) -> bytes:
        return text.encode(self._encoding, "replace")
