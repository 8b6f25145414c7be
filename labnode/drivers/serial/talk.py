"""Talking with a device: waiting for a text that it says, line by line or by a pattern."""

from __future__ import annotations

import codecs
import re

from labnode.drivers.serial.line import Line

_LINE_END = re.compile(r"\r\n|\r|\n")
_MOST = 1 << 16  # characters that a wait looks at: the last ones


class Listening:
    """The text that has come over a line since `offset` and was not taken yet."""

    def __init__(self, line: Line, encoding: str, offset: int) -> None:
        self._line = line
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._text = ""
        self._half = False  # a line was ended by a CR, whose LF may still come

    @property
    def behind(self) -> bool:
        """Whether more has come than was looked at."""
        return self._line.tape.end > self._offset

    @property
    def text(self) -> str:
        """All of it, the last 64 K characters at most."""
        self._offset, data = self._line.tape.read(self._offset, 1 << 30)
        self._offset += len(data)
        new = self._decoder.decode(data)
        if self._half and new:
            self._half = False
            new = new.removeprefix("\n")
        self._text = (self._text + new)[-_MOST:]
        return self._text

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The first match; it, and all before it, is taken."""
        match = pattern.search(self.text)
        if match is not None:
            self._text = self._text[match.end() :]
        return match

    def take_line(self) -> str | None:
        """The next line that is ended (by LF, CR or both), without its end; it is taken."""
        match = _LINE_END.search(self.text)
        if match is None:
            return None
        line, self._text = self._text[: match.start()], self._text[match.end() :]
        self._half = match[0] == "\r" and not self._text
        return line

    def skip(self) -> None:
        """Forget what has come until now."""
        self._offset = self._line.tape.end
        self._text = ""
        self._half = False
        self._decoder.reset()
