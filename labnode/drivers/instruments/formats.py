"""How values are written in commands to instruments, and read from their answers."""

from __future__ import annotations

import re
from string import Formatter
from typing import ClassVar

from labnode.errors import DeviceError
from labnode.locale import Message
from labnode.schema import unlike

_SPEC = re.compile(r"[-+ ]?0?\d{0,2}(\.\d{1,2})?[eEfFgG]?|[-+ ]?0?\d{0,2}d")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NO_NUMBER = 9.9e37  # and above: infinite, or none (SCPI 1999, 7.2.1.4 and .5)
_ON, _OFF = ("1", "ON", "TRUE"), ("0", "OFF", "FALSE")


class Phrase(str):
    """One line for an instrument, without its end."""

    json_schema: ClassVar[dict[str, object]] = {"type": "string", "minLength": 1}

    @classmethod
    def from_yaml(cls, value: object) -> Phrase:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(unlike(Message("driver.a-phrase"), value))
        if not value.isprintable() or not _fits(value):
            raise ValueError(Message("driver.unsendable", text=repr(value)))
        return cls(value)


class Template(Phrase):
    """A line with a number in it: `VOLT {value:.3f}`."""

    json_schema: ClassVar[dict[str, object]] = {"type": "string", "pattern": r"\{value(:[^}]*)?\}"}

    @classmethod
    def from_yaml(cls, value: object) -> Template:
        phrase = super().from_yaml(value)
        try:
            fields = [(name, spec, how) for _, name, spec, how in Formatter().parse(phrase) if name]
            empty = any(name == "" for _, name, _, _ in Formatter().parse(phrase))
        except ValueError as error:
            raise ValueError(
                Message("driver.braces", text=repr(phrase), error=str(error))
            ) from None
        names = [name for name, _, _ in fields]
        if empty or set(names) != {"value"}:
            other = next((name for name in names if name != "value"), "")
            text = Message("yaml.text", value=repr(phrase))
            found = f"{{{other}}}" if other or empty else text
            expected = Message("driver.a-place", place="{value}")
            raise ValueError(Message("yaml.unlike", expected=expected, value=found))
        for _, spec, how in fields:
            if how or not _SPEC.fullmatch(spec or ""):
                raise ValueError(Message("driver.no-format", spec=f"':{spec}'"))
        return cls(phrase)

    def text(self, value: float) -> str:
        """The line for a number."""
        parts = []
        for literal, name, spec, _ in Formatter().parse(self):
            parts.append(literal)
            if name is not None:
                parts.append(_written(value, spec or ""))
        return "".join(parts)

    def rounded(self, value: float) -> float:
        """The number that the line says, which has as many digits as its format."""
        spec = next(spec for _, name, spec, _ in Formatter().parse(self) if name is not None)
        return float(_written(value, spec or ""))


def number(answer: str, pattern: re.Pattern[str] | None = None) -> float:
    """The number in an answer: at its beginning, or what `pattern` finds; DeviceError."""
    found = (pattern or _NUMBER).search(answer) if pattern else _NUMBER.match(answer.lstrip("'\" "))
    try:
        if found is None:
            raise ValueError
        value = float(found[1] if pattern and pattern.groups else found[0])
    except (TypeError, ValueError):
        raise DeviceError(f"it answers {answer[:80]!r}, where there is no number") from None
    if not abs(value) < _NO_NUMBER:
        raise DeviceError("it has no reading: out of range")
    return value


def truth(answer: str) -> bool:
    """Whether an answer says on; DeviceError where it says neither."""
    word = answer.strip().strip("\"'").upper()
    if word in _ON or word in _OFF:
        return word in _ON
    raise DeviceError(f"it answers {answer[:80]!r}, which is neither on nor off (1, 0, ON, OFF)")


def _written(value: float, spec: str) -> str:
    if spec.endswith("d"):
        return format(round(value), spec)
    return format(value, spec or ".9g")


def _fits(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
