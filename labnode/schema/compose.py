"""YAML text composed into sections: plain data in which everything knows its line.

What people expect rather than YAML 1.1: `12:30:00` and dates are texts, `010` is a text, `1e3` is
a number. `on`, `off`, `yes` and `no` are booleans as values and refused as keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import yaml

from labnode.errors import ConfigError, Problem
from labnode.schema.section import Problems, Section, quoted
from labnode.schema.syntax import explain

_DEEPEST = 40  # levels of nesting
_MOST = 20_000  # values, those that aliases repeat counted each time
_LONGEST_NUMBER = 100  # characters

_BOOLEANS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_NULLS = {"", "~", "null", "Null", "NULL"}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|\.(inf|nan))", re.I)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")  # a serial number, or an octal one: nobody knows
_TAGGED = "YAML reads a value that begins with '!' as a tag; put it in quotes to make it a text"
_STR_TAG = "tag:yaml.org,2002:str"

Secret = Callable[[str], Any]  # the value of a name; ValueError says what is wrong with it


class Composer:
    """Turns the parser's events into sections."""

    def __init__(
        self, text: str, name: str, problems: Problems, secret: Secret | None = None
    ) -> None:
        self._name = name
        self._problems = problems
        self._secret = secret
        self._events = self._parse(text)
        self._anchors: dict[str, Section | None] = {}  # None: not yet at its end
        self._count = 0

    def document(self) -> Section:
        next(self._events)  # the stream starts
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Section(None, f"{self._name}:1")
        section = self._value(next(self._events), "", 1)
        next(self._events)  # the document ends
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._fatal(event, "a second document begins here; expected only one per file")
        return section

    def _parse(self, text: str) -> Iterator[Any]:
        try:
            yield from yaml.parse(text, Loader=yaml.SafeLoader)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            message = f"the character U+{error.character:04X} does not belong in a YAML file"
            raise unreadable(f"{self._name}:{line}", message) from None
        except yaml.MarkedYAMLError as error:
            line, message = explain(error)
            raise unreadable(f"{self._name}:{line}", message) from None
        except (ValueError, OverflowError):  # "\UFFFFFFFF", %YAML 1.(5000 digits): unchecked there
            message = "an escape or a number in the file is too large for what it stands for"
            raise unreadable(self._name, message) from None

    def _value(self, event: Any, key_where: str, depth: int) -> Section:
        self._count += 1
        if depth > _DEEPEST:
            raise self._fatal(event, f"nested more than {_DEEPEST} levels deep")
        if self._count > _MOST:
            raise self._fatal(event, f"more than {_MOST} values in one file, aliases included")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, key_where, depth)
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            section = self._scalar(event, key_where)
        else:
            section = self._collection(event, key_where, depth)
        if event.anchor:
            self._anchors[event.anchor] = section
        return section

    def _scalar(self, event: Any, key_where: str) -> Section:
        where = self._where(event)
        section = Section(event.value, where, key_where or where, event.value)
        try:
            if event.tag == "!secret" and self._secret is not None:
                hidden = self._secret(event.value.strip())
                return replace(section, content=f"!secret {event.value}", text="", hidden=hidden)
            if event.tag not in (None, "!", _STR_TAG):
                return self._bad(section, _TAGGED)
            _check_characters(event.value)
            if event.implicit[0] and event.tag is None:
                return replace(section, content=read_scalar(event.value))
        except ValueError as error:
            return self._bad(section, str(error))
        return section

    def _collection(self, event: Any, key_where: str, depth: int) -> Section:
        where = key_where or self._where(event)
        content = (
            self._mapping(depth) if isinstance(event, yaml.MappingStartEvent) else self._list(depth)
        )
        section = Section(content, where, where)
        return self._bad(section, _TAGGED) if event.tag else section

    def _list(self, depth: int) -> list[Section]:
        entries = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            entries.append(self._value(event, "", depth + 1))
        return entries

    def _mapping(self, depth: int) -> dict[str, Section]:
        content: dict[str, Section] = {}
        merged: list[Section] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            where = self._where(event)
            merge = isinstance(event, yaml.ScalarEvent) and event.implicit[0]
            key = self._key(event, depth)
            section = self._value(next(self._events), where, depth + 1)
            if key == "<<" and merge:
                merged += section.content if isinstance(section.content, list) else [section]
            elif key in content:
                first = content[key].key_where
                self._problems.add(where, f"the key {quoted(key)} is there twice, first at {first}")
            elif key is not None:
                content[key] = section
        for other in merged:
            if not isinstance(other.content, dict) and not other.bad:
                self._problems.add(other, "only a mapping can be merged with '<<'")
            for key, section in other.items():
                content.setdefault(key, section)
        return content

    def _key(self, event: Any, depth: int) -> str | None:
        """The text of a key; None, with a problem told, when it cannot be one."""
        section = self._value(event, "", depth + 1)
        if isinstance(section.content, str) and section.hidden is None:
            return section.content
        if section.bad:
            return None
        if isinstance(section.content, dict | list) or isinstance(event, yaml.AliasEvent):
            message = "a key must be a plain text, not a mapping, a list or an alias"
        elif section.content is None:
            message = "a key is missing before the ':'"
        elif section.hidden is not None:
            message = "a key cannot be a secret"
        else:
            kind = "a boolean" if isinstance(section.content, bool) else "a number"
            text = section.text
            message = f"YAML reads the key {text} as {kind}, expected a name (in quotes: '{text}')"
        self._problems.add(section, message)
        return None

    def _alias(self, event: Any, key_where: str, depth: int) -> Section:
        target = self._anchors.get(event.anchor)
        if target is None:
            reason = "is inside" if event.anchor in self._anchors else "does not find"
            message = f"a value that begins with '*' is an alias; this one {reason} what it repeats"
            section = Section(None, self._where(event), key_where)
            return self._bad(section, f"{message}; put it in quotes to make it a text")
        size, height = _measure(target)
        self._count += size
        if self._count > _MOST:
            raise self._fatal(event, f"more than {_MOST} values in one file, aliases included")
        if depth + height > _DEEPEST:
            raise self._fatal(event, f"nested more than {_DEEPEST} levels deep")
        return replace(target, key_where=key_where or self._where(event))

    def _where(self, event: Any) -> str:
        return f"{self._name}:{event.start_mark.line + 1}"

    def _bad(self, section: Section, message: str) -> Section:
        self._problems.add(section, message)
        return replace(section, content=None, bad=True)

    def _fatal(self, event: Any, message: str) -> ConfigError:
        return unreadable(self._where(event), message)


def read_scalar(text: str) -> Any:
    """What YAML makes of an unquoted `text`: a boolean, a number, None, or the text itself.

    ValueError with a sentence for numbers that no option can have.
    """
    if text in _NULLS:
        return None
    if text.lower() in _BOOLEANS and text in (text.lower(), text.title(), text.upper()):
        return _BOOLEANS[text.lower()]
    if _INT.fullmatch(text):
        if len(text) > _LONGEST_NUMBER:
            raise ValueError("expected a shorter number; quotes make it a text")
        return int(text, 0)
    if _FLOAT.fullmatch(text) and not _LEADING_ZERO.fullmatch(text):
        number = math.nan if "n" in text.lower() else float(text)
        if not math.isfinite(number):
            raise ValueError("expected a finite number; quotes make it a text")
        return number
    return text


def _measure(section: Section) -> tuple[int, int]:
    """How many values a section has, and how many levels; it was counted, so this has an end."""
    children = [_measure(child) for _, child in section.items()]
    children += [_measure(child) for child in section.entries()]
    return 1 + sum(size for size, _ in children), 1 + max((h for _, h in children), default=0)


def _check_characters(text: str) -> None:
    if "\0" in text:
        raise ValueError("a text cannot contain the character NUL")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(
            "a \\u escape in this text is half a character; write the character itself"
        )


def unreadable(where: str, message: str) -> ConfigError:
    """The one problem of a text that cannot be read any further."""
    return ConfigError(Problem(where, message))
