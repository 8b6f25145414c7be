"""Dataclasses built from sections, strictly: what an option is follows from its annotation."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, overload

from labnode.schema.options import options
from labnode.schema.secrets import SecretText, without_secrets
from labnode.schema.section import Problems, Section, did_you_mean, quoted, shown

INVALID: Any = object()  # stands for a value after its problem was told
T = TypeVar("T")


@overload
def build(
    cls: type[T], section: Section, *, name: str = ..., ignore: Collection[str] = ...
) -> T: ...
@overload
def build(
    cls: type[T],
    section: Section,
    problems: Problems,
    *,
    name: str = ...,
    ignore: Collection[str] = ...,
) -> T | None: ...
def build(
    cls: type[T],
    section: Section,
    problems: Problems | None = None,
    *,
    name: str = "",
    ignore: Collection[str] = (),
) -> T | None:
    """A `cls` (dataclass, list[...], any type an option may have) from `section`.

    `name` is what people call it in problems: "device 'heater'". `ignore` are keys that the
    caller has read. With `problems`, everything wrong is added to them and None is returned;
    without, it is raised as one ConfigError. ValueError from `__post_init__`, from a type's
    `from_yaml` or from an `Annotated` check becomes a problem at its line.

    Types: dataclasses, bool, int, float, str, Path, Any, None, Literal, Enum, list, tuple,
    dict[str, ...], unions, Annotated, `Section` (left as it is) and types with `from_yaml`.
    """
    own = Problems() if problems is None else problems
    value = _convert(cls, Place(section, own, name, ignore=ignore))
    if problems is None:
        own.raise_all()
    return None if value is INVALID else cast(T, value)


def _convert(kind: Any, place: Place) -> Any:
    """The value for the annotation `kind`, or INVALID after telling a problem."""
    if place.section.bad:
        return INVALID
    if place.section.hidden is not None and kind is not Section:
        return _to_secret(kind, place)
    converter = _CONVERTERS.get(get_origin(kind) or kind)
    if converter is not None:
        return converter(kind, place)
    if hasattr(kind, "from_yaml"):
        return _called(kind.from_yaml, place.section.revealed, place)
    if dataclasses.is_dataclass(kind):
        return _to_dataclass(kind, place)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _choose([(member.value, member) for member in kind], place)
    raise TypeError(f"no option can have the type {kind!r}")


def _to_secret(kind: Any, place: Place) -> Any:
    """What a `!secret` stands for; the problems of building it would show it."""
    section = replace(place.section, content=place.section.hidden, hidden=None, text="")
    value = _convert(kind, replace(place, section=section, problems=Problems()))
    if value is INVALID:
        return place.wrong(f"expected {described(kind)}, which {place.section.content} is not")
    return SecretText(value) if type(value) is str else value


def _to_dataclass(cls: Any, place: Place) -> Any:
    section = place.section
    known = {option.key: option for option in options(cls)}
    required = [key for key, option in known.items() if option.required]
    if section.content is None and not required:
        section = replace(section, content={})  # a heading with nothing under it
    if not isinstance(section.content, dict):
        keys = f" with the keys {', '.join(required)}" if required else ""
        return place.unexpected(f"a mapping{keys}")
    values = {}
    hints = ""
    for key, child in section.items():
        if key in known:
            option = known[key]
            inner = place.child(child, key, option.secret)
            values[option.name] = _convert(option.type, inner)
        elif key not in place.ignore:
            hint = did_you_mean(key, known) or f"; the keys are {', '.join(known)}"
            hints += hint
            place.problems.add(child.key_where, f"unknown key {quoted(key)}{place.inside}{hint}")
            values[""] = INVALID
    for key in required:
        if key not in section and f"mean {key!r}" in hints:
            values[""] = INVALID  # it is there, misspelt
        elif key not in section:
            place.problems.add(section, f"missing key {quoted(key)}{place.inside}")
            values[""] = INVALID
    return _collect(values.values(), lambda _: _called(lambda _: cls(**values), None, place))


def _to_list(kind: Any, place: Place) -> Any:
    if not isinstance(place.section.content, list | None):
        return place.unexpected(described(kind))
    (entry,) = get_args(kind) or (Any,)
    return _collect([_convert(entry, inner) for inner in _entries(place)], list)


def _to_tuple(kind: Any, place: Place) -> Any:
    content, kinds = place.section.content, get_args(kind)
    if not isinstance(content, list):
        return place.unexpected(described(kind))
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(content)
    if len(kinds) != len(content):
        return place.wrong(f"expected a list of {len(kinds)}, not of {len(content)}")
    pairs = zip(kinds, _entries(place), strict=True)
    return _collect([_convert(entry, inner) for entry, inner in pairs], tuple)


def _to_dict(kind: Any, place: Place) -> Any:
    if not isinstance(place.section.content, dict | None):
        return place.unexpected(described(kind))
    _, entry = get_args(kind) or (str, Any)
    values = {
        key: _convert(entry, place.child(section, key)) for key, section in place.section.items()
    }
    return _collect(values.values(), lambda _: values)


def _entries(place: Place) -> list[Place]:
    return [place.child(entry, index) for index, entry in enumerate(place.section.entries())]


def _collect(values: Collection[Any], make: Callable[[Collection[Any]], Any]) -> Any:
    return INVALID if any(value is INVALID for value in values) else make(values)


def _to_union(kind: Any, place: Place) -> Any:
    content = place.section.content
    members = [member for member in get_args(kind) if member is not types.NoneType]
    if content is None and len(members) < len(get_args(kind)):
        return None
    for member in members:
        value = _convert(member, replace(place, problems=Problems()))
        if value is not INVALID:
            return value
    # Nothing fits; where only one member has this shape, its own problems say more.
    if isinstance(content, dict | list):
        likely = [member for member in members if _shape(member) is type(content)]
    else:
        likely = members
    return _convert(likely[0], place) if len(likely) == 1 else place.unexpected(described(kind))


def _shape(kind: Any) -> type | None:
    origin = get_origin(kind) or kind
    if origin in (list, tuple):
        return list
    return dict if origin is dict or dataclasses.is_dataclass(origin) else None


def _to_literal(kind: Any, place: Place) -> Any:
    return _choose([(choice, choice) for choice in get_args(kind)], place)


def _choose(choices: list[tuple[Any, Any]], place: Place) -> Any:
    content, text = place.section.content, place.section.text
    for choice, value in choices:
        same = type(choice) is type(content) and choice == content
        if same or (isinstance(content, bool) and choice == text):  # on, where "on" is a choice
            return value
    known = [choice for choice, _ in choices]
    hint = did_you_mean(content, map(str, known)) if isinstance(content, str) else ""
    return place.unexpected(one_of(known), hint)


def _to_annotated(kind: Any, place: Place) -> Any:
    base, *metadata = get_args(kind)
    reader = reader_of(metadata)
    if reader is None:
        value = _convert(base, place)
    else:
        value = _called(reader.from_yaml, place.section.revealed, place)
    for check in metadata:
        if callable(check) and value is not INVALID:
            value = _called(check, value, place)
    return value


def _called(function: Callable[[Any], Any], value: Any, place: Place) -> Any:
    try:
        return function(value)
    except ValueError as error:
        return place.wrong(without_secrets(f"{error}{place.trap}", place.section))


def _to_scalar(kind: Any, place: Place) -> Any:
    content = place.section.content
    if kind is float and type(content) is int and abs(content) < 10**300:
        return float(content)
    if type(content) is not kind or (kind is float and not math.isfinite(content)):
        number = kind is str and type(content) in (int, float)
        return place.unexpected(described(kind), " (quotes make it a text)" if number else "")
    return content


def _to_path(kind: Any, place: Place) -> Any:
    if not isinstance(place.section.content, str) or not place.section.content:
        return place.unexpected(described(kind))
    try:
        return Path(place.section.content).expanduser()
    except RuntimeError:
        return place.wrong("there is no such user as after the '~'")


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


_CONVERTERS: dict[Any, Callable[[Any, Place], Any]] = {
    Any: lambda _, place: place.section.revealed,
    Section: lambda _, place: place.section,
    types.NoneType: _to_scalar,
    bool: _to_scalar,
    int: _to_scalar,
    float: _to_scalar,
    str: _to_scalar,
    Path: _to_path,
    list: _to_list,
    tuple: _to_tuple,
    dict: _to_dict,
    Annotated: _to_annotated,
    Literal: _to_literal,
    Union: _to_union,
    types.UnionType: _to_union,
}

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
