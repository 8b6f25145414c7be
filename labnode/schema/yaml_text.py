"""YAML files and texts read into sections: plain data in which every value knows its line.

Scalars are what people expect, not YAML 1.1: `12:30:00`, dates and `010` are texts, `1e3` is a
number. `on`, `off`, `yes` and `no` are booleans as values; as keys `on` and `off` are names, and
`yes` and `no` are refused.
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
from labnode.locale import Message, Wording
from labnode.schema.section import Problems, Section, quoted, sentence_of

_LARGEST = 1 << 20  # bytes of a file
_DEEPEST = 40  # levels of nesting
_MOST = 20_000  # values, those that aliases repeat counted each time
_LONGEST_NUMBER = 100  # characters

_BOOLEANS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_NULLS = {"", "~", "null", "Null", "NULL"}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|\.(inf|nan))", re.I)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")  # a serial number or an octal one: unclear
_TAGGED = Message("yaml.tag")
_STR_TAG = "tag:yaml.org,2002:str"

Secret = Callable[[str], Any]  # the value of a name; ValueError says what is wrong with it

# What is wrong, by a pattern of the parser's "context: problem".
_SENTENCES = {
    r"character '\\t'": Message("yaml.tab"),
    "mapping values are not allowed": Message("yaml.colon"),
    "scanning an? (alias|anchor)": Message("yaml.star"),
    "scanning a quoted scalar": Message("yaml.quote-open"),
    "scanning a double-quoted scalar": Message("yaml.escape"),
    "expected ':'": Message("yaml.no-colon"),
    r"but found '[\]}]'|found ','": Message("yaml.closes-nothing"),
    "found ':'": Message("yaml.no-key"),
    "keys are not allowed": Message("yaml.question-mark"),
    "parsing a flow node": Message("yaml.in-brackets"),
    "parsing a flow mapping": Message("yaml.brace-open"),
    "parsing a flow sequence": Message("yaml.bracket-open"),
    "parsing a block .*found '<(scalar|tag|anchor|alias)>'": Message("yaml.after-value"),
    "parsing a block": Message("yaml.indented"),
    "entries are not allowed": Message("yaml.dash"),
    "scanning a block scalar": Message("yaml.block"),
    "(scanning|parsing) a (tag|directive)|undefined tag handle": Message("yaml.exclamation"),
    "expected '<document start>'": Message("yaml.document-over"),
}
# Where the line that counts is the one on which the parser's context began.
_UNCLOSED = {
    "scanning a quoted scalar",
    "expected ':'",
    "parsing a flow mapping",
    "parsing a flow sequence",
}
# What people often write, and what they are told then: never the text, which may be a password.
_KEY = r"(?:^|[{,]|- )\s*([A-Za-z_]\w*)"
_COLOUR = re.compile(r":\s+#[0-9A-Fa-f]{3,8}\b")
_NO_SPACE = re.compile(r"\s*(?:- )?([A-Za-z_]\w*):([A-Za-z0-9_.]+)\s*(?:#.*)?")
_OFTEN: dict[re.Pattern[str], Callable[..., Message]] = {
    _COLOUR: lambda *_: Message("yaml.colour"),
    re.compile(rf"{_KEY}:\s+'[^',]*'[^\W\d_]"): lambda key: Message("yaml.apostrophe", key=key),
    re.compile(rf"{_KEY}:\s+[^\s'\"\[{{#|>&*!%@`,][^'\"\[\]{{}}#,]*: "): lambda key: Message(
        "yaml.colon-in-text", key=key
    ),
    re.compile(f"^{_NO_SPACE.pattern}$"): lambda key, _: Message("yaml.no-space", key=key),
}
_UNREADABLE: dict[type[Exception], Message] = {
    FileNotFoundError: Message("yaml.no-file"),
    IsADirectoryError: Message("yaml.directory"),
    PermissionError: Message("yaml.no-right"),
}
_NO_TOKEN = re.compile(r"found character '(.+)' that cannot start any token")


def load_yaml(
    path: Path, problems: Problems | None = None, secret: Secret | None = None
) -> Section:
    """The file's only document; an empty file gives a section whose content is None.

    What does not stop the reading (a repeated key, a bad value) is added to `problems`, or raised
    as a ConfigError without them; a file that cannot be read is a ConfigError in any case.
    `secret` returns the value of a `!secret NAME`; without it `!secret` is not allowed.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = Message("yaml.unreadable", why=str(getattr(error, "strerror", error)))
        raise _unreadable(name, _UNREADABLE.get(type(error), reason)) from None
    if len(data) > _LARGEST:
        raise _unreadable(name, Message("yaml.large", most=_LARGEST >> 20))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = Message("yaml.not-utf8", byte=f"0x{data[error.start]:02x}")
        raise _unreadable(f"{name}:{line}", message) from None
    return parse_yaml(text, name, problems, secret)


def parse_yaml(
    text: str, name: str, problems: Problems | None = None, secret: Secret | None = None
) -> Section:
    """As `load_yaml`, for a text; problems call it `name`."""
    own = Problems() if problems is None else problems
    section = _Composer(text.removeprefix("\ufeff"), name, own, secret).document()
    if problems is None:
        own.raise_all()
    return section


def values_in(path: Path) -> list[str]:
    """Every value of a YAML file, as a text; none of one that is no YAML."""
    try:
        tree = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OSError):
        return []
    found: list[str] = []
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.ScalarNode):
            found.append(node.value)
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            nodes += [value for _, value in node.value]
    return found


def _unreadable(where: str, message: Wording) -> ConfigError:
    return ConfigError(Problem(where, message))


def _explain(error: yaml.MarkedYAMLError, source: str) -> tuple[int, Message]:
    """The line (from 1) and one sentence for people who do not know YAML."""
    if often := _often(error, source.splitlines()):
        return often
    text = f"{error.context or ''}: {error.problem or ''}"
    pattern = next((pattern for pattern in _SENTENCES if re.search(pattern, text)), "")
    if pattern:
        sentence = _SENTENCES[pattern]
    elif no_token := _NO_TOKEN.search(text):
        sentence = Message("yaml.begins-with", character=no_token[1])
    else:
        sentence = Message("yaml.invalid", why=text.strip(": "))
    mark = error.context_mark if pattern in _UNCLOSED else None
    mark = mark or error.problem_mark or error.context_mark
    return (mark.line + 1 if mark else 1), sentence


def _often(error: yaml.MarkedYAMLError, lines: list[str]) -> tuple[int, Message] | None:
    """The line and the sentence where a line that may be the reason has a mistake of many people.

    The reason may be some lines above the one where the parser gives up.
    """
    last = error.problem_mark or error.context_mark
    if last is None:
        return None
    first = error.context_mark or last
    begin = max(0, min(first.line, last.line - 1))
    for number in range(min(last.line, len(lines) - 1), begin - 1, -1):
        for pattern, message in _OFTEN.items():
            if match := pattern.search(lines[number]):
                return number + 1, message(*match.groups())
    return None


class _Composer:
    """Turns the parser's events into sections."""

    def __init__(self, text: str, name: str, problems: Problems, secret: Secret | None) -> None:
        self._name = name
        self._lines = text.splitlines()
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
            raise self._fatal(event, Message("yaml.second-document"))
        return section

    def _parse(self, text: str) -> Iterator[Any]:
        try:
            yield from yaml.parse(text, Loader=yaml.SafeLoader)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            message = Message("yaml.character", code=f"U+{error.character:04X}")
            raise _unreadable(f"{self._name}:{line}", message) from None
        except yaml.MarkedYAMLError as error:
            line, message = _explain(error, text)
            raise _unreadable(f"{self._name}:{line}", message) from None
        except (ValueError, OverflowError):  # "\UFFFFFFFF", %YAML 1.(5000 digits): unchecked there
            raise _unreadable(self._name, Message("yaml.too-large")) from None

    def _value(self, event: Any, key_where: str, depth: int) -> Section:
        self._limit(event, 1, depth)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, key_where, depth)
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            section = self._scalar(event, key_where)
        else:
            is_list = isinstance(event, yaml.SequenceStartEvent)
            content = self._list(depth) if is_list else self._mapping(depth)
            where = key_where or self._where(event)
            section = Section(content, where, where)
            if event.tag:
                section = self._bad(section, _TAGGED)
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
            if event.value == "" and self._is_colour(event):
                return replace(section, content=None, text="#")
            if event.implicit[0] and event.tag is None:
                return replace(section, content=read_scalar(event.value))
        except ValueError as error:
            return self._bad(section, sentence_of(error))
        return section

    def _is_colour(self, event: Any) -> bool:
        """Whether an empty value's line has a colour, which YAML takes for a comment."""
        line = event.start_mark.line
        return any(map(_COLOUR.search, self._lines[line : line + 1]))

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
            if section.content is None and (glued := _NO_SPACE.fullmatch(key or "")):
                self._problems.add(where, Message("yaml.no-space", key=glued[1]))
                key, section = glued[1], replace(section, content=glued[2], text=glued[2])
            if key == "<<" and merge:
                merged += section.content if isinstance(section.content, list) else [section]
            elif key in content:
                first = content[key].key_where
                twice = Message("yaml.key-twice", name=quoted(key), first=first)
                self._problems.add(where, twice)
            elif key is not None:
                content[key] = section
        for other in merged:
            if not isinstance(other.content, dict) and not other.bad:
                self._problems.add(other, Message("yaml.merge"))
            for key, section in other.items():
                content.setdefault(key, section)
        return content

    def _key(self, event: Any, depth: int) -> str | None:
        """The text of a key; None, after adding a problem, when it cannot be one."""
        section = self._value(event, "", depth + 1)
        if isinstance(section.content, str) and section.hidden is None:
            return section.content
        if section.bad:
            return None
        if section.text in ("on", "off"):  # of `words:`
            return section.text
        if isinstance(section.content, dict | list) or isinstance(event, yaml.AliasEvent):
            message = Message("yaml.key-plain")
        elif section.content is None:
            message = Message("yaml.no-key")
        elif section.hidden is not None:
            message = Message("yaml.key-secret")
        elif isinstance(section.content, bool):
            message = Message("yaml.key-boolean", text=section.text)
        else:
            message = Message("yaml.key-number", text=section.text)
        self._problems.add(section, message)
        return None

    def _alias(self, event: Any, key_where: str, depth: int) -> Section:
        target = self._anchors.get(event.anchor)
        if target is None:
            inside, lost = Message("yaml.alias-inside"), Message("yaml.alias-lost")
            section = Section(None, self._where(event), key_where)
            return self._bad(section, inside if event.anchor in self._anchors else lost)
        size, height = _measure(target)
        self._limit(event, size, depth + height)
        return replace(target, key_where=key_where or self._where(event))

    def _limit(self, event: Any, size: int, depth: int) -> None:
        """Count `size` more values that reach down to `depth`; ConfigError when it is too much."""
        self._count += size
        if depth > _DEEPEST:
            raise self._fatal(event, Message("yaml.deep", most=_DEEPEST))
        if self._count > _MOST:
            raise self._fatal(event, Message("yaml.many", most=_MOST))

    def _where(self, event: Any) -> str:
        return f"{self._name}:{event.start_mark.line + 1}"

    def _bad(self, section: Section, message: str | Wording) -> Section:
        self._problems.add(section, message)
        return replace(section, content=None, bad=True)

    def _fatal(self, event: Any, message: Wording) -> ConfigError:
        return _unreadable(self._where(event), message)


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
            raise ValueError(Message("yaml.shorter-number"))
        return int(text, 0)
    if _FLOAT.fullmatch(text) and not _LEADING_ZERO.fullmatch(text):
        number = math.nan if "n" in text.lower() else float(text)
        if not math.isfinite(number):
            raise ValueError(Message("yaml.finite-number"))
        return number
    return text


def _measure(section: Section) -> tuple[int, int]:
    """How many values and levels a section has; they were counted, so this ends."""
    children = [_measure(child) for _, child in section.items()]
    children += [_measure(child) for child in section.entries()]
    return 1 + sum(size for size, _ in children), 1 + max((h for _, h in children), default=0)


def _check_characters(text: str) -> None:
    if "\0" in text:
        raise ValueError(Message("yaml.nul"))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(Message("yaml.half-character"))
