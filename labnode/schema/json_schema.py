"""A JSON Schema for what `build` accepts, made from the same dataclasses, for editors.

It is a little more generous than `build`: it knows nothing of `__post_init__` and other checks.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from labnode.schema.build import reader_of
from labnode.schema.options import Option, options
from labnode.schema.section import Section
from labnode.schema.types import Between, Like, Text

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"  # what yaml-language-server knows best
_WORDS = "^([Oo]n|ON|[Oo]ff|OFF|[Yy]es|YES|[Nn]o|NO)$"  # booleans, which YAML 1.2 takes for texts


def json_schema(kind: Any) -> Schema:
    """The schema of a value of the type `kind`, as an option may have it."""
    converter = _CONVERTERS.get(get_origin(kind) or kind)
    if converter is not None:
        return converter(kind)
    if hasattr(kind, "from_yaml"):
        return dict(getattr(kind, "json_schema", {}))
    if dataclasses.is_dataclass(kind):
        return object_schema(options(cast(type, kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    raise TypeError(f"no option can have the type {kind!r}")


def object_schema(
    known: Iterable[Option], more: Mapping[str, Schema] | None = None, description: str = ""
) -> Schema:
    """A mapping with these options; `more` are keys that somebody else reads."""
    known = list(known)
    required = [option.key for option in known if option.required]
    schema: Schema = {"description": description} if description else {}
    schema["type"] = "object" if required else ["object", "null"]
    schema["properties"] = {**(more or {}), **{option.key: _property(option) for option in known}}
    schema["additionalProperties"] = False
    return schema | ({"required": required} if required else {})


def default_of(option: Option) -> Any:
    """The default as it would stand in YAML; None where there is none to show."""
    default = option.default
    if isinstance(default, Text):
        return default.words
    if hasattr(default, "to_yaml"):
        return default.to_yaml()
    if isinstance(default, float) and default.is_integer():
        return int(default)
    if isinstance(default, list | tuple) and all(isinstance(item, str | int) for item in default):
        return list(default) or None
    return default if isinstance(default, str | int | float) and default != "" else None


def _property(option: Option) -> Schema:
    schema: Schema = {"description": option.doc} if option.doc else {}
    schema |= json_schema(option.type)
    default = default_of(option)
    return schema if default is None else schema | {"default": default}


def _list(kind: Any) -> Schema:
    (entry,) = get_args(kind) or (Any,)
    return {"type": ["array", "null"], "items": json_schema(entry)}


def _tuple(kind: Any) -> Schema:
    kinds = get_args(kind)
    if kinds[-1] is Ellipsis:
        return {"type": "array", "items": json_schema(kinds[0])}
    items = [json_schema(entry) for entry in kinds]
    return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}


def _dict(kind: Any) -> Schema:
    _, entry = get_args(kind) or (str, Any)
    return {"type": ["object", "null"], "additionalProperties": json_schema(entry)}


def _union(kind: Any) -> Schema:
    schemas: list[Schema] = []
    for member in get_args(kind):
        schema = json_schema(member)
        schemas += schema["anyOf"] if list(schema) == ["anyOf"] else [schema]
    return {} if {} in schemas else {"anyOf": schemas}


def _annotated(kind: Any) -> Schema:
    base, *metadata = get_args(kind)
    like = next((item.kind for item in metadata if isinstance(item, Like)), None)
    reader = reader_of(metadata)
    if like is not None:
        schema = json_schema(like)
    elif reader is not None:
        schema = dict(getattr(reader, "json_schema", {}))
    else:
        schema = json_schema(base)
    for check in metadata:
        if isinstance(check, Between):
            limits = {"minimum": check.low, "maximum": check.high}
            schema |= {key: limit for key, limit in limits.items() if limit is not None}
    return schema


_CONVERTERS: dict[Any, Callable[[Any], Schema]] = {
    Any: lambda _: {},
    Section: lambda _: {},
    types.NoneType: lambda _: {"type": "null"},
    bool: lambda _: {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": _WORDS}]},
    int: lambda _: {"type": "integer"},
    float: lambda _: {"type": "number"},
    str: lambda _: {"type": "string"},
    Path: lambda _: {"type": "string", "minLength": 1},
    list: _list,
    tuple: _tuple,
    dict: _dict,
    Annotated: _annotated,
    Literal: lambda kind: {"enum": list(get_args(kind))},
    Union: _union,
    types.UnionType: _union,
}
