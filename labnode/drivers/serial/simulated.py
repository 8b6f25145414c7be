"""A simulated serial device: it echoes, answers lines, and says something from time to time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

from labnode.schema import Doc, Duration

_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONGEST_LINE = 65536  # bytes of a line that is not ended; a device forgets the beginning


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """Texts that come again and again, one `every` so often, as they are written."""

    every: Annotated[Duration, Doc("How long it is from one text to the next.")]
    text: Annotated[str | list[str], Doc("What is said; of several texts one after the other.")]

    def __post_init__(self) -> None:
        if not self.every or not self.text:
            raise ValueError("periodic needs a text, and an 'every' of more than 0")

    @property
    def texts(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else self.text


@dataclass(frozen=True, kw_only=True)
class SerialScript:
    """What stands for a serial device in a simulation; without one, it echoes.

    `greeting` is said when the port is opened. Each line that comes is looked up in `answers`:
    the first regular expression that fits the whole line is answered with its text, in which \\1 is
    what was in its first parentheses. An answer comes after `delay`.

    Example::

        console: {answers: {"led (on|off)": "led is \\\\1\\r\\n"}, greeting: "ready\\r\\n"}
    """

    echo: Annotated[bool, Doc("Whether it says all that it is told.")] = False
    greeting: Annotated[str, Doc("What it says when the port is opened, or DTR rises.")] = ""
    answers: Annotated[
        dict[str, str], Doc("Answers by regular expressions for the lines that it is told.")
    ] = field(default_factory=dict)
    otherwise: Annotated[str, Doc("The answer to a line that none of them fits.")] = ""
    delay: Annotated[Duration, Doc("How long an answer takes.")] = 0.0
    periodic: Annotated[
        list[Periodic], Doc("What it says from time to time without being asked.")
    ] = field(default_factory=list)

    def __post_init__(self) -> None:
        for pattern, answer in self.answers.items():
            try:
                if (match := re.match(f"(?:{pattern})|", "")) is not None:
                    match.expand(answer)
            except (re.error, IndexError) as error:
                raise ValueError(f"answers: {pattern!r} does not work: {error}") from None


class ScriptedPort:
    """A port without hardware, which behaves as its script says."""

    descriptor: int | None = None

    def __init__(self, path: str, script: SerialScript, encoding: str, now: Callable[[], float]):
        self.path = path
        self._script = script
        self._encoding = encoding
        self._now = now
        self._patterns = [(re.compile(pattern), a) for pattern, a in script.answers.items()]
        self._line = b""
        self._said: deque[tuple[float, bytes]] = deque()  # by the time when it can be read
        self._next = [now() + periodic.every for periodic in script.periodic]
        self._turn = [0] * len(script.periodic)
        self._say(self._encode(script.greeting))

    def due(self) -> float | None:
        times = [*self._next, *(at for at, _ in list(self._said)[:1])]
        return max(0.0, min(times) - self._now()) if times else None

    def read(self) -> bytes:
        now = self._now()
        for index, periodic in enumerate(self._script.periodic):
            if self._next[index] <= now:
                self._next[index] = max(self._next[index] + periodic.every, now)
                texts = periodic.texts
                self._said.append((now, self._encode(texts[self._turn[index] % len(texts)])))
                self._turn[index] += 1
        ready = []
        while self._said and self._said[0][0] <= now:
            ready.append(self._said.popleft()[1])
        return b"".join(ready)

    def write(self, data: memoryview) -> int:
        heard = bytes(data)
        if self._script.echo:
            self._say(heard)
        *lines, self._line = _LINE_END.split(self._line + heard)
        self._line = self._line[-_LONGEST_LINE:]
        for line in lines:
            if line:
                self._answer(line.decode(self._encoding, "replace"))
        return len(heard)

    def set_baudrate(self, baudrate: int) -> None:
        """Any will do."""

    def set_line(self, line: Literal["dtr", "rts", "break"], active: bool) -> None:
        """A rising DTR resets many a board: it greets again."""
        if line == "dtr" and active:
            self._say(self._encode(self._script.greeting))

    def drop_output(self) -> None:
        """All is taken at once."""

    def close(self) -> None:
        self._said.clear()
        self._next.clear()

    def _answer(self, line: str) -> None:
        for pattern, answer in self._patterns:
            if match := pattern.fullmatch(line):
                self._say(self._encode(match.expand(answer)), self._script.delay)
                return
        self._say(self._encode(self._script.otherwise), self._script.delay)

    def _say(self, data: bytes, delay: float = 0.0) -> None:
        if data:
            self._said.append((self._now() + delay, data))

    def _encode(self, text: str) -> bytes:
        return text.encode(self._encoding, "replace")
