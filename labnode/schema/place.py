"""A section on its way to a value: what it is called, and what was expected in its place."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from labnode.schema.section import Problems, Section, quoted, shown

INVALID: Any = object()  # stands for a value after its problem was told


@dataclass(frozen=True)
class Place:
    """A section that is being built, and where its problems go."""

    section: Section
    problems: Problems
    top: str  # "device 'heater'"
    path: str = ""  # from there on: "steps[2].timeout"
    secret: bool = False
    ignore: Collection[str] = ()

    def child(self, section: Section, step: str | int, secret: bool = False) -> Place:
        path = f"{self.path}[{step}]" if isinstance(step, int) else f"{self.path}.{step}"
        secret = secret or self.secret
        return Place(section, self.problems, self.top, path.removeprefix("."), secret)

    @property
    def label(self) -> str:
        """ "'pin' in device 'heater'"; nothing for the document itself."""
        return " in ".join(filter(None, [self.path and quoted(self.path), self.top]))

    @property
    def inside(self) -> str:
        """ " in 'session'", for the end of a sentence about a key."""
        return self.label and f" in {self.label}"

    def wrong(self, message: str) -> Any:
        self.problems.add(self.section, f"{self.label}: {message}" if self.label else message)
        return INVALID

    def unexpected(self, expected: str, hint: str = "") -> Any:
        content = self.section.content
        if content is None:
            return self.wrong(f"expected {expected}, but there is nothing")
        if self.secret and not isinstance(content, dict | list):
            return self.wrong(f"expected {expected}; numbers and words such as on need quotes")
        return self.wrong(f"expected {expected}, not {shown(content)}{hint or self.trap}")

    @property
    def trap(self) -> str:
        """What YAML did to a word, where that may be a surprise."""
        content, text = self.section.content, self.section.text
        if not isinstance(content, bool) or text.lower() in ("true", "false"):
            return ""
        return f" (YAML reads {text} as {shown(content)}; quotes make it a text)"


def described(kind: Any) -> str:
    """What a person has to write for `kind`."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        reader = reader_of(arguments[1:])
        return described(arguments[0]) if reader is None else str(reader.expected)
    if origin in (Union, types.UnionType):
        return " or ".join(described(member) for member in arguments)
    if origin is Literal:
        return one_of(arguments)
    named: str | None = _NAMES.get(origin) or getattr(origin, "expected", None)
    return named or ("a mapping" if dataclasses.is_dataclass(origin) else f"a {origin.__name__}")


def one_of(choices: Iterable[Any]) -> str:
    """The choices as they are written in YAML."""
    *rest, last = [str(c).lower() if isinstance(c, bool) else str(c) for c in choices]
    return f"{', '.join(rest)} or {last}" if rest else last


def reader_of(metadata: Iterable[Any]) -> Any:
    """What reads the value of an `Annotated` in place of its type; None when nothing does."""
    return next((item for item in metadata if hasattr(item, "from_yaml")), None)


_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    types.NoneType: "nothing",
}
