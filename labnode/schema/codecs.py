"""One codec per type that an option may have: it reads, checks, describes and writes the values.

Another type is one more subclass of `Codec` here or, outside, a class with `from_yaml` (types.py).
"""

from __future__ import annotations

import dataclasses
import re
import sys
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    overload,
)

from labnode.locale import Joined, Message, Wording
from labnode.schema.options import Option, options
from labnode.schema.secrets import SecretText, without_secrets
from labnode.schema.section import (
    INVALID,
    Place,
    Problems,
    Section,
    any_of,
    did_you_mean,
    nearest,
    quoted,
    sentence_of,
)
from labnode.schema.types import Like

T = TypeVar("T")
Schema = dict[str, Any]

_NUMBER_WITH_UNIT = re.compile(r"([-+]?\d+(?:[.,]\d+)?) ?(%|°?[A-Za-zµΩ]{1,4}|°|)")
_PREFIXES = {"k": 1e3, "M": 1e6, "G": 1e9, "m": 1e-3, "µ": 1e-6, "u": 1e-6, "n": 1e-9}
DIALECT = "http://json-schema.org/draft-07/schema#"  # what yaml-language-server knows best
_WORDS = "^([Oo]n|ON|[Oo]ff|OFF|[Yy]es|YES|[Nn]o|NO)$"  # booleans, which YAML 1.2 takes for texts


@overload
def build(
    cls: type[T], section: Section, *, name: str | Wording = ..., ignore: Collection[str] = ...
) -> T: ...
@overload
def build(
    cls: type[T],
    section: Section,
    problems: Problems,
    *,
    name: str | Wording = ...,
    ignore: Collection[str] = ...,
) -> T | None: ...
def build(
    cls: type[T],
    section: Section,
    problems: Problems | None = None,
    *,
    name: str | Wording = "",
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
    value = codec_of(cls).read(Place(section, own, name, ignore=ignore))
    if problems is None:
        own.raise_all()
    return None if value is INVALID else cast(T, value)


def json_schema(kind: Any) -> Schema:
    """The JSON Schema of what `build` accepts for the type `kind`, for editors.

    It is a little more generous: it knows nothing of `__post_init__` and most other checks.
    """
    return codec_of(kind).describe()


def object_schema(
    known: Iterable[Option], more: Mapping[str, Schema] | None = None, description: str = ""
) -> Schema:
    """The JSON Schema of a mapping with these options; `more` are keys that the caller reads."""
    known = list(known)
    required = [option.key for option in known if option.required]
    schema: Schema = {"description": description} if description else {}
    schema["type"] = "object" if required else ["object", "null"]
    schema["properties"] = dict(more or {})
    for option in known:
        about: Schema = {"description": option.doc} if option.doc else {}
        default = default_of(option)
        about |= json_schema(option.type) | ({} if default is None else {"default": default})
        schema["properties"][option.key] = about
    schema["additionalProperties"] = False
    return schema | ({"required": required} if required else {})


def default_of(option: Option) -> Any:
    """The default as plain data; None where there is none to show."""
    return _plain(option.default)


_codecs: dict[Any, type[Codec]] = {}  # by type, filled by the classes below


def codec_of(kind: Any) -> Codec:
    """The codec of an annotation; TypeError when no option can have that type."""
    codec = _codecs.get(get_origin(kind) or kind)
    if codec is None and hasattr(kind, "from_yaml"):
        codec = CustomCodec
    elif codec is None and dataclasses.is_dataclass(kind):
        codec = DataclassCodec
    elif codec is None and isinstance(kind, type) and issubclass(kind, Enum):
        codec = ChoiceCodec
    if codec is None:
        raise TypeError(f"no option can have the type {kind!r}")
    return codec(kind)


class Codec:
    """The values of one type."""

    expected: str | Wording = Message(
        "yaml.a-value"
    )  # what a person has to write: "a whole number"
    shape: type | None = None  # dict or list, where it is a mapping or a list in YAML
    schema: ClassVar[Schema] = {}

    def __init_subclass__(cls, of: Collection[Any] = ()) -> None:
        """`of` are the types, without their arguments, that this class is the codec of."""
        _codecs.update(dict.fromkeys(of, cls))

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def read(self, place: Place) -> Any:
        """The value, or INVALID after adding the problems."""
        section = place.section
        if section.bad:
            return INVALID
        if section.hidden is None:
            return self._read(place)
        # A `!secret`: problems with its value would show it.
        section = replace(section, content=section.hidden, hidden=None, text="")
        value = self._read(replace(place, section=section, problems=Problems()))
        if value is INVALID:
            what = place.section.content
            return place.wrong(Message("yaml.secret-unlike", expected=self.expected, what=what))
        return SecretText(value) if type(value) is str else value

    def _read(self, place: Place) -> Any:
        raise NotImplementedError

    def describe(self) -> Schema:
        """The JSON Schema of what `read` accepts."""
        return dict(self.schema)

    def write(self, value: Any) -> Any:
        """The value as one writes it in YAML, such as "2m"; None where there is none to show."""
        return _plain(value)


class AnyCodec(Codec, of=[Any]):
    def _read(self, place: Place) -> Any:
        return place.section.revealed


class SectionCodec(Codec, of=[Section]):
    """Left as it is, also where it is a secret."""

    def read(self, place: Place) -> Any:
        return INVALID if place.section.bad else place.section


class ScalarCodec(Codec):
    def _read(self, place: Place) -> Any:
        content = place.section.content
        return content if type(content) is self.kind else place.unexpected(self.expected)


class NoneCodec(ScalarCodec, of=[types.NoneType]):
    expected = Message("yaml.nothing")
    schema: ClassVar[Schema] = {"type": "null"}


class BoolCodec(ScalarCodec, of=[bool]):
    expected = Message("yaml.true-or-false")
    schema: ClassVar[Schema] = {
        "anyOf": [{"type": "boolean"}, {"type": "string", "pattern": _WORDS}]
    }


class IntCodec(ScalarCodec, of=[int]):
    expected = Message("yaml.a-whole-number")
    schema: ClassVar[Schema] = {"type": "integer"}


class FloatCodec(ScalarCodec, of=[float]):
    expected = Message("yaml.a-number")
    schema: ClassVar[Schema] = {"type": "number"}

    def _read(self, place: Place) -> Any:
        content = place.section.content
        if type(content) in (int, float) and abs(content) <= sys.float_info.max:  # and not a NaN
            return float(content)
        return place.unexpected(self.expected, _without_unit(content))


def _without_unit(content: Any) -> str | Wording:
    """How to write "50%" or "25kHz" as a number, at the end of a sentence."""
    match = _NUMBER_WITH_UNIT.fullmatch(content) if isinstance(content, str) else None
    if match is None:
        return ""
    text, unit = match[1].replace(",", "."), match[2]
    if not unit:
        return Message("yaml.point", number=text)
    number = float(text)
    if unit == "%":
        return Message("yaml.percent", percent=match[1], number=f"{number / 100:g}")
    prefix = _PREFIXES.get(unit[0], 1.0) if len(unit) > 1 else 1.0
    return Message("yaml.unit", number=f"{number * prefix:.12g}")


class StrCodec(ScalarCodec, of=[str]):
    expected = Message("yaml.a-text")
    schema: ClassVar[Schema] = {"type": "string"}

    def _read(self, place: Place) -> Any:
        if type(place.section.content) in (int, float):
            return place.unexpected(self.expected, Message("yaml.quotes"))
        return super()._read(place)


class PathCodec(ScalarCodec, of=[Path]):
    expected = Message("yaml.a-path")
    schema: ClassVar[Schema] = {"type": "string", "minLength": 1}

    def _read(self, place: Place) -> Any:
        content = place.section.content
        if not isinstance(content, str) or not content:
            return place.unexpected(self.expected)
        try:
            return Path(content).expanduser()
        except RuntimeError:
            return place.wrong(Message("yaml.no-user"))


class ChoiceCodec(Codec, of=[Literal]):
    """A Literal, or an Enum by the values of its members."""

    def __init__(self, kind: Any) -> None:
        self._values = get_args(kind) or tuple(kind)
        self._choices = [v.value if isinstance(v, Enum) else v for v in self._values]
        self._words = [str(c).lower() if isinstance(c, bool) else str(c) for c in self._choices]
        self.expected = any_of(self._words)

    def _read(self, place: Place) -> Any:
        content, text = place.section.content, place.section.text
        for choice, value in zip(self._choices, self._values, strict=True):
            same = type(choice) is type(content) and choice == content
            if same or (isinstance(content, bool) and choice == text):  # on, where "on" is a choice
                return value
        hint = did_you_mean(content, self._words) if isinstance(content, str) else ""
        return place.unexpected(self.expected, hint)

    def describe(self) -> Schema:
        return {"enum": self._choices}

    def write(self, value: Any) -> Any:
        return self._choices[self._values.index(value)] if value in self._values else None


class ListCodec(Codec, of=[list, tuple]):
    """list[X], tuple[X, ...], or a tuple[X, Y] of just so many."""

    expected = Message("yaml.list")
    shape = list

    def __init__(self, kind: Any) -> None:
        super().__init__(get_origin(kind) or kind)
        entries = get_args(kind) or (Any, ...)
        self._fixed = self.kind is tuple and entries[-1] is not Ellipsis
        self._entries = [codec_of(entry) for entry in entries if entry is not Ellipsis]

    def _read(self, place: Place) -> Any:
        content, codecs, entries = place.section.content, self._entries, place.entries()
        if not isinstance(content, list) and (content is not None or self.kind is tuple):
            return place.unexpected(self.expected)
        if not self._fixed:
            codecs = codecs * len(entries)
        elif len(codecs) != len(entries):
            needed, found = len(codecs), len(entries)
            return place.wrong(Message("yaml.list-of", needed=needed, found=found))
        values = [codec.read(entry) for codec, entry in zip(codecs, entries, strict=True)]
        return INVALID if INVALID in values else self.kind(values)

    def describe(self) -> Schema:
        items = [codec.describe() for codec in self._entries]
        if self._fixed:
            return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
        return {"type": "array" if self.kind is tuple else ["array", "null"], "items": items[0]}


class DictCodec(Codec, of=[dict]):
    expected = Message("yaml.mapping")
    shape = dict

    def __init__(self, kind: Any) -> None:
        _, entry = get_args(kind) or (str, Any)
        self._entry = codec_of(entry)

    def _read(self, place: Place) -> Any:
        if not isinstance(place.section.content, dict | None):
            return place.unexpected(self.expected)
        children = place.section.items()
        values = {key: self._entry.read(place.child(child, key)) for key, child in children}
        return INVALID if INVALID in values.values() else values

    def describe(self) -> Schema:
        return {"type": ["object", "null"], "additionalProperties": self._entry.describe()}


class DataclassCodec(Codec):
    expected = Message("yaml.mapping")
    shape = dict

    def _read(self, place: Place) -> Any:
        section = place.section
        known = {option.key: option for option in options(self.kind)}
        required = [key for key, option in known.items() if option.required]
        if section.content is None and not required:
            section = replace(section, content={})  # a heading with nothing under it
        if not isinstance(section.content, dict):
            keys = Message("yaml.mapping-with", keys=", ".join(required))
            return place.unexpected(keys if required else self.expected)
        values = {}
        meant = set[str | None]()
        before = ""  # the key before this one, where its value is a text
        for key, child in section.items():
            if key in known:
                option = known[key]
                inner = place.child(child, key, option.secret)
                values[option.name] = codec_of(option.type).read(inner)
            elif key not in place.ignore and child.content is None and " " in key and before:
                place.problems.add(child.key_where, Message("yaml.ends-at-comma", key=before))
                values[""] = INVALID
            elif key not in place.ignore:
                hint = did_you_mean(key, known) or Message("yaml.keys", keys=", ".join(known))
                meant.add(nearest(key, known))
                unknown = Message("yaml.unknown-key", name=quoted(key), inside=place.inside)
                place.problems.add(child.key_where, Joined(unknown, hint))
                values[""] = INVALID
            before = key if isinstance(child.content, str) else ""
        for key in required:
            if key not in section:
                values[""] = INVALID
                if key not in meant:  # else it is there, misspelt
                    missing = Message("yaml.missing-key", name=quoted(key), inside=place.inside)
                    place.problems.add(section, missing)
        if INVALID in values.values():
            return INVALID
        return _call(lambda _: self.kind(**values), None, place)

    def describe(self) -> Schema:
        return object_schema(options(self.kind))


class UnionCodec(Codec, of=[Union, types.UnionType]):
    def __init__(self, kind: Any) -> None:
        self._members = [codec_of(member) for member in get_args(kind)]
        self._present = [m for m in self._members if not isinstance(m, NoneCodec)]
        self.expected, *others = [member.expected for member in self._members]
        for other in others:
            self.expected = Message("yaml.or", rest=self.expected, last=other)

    def _read(self, place: Place) -> Any:
        content, likely = place.section.content, self._present
        if content is None and len(likely) < len(self._members):
            return None
        for member in likely:
            value = member.read(replace(place, problems=Problems()))
            if value is not INVALID:
                return value
        # Nothing fits; where only one member has this shape, its own problems say more.
        if isinstance(content, dict | list):
            likely = [member for member in likely if member.shape is type(content)]
        return likely[0].read(place) if len(likely) == 1 else place.unexpected(self.expected)

    def describe(self) -> Schema:
        schemas: list[Schema] = []
        for member in self._members:
            schema = member.describe()
            schemas += schema["anyOf"] if list(schema) == ["anyOf"] else [schema]
        return {} if {} in schemas else {"anyOf": schemas}

    def write(self, value: Any) -> Any:
        written = (member.write(value) for member in self._present)
        return next((text for text in written if text is not None), None)


class CustomCodec(Codec):
    """A class with `from_yaml`, or an object with it that stands in an `Annotated`."""

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        named = Message("yaml.a-kind", name=getattr(kind, "__name__", "value"))
        self.expected = getattr(kind, "expected", named)
        self.shape = dict if dataclasses.is_dataclass(kind) else None

    def _read(self, place: Place) -> Any:
        return _call(self.kind.from_yaml, place.section.revealed, place)

    def describe(self) -> Schema:
        return dict(getattr(self.kind, "json_schema", {}))

    def write(self, value: Any) -> Any:
        return self.kind.to_yaml(value) if hasattr(self.kind, "to_yaml") else _plain(value)


class AnnotatedCodec(Codec, of=[Annotated]):
    """A type with checks, or with something in its metadata that reads it in its place."""

    def __init__(self, kind: Any) -> None:
        base, *self._metadata = get_args(kind)
        reader = next((item for item in self._metadata if hasattr(item, "from_yaml")), None)
        self._base = codec_of(base) if reader is None else CustomCodec(reader)
        self.expected = self._base.expected

    def _read(self, place: Place) -> Any:
        value = self._base.read(place)
        for check in self._metadata:
            if callable(check) and value is not INVALID:
                value = _call(check, value, place)
        return value

    def describe(self) -> Schema:
        like = next((item.kind for item in self._metadata if isinstance(item, Like)), None)
        schema = self._base.describe() if like is None else json_schema(like)
        for check in filter(callable, self._metadata):
            schema |= getattr(check, "json_schema", {})
        return schema

    def write(self, value: Any) -> Any:
        return self._base.write(value)


def _call(function: Any, value: Any, place: Place) -> Any:
    try:
        return function(value)
    except ValueError as error:
        return place.wrong(without_secrets(Joined(sentence_of(error), place.trap), place.section))


def _plain(value: Any) -> Any:
    if hasattr(value, "to_yaml"):
        return value.to_yaml()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple) and all(isinstance(item, str | int) for item in value):
        return list(value) or None
    return value if isinstance(value, str | int | float) and value != "" else None
