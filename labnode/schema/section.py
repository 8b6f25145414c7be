"""Values that know where they were written, and the problems found in them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from labnode.errors import ConfigError, Problem
from labnode.locale import Joined, Message, Wording, reworded

INVALID: Any = object()  # in place of a value, after its problem was added


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A scalar, a mapping or a list of a YAML file (or of the environment), and its place.

    `where` ("boards/x.yaml:12") is the line of a scalar, of a list's entry, or of the key that a
    mapping or list stands under; `key_where` is always the line of the key.
    """

    content: Any  # str, int, float, bool, None, dict[str, Section] or list[Section]
    where: str
    key_where: str = ""
    text: str = ""  # a scalar as it is written: "on" where the content is True
    hidden: Any = field(default=None, repr=False)  # of a `!secret NAME`, which is the content
    bad: bool = False  # its problem has been added; nothing is built from it

    @classmethod
    def of(cls, value: Any, where: str) -> Section:
        """Plain data that did not come from a file, all of it at `where`."""
        if isinstance(value, Mapping):
            return cls({str(k): cls.of(v, where) for k, v in value.items()}, where, where)
        if isinstance(value, list | tuple):
            return cls([cls.of(v, where) for v in value], where, where)
        return cls(value, where, where, str(value))

    @property
    def value(self) -> Any:
        """The plain data, safe to show: a secret is "!secret NAME" here."""
        return self._data(reveal=False)

    @property
    def revealed(self) -> Any:
        """The plain data with the values of secrets."""
        return self._data(reveal=True)

    def _data(self, *, reveal: bool) -> Any:
        if isinstance(self.content, dict):
            return {key: child._data(reveal=reveal) for key, child in self.content.items()}
        if isinstance(self.content, list):
            return [child._data(reveal=reveal) for child in self.content]
        return self.hidden if reveal and self.hidden is not None else self.content

    def __contains__(self, key: object) -> bool:
        return isinstance(self.content, dict) and key in self.content

    def __getitem__(self, key: str | int) -> Section:
        """The section under `key` (mapping) or at that index (list); KeyError or IndexError."""
        children: Any = dict(self.items()) if isinstance(key, str) else self.entries()
        found: Section = children[key]
        return found

    def child(self, key: str) -> Section:
        """The section under `key`, or an empty one with this section's place."""
        if key in self:
            return self[key]
        return Section(None, self.where, self.key_where, bad=self.bad)

    def items(self) -> list[tuple[str, Section]]:
        """The keys of a mapping with their sections; empty when it is not a mapping."""
        return list(self.content.items()) if isinstance(self.content, dict) else []

    def entries(self) -> list[Section]:
        """The sections of a list; empty when it is not a list."""
        return list(self.content) if isinstance(self.content, list) else []


class Problems(list[Problem]):
    """Problems collected over several steps; as a context manager it raises them at its end.

    A ConfigError that leaves the block is raised together with the problems before it.
    """

    def add(self, place: Section | str, message: str | Wording) -> None:
        """`place` is a section, for the line of its value, or "boards/x.yaml:12"."""
        where = place.where if isinstance(place, Section) else place
        self.append(Problem(where, reworded(message, _visible)))

    def error(self) -> ConfigError:
        """All problems as one error, in the order of the lines, without duplicates."""
        different = {str(problem): problem for problem in self}
        return ConfigError(*sorted(different.values(), key=_order))

    def raise_all(self) -> None:
        """Raise `error()` if there are any."""
        if self:
            raise self.error()

    def __enter__(self) -> Problems:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.raise_all()
        elif isinstance(error, ConfigError) and self:
            self.extend(error.problems)
            raise self.error() from None


@dataclass(frozen=True)
class Place:
    """A section that is being read, what it is called, and where its problems go."""

    section: Section
    problems: Problems
    top: str | Wording  # "device 'heater'"
    path: str = ""  # from there on: "steps[2].timeout"
    secret: bool = False  # its value is in no problem
    ignore: Collection[str] = ()

    def child(self, section: Section, step: str | int, secret: bool = False) -> Place:
        path = f"{self.path}[{step}]" if isinstance(step, int) else f"{self.path}.{step}"
        secret = secret or self.secret
        return Place(section, self.problems, self.top, path.removeprefix("."), secret)

    def entries(self) -> list[Place]:
        return [self.child(entry, index) for index, entry in enumerate(self.section.entries())]

    @property
    def label(self) -> str | Wording:
        """ "'pin' in device 'heater'"; nothing for the document itself."""
        if self.path and self.top:
            return Message("yaml.part", part=quoted(self.path), whole=self.top)
        return (self.path and quoted(self.path)) or self.top

    @property
    def inside(self) -> str | Wording:
        """ " in 'session'", for the end of a sentence about a key."""
        return Message("yaml.inside", whole=self.label) if self.label else ""

    def wrong(self, message: str | Wording) -> Any:
        """Add a problem; INVALID."""
        told = Message("yaml.about", what=self.label, why=message) if self.label else message
        self.problems.add(self.section, told)
        return INVALID

    def unexpected(self, expected: str | Wording, hint: str | Wording = "") -> Any:
        """Add the problem that something else stands here; INVALID."""
        content = self.section.content
        if content is None:
            if self.section.text == "#":
                return self.wrong(Message("yaml.comment", expected=expected))
            return self.wrong(Message("yaml.nothing-here", expected=expected))
        if self.secret and not isinstance(content, dict | list):
            return self.wrong(Message("yaml.needs-quotes", expected=expected))
        return self.wrong(Joined(unlike(expected, content), hint or self.trap))

    @property
    def trap(self) -> str | Wording:
        """What YAML did to a word, where that may be a surprise."""
        content, text = self.section.content, self.section.text
        if not isinstance(content, bool) or text.lower() in ("true", "false"):
            return ""
        return Message("yaml.trap", text=text, value=shown(content))


def quoted(text: str) -> str:
    """The text in quotes, shortened if it is long."""
    return repr(text if len(text) <= 60 else text[:57] + "…")


def shown(value: Any) -> str | Wording:
    """What a value is, in words for a person: "the text 'x'", "the number 5", "true", "a list"."""
    if value is None:
        return Message("yaml.nothing")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return Message("yaml.number", value=str(value)[:40])
    if isinstance(value, str):
        return Message("yaml.text", value=quoted(value)) if value else Message("yaml.empty-text")
    return Message("yaml.list") if isinstance(value, list) else Message("yaml.mapping")


def unlike(expected: str | Wording, value: Any) -> Wording:
    """ "expected a number, not the text 'x'", for a ValueError of a type or a check."""
    return Message("yaml.unlike", expected=expected, value=shown(value))


def sentence_of(error: ValueError) -> str | Wording:
    """What a type or a check says is wrong."""
    words = error.args[0] if len(error.args) == 1 else None
    return words if isinstance(words, Wording) else str(error)


def did_you_mean(word: str, choices: Iterable[str]) -> str | Wording:
    """ "; did you mean 'pin'?" when one of `choices` is close to `word`, else ""."""
    near = nearest(word, choices)
    return "" if near is None else Message("yaml.did-you-mean", name=repr(near))


def any_of(words: Iterable[str | Wording]) -> str | Wording:
    """ "a, b or c"."""
    *rest, last = words
    if not rest:
        return last
    return Message("yaml.or", rest=Joined(*rest, between=", "), last=last)


def all_of(words: Iterable[str]) -> str | Wording:
    """ "a and b and c"."""
    found, *others = words
    every: str | Wording = found
    for word in others:
        every = Message("yaml.and", rest=every, last=word)
    return every


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that is close to `word`; None if none is."""
    known = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word[:100].lower(), known, n=1)
    return known[close[0]] if close else None


def _visible(text: str) -> str:
    """The text with what cannot be seen as escapes: what a file says is a part of many problems."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _order(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (problem.where, 0)
