"""YAML files and texts read into sections: plain data in which everything knows its line.

What people expect rather than YAML 1.1: `12:30:00` and dates are texts, `010` is a text, `1e3` is
a number. `on`, `off`, `yes` and `no` are booleans as values and refused as keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from labnode.errors import ConfigError, Problem
from labnode.schema.section import Problems, Section, quoted

_LARGEST = 1 << 20  # bytes of a file
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

# Patterns of the parser's "context: problem", and whether the line is where that context began.
_SENTENCES: list[tuple[str, bool, str]] = [
    (r"character '\\t'", False, "a tab character; YAML is indented with spaces"),
    (
        "mapping values are not allowed",
        False,
        "a ': ' does not belong here; put the text in quotes, or look for a ':' missing on the "
        "line above or another indentation there",
    ),
    (
        "scanning an? (alias|anchor)",
        False,
        "a value that begins with '*', '&' or '!' has to be in quotes",
    ),
    ("scanning a quoted scalar", True, "a quote is not closed"),
    (
        "scanning a double-quoted scalar",
        False,
        "an escape that YAML does not know; use single quotes to have backslashes as they are",
    ),
    (
        "expected ':'",
        True,
        "a ':' is missing after the key, or the line is indented differently from those above",
    ),
    (r"but found '[\]}]'|found ','", False, "a '}', a ']' or a ',' that belongs to nothing"),
    ("found ':'", False, "a key is missing before the ':'"),
    ("keys are not allowed", False, "a value that begins with '?' has to be in quotes"),
    (
        "parsing a flow node",
        False,
        "between '[' or '{' and its end a value is missing, or has to be in quotes",
    ),
    ("parsing a flow mapping", True, "a '{' is not closed, or a ',' is missing after a value"),
    ("parsing a flow sequence", True, "a '[' is not closed, or a ',' is missing after a value"),
    (
        "parsing a block .*found '<(scalar|tag|anchor|alias)>'",
        False,
        "something stands after a value that has ended; put the whole value in quotes, or look at "
        "the indentation",
    ),
    ("parsing a block", False, "the line is indented differently from those above"),
    ("entries are not allowed", False, "a '- ' does not belong here; it has to begin a line"),
    (
        "scanning a block scalar",
        False,
        "after '|' or '>' the text begins on the next line; put it in quotes if it is a text",
    ),
    (
        "(scanning|parsing) a (tag|directive)|undefined tag handle",
        False,
        "a value that begins with '!' or '%' has to be in quotes",
    ),
    (
        "expected '<document start>'",
        False,
        "the document has ended before this line; look at the indentation and for a line '...'",
    ),
]
_NO_TOKEN = re.compile(r"found character '(.+)' that cannot start any token")


def load_yaml(
    path: Path, problems: Problems | None = None, secret: Secret | None = None
) -> Section:
    """The file's only document; an empty file gives a section whose content is None.

    With `problems`, what can be read past (a key that is there twice, a value that makes no
    sense) is added to them; a file that cannot be read at all is a ConfigError in any case.
    `secret` gives what `!secret NAME` stands for; without it there are none.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise unreadable(name, "there is no such file") from None
    except IsADirectoryError:
        raise unreadable(name, "this is a directory, expected a YAML file") from None
    except PermissionError:
        raise unreadable(name, "this user has no right to read the file") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise unreadable(name, f"the file cannot be read: {reason}") from None
    if len(data) > _LARGEST:
        raise unreadable(name, f"the file is larger than {_LARGEST >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise unreadable(
            f"{name}:{line}",
            f"the file is not UTF-8 text (byte 0x{data[error.start]:02x}); save it as UTF-8",
        ) from None
    return parse_yaml(text, name, problems, secret)


def parse_yaml(
    text: str, name: str, problems: Problems | None = None, secret: Secret | None = None
) -> Section:
    """As `load_yaml`, for a text; `name` stands where the file's name stands."""
    own = Problems() if problems is None else problems
    section = Composer(text.removeprefix("\ufeff"), name, own, secret).document()
    if problems is None:
        own.raise_all()
    return section


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


def explain(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    """The line (from 1) and one sentence."""
    told = f"{error.context or ''}: {error.problem or ''}"
    no_token = _NO_TOKEN.search(told)
    if no_token:
        found = (False, f"a value that begins with {no_token[1]} has to be in quotes")
    else:
        found = (False, f"this is not valid YAML ({told.strip(': ')})")
    matching = (
        (opened, sentence) for pattern, opened, sentence in _SENTENCES if re.search(pattern, told)
    )
    opened, sentence = next(matching, found)
    mark = (error.context_mark if opened else None) or error.problem_mark or error.context_mark
    return (mark.line + 1 if mark else 1), sentence
