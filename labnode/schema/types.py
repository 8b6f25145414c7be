"""Types of options that YAML lacks: durations, sizes, texts in several languages.

Your own types work in the same way: a class with `from_yaml(cls, value) -> Self`, or an object with
`from_yaml(value)` in an `Annotated`; both raise ValueError with a sentence. They may have
`expected` (what to write, in words), `json_schema` and `to_yaml`, the reverse of `from_yaml`.
Any other callable in an `Annotated` is a check: it gets the value and returns it, perhaps changed,
or raises ValueError.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from labnode.locale import Joined, Message, pick
from labnode.schema.section import unlike

Number = TypeVar("Number", int, float)

_LONGEST = 10 * 366 * 86400.0  # seconds; much longer waits overflow the timeouts of threads
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_WITH_UNIT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([A-Za-z]+)")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


def _number_or(unit: str, *examples: str) -> dict[str, Any]:
    """The JSON Schema of a number, alone or with its unit."""
    text = {"type": "string", "pattern": rf"^[0-9]+(\.[0-9]+)? ?{unit}$"}
    return {"anyOf": [{"type": "number", "minimum": 0}, text], "examples": list(examples)}


class _DurationReader:
    expected = Message("yaml.a-duration")
    json_schema = _number_or(r"([mM]?[sS]|[mhdMHD])", "500ms", "5s", "2m")

    def from_yaml(self, value: Any) -> float:
        seconds = _measure(value, _SECONDS)
        if seconds is None:
            raise ValueError(unlike(self.expected, value))
        if not 0 <= seconds <= _LONGEST:
            raise ValueError(Message("yaml.duration-limits", value=value))
        return float(seconds)

    def to_yaml(self, seconds: float) -> str:
        """ "2m", "1.5s", "500ms"."""
        whole = [unit for unit in "hms" if seconds and seconds % _SECONDS[unit] == 0]
        unit = whole[0] if whole else "s" if seconds >= 1 or not seconds else "ms"
        return f"{seconds / _SECONDS[unit]:g}{unit if seconds else ''}"


class _SizeReader:
    expected = Message("yaml.a-size")
    json_schema = _number_or(r"([kmgKMG]?[iI]?[bB])", "128KiB", "2MB")

    def from_yaml(self, value: Any) -> int:
        size = None if isinstance(value, float) else _measure(value, _BYTES)
        if size is None or size < 0 or size != int(size):
            raise ValueError(unlike(self.expected, value))
        return int(size)

    def to_yaml(self, size: int) -> str:
        units = [
            unit for unit in ("GiB", "MiB", "KiB") if size and size % _BYTES[unit.lower()] == 0
        ]
        return f"{size // _BYTES[units[0].lower()]}{units[0]}" if units else str(size)


Duration = Annotated[float, _DurationReader()]
"""Seconds, never negative; in YAML a number of seconds or "500ms", "5s", "2m", "1h", "1d"."""

Size = Annotated[int, _SizeReader()]
"""Bytes; in YAML a number of bytes or "128KiB" (1024 each) or "2MB" (1000 each)."""


@dataclass(frozen=True)
class Doc:
    """`pin: Annotated[Pin, Doc("The pin that is driven.")]`: what an option is for.

    One sentence for the person who writes the YAML; editors and the generated docs show it.
    """

    sentence: str


@dataclass(frozen=True)
class Like:
    """`steps: Annotated[list[Section], Like(list[Step])]`: what is built from the sections later.

    `build` leaves them as they are; the JSON Schema and the docs describe them as `kind`.
    """

    kind: Any


@dataclass(frozen=True)
class Between:
    """`Annotated[float, Between(0, 1)]`: including both ends; None is no limit.

    `beyond` ends the message about a larger number: what to do instead.
    """

    low: float | None
    high: float | None = None
    beyond: str | Message = ""

    def __call__(self, value: Number | None) -> Number | None:
        if value is None:
            return None
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= value <= high:
            more = self.beyond if value > high else ""
            raise ValueError(Joined(Message("yaml.outside", limits=self.limits, value=value), more))
        return value

    @property
    def json_schema(self) -> dict[str, Any]:
        limits = {"minimum": self.low, "maximum": self.high}
        return {key: limit for key, limit in limits.items() if limit is not None}

    @property
    def limits(self) -> Message:
        """ "from 0 to 1"."""
        if self.high is None:
            return Message("yaml.at-least", low=self.low)
        if self.low is None:
            return Message("yaml.at-most", high=self.high)
        return Message("yaml.from-to", low=self.low, high=self.high)

    def __str__(self) -> str:
        return str(self.limits)


@dataclass(frozen=True)
class Text:
    """Words for people, in one language or several: `Text("Heater")`, `Text({"en": .., "es": ..})`.

    In YAML a text, or a mapping from language codes to texts.
    """

    words: str | Mapping[str, str]

    expected = Message("yaml.words", example="{en: Heater, es: Calefactor}")
    json_schema: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{_LANGUAGE.pattern}$"},
                "additionalProperties": {"type": "string"},
            },
        ]
    }

    @classmethod
    def from_yaml(cls, value: Any) -> Text:
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, dict) or not value:
            raise ValueError(unlike(cls.expected, value))
        for language, words in value.items():
            if not _LANGUAGE.fullmatch(language):
                raise ValueError(Message("yaml.language", code=repr(language)))
            if not isinstance(words, str):
                expected = Message("yaml.words-in", language=language)
                raise ValueError(unlike(expected, words))
        return cls(value)

    def to_yaml(self) -> str | Mapping[str, str]:
        return self.words

    def pick(self, *locales: str | None) -> str:
        """The words in the first of `locales` that exists ("es", "es_ES"), else in English."""
        if isinstance(self.words, str):
            return self.words
        return pick(self.words, *locales)

    def __str__(self) -> str:
        return self.pick()


def _measure(value: Any, units: dict[str, Any]) -> Any:
    """The number in `value`, times its unit when it is a text; None when it cannot be read."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    match = _WITH_UNIT.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2].lower() not in units:
        return None
    number = float(match[1]) if "." in match[1] else int(match[1])
    return number * units[match[2].lower()]
