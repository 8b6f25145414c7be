"""The fields of a dataclass as the options that people write in YAML."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, cast, get_args, get_type_hints

from labnode.schema.types import Doc


@dataclass(frozen=True)
class Option:
    """One field, as the people who write YAML see it."""

    key: str  # in YAML: the field's name, or its metadata["key"]
    name: str  # of the field
    type: Any  # the annotation, resolved, with its Annotated but without Doc
    required: bool
    secret: bool  # the field has repr=False: its values never appear in a problem
    default: Any  # None where it is required
    doc: str  # the sentence of its Doc, or of the same field's in a base class


def options(cls: type[Any]) -> tuple[Option, ...]:
    """The options of a dataclass: its fields, without init=False and those that begin with "_"."""
    return _options(cast(Any, cls))  # not every class is Hashable to mypy


@cache
def _options(cls: type[Any]) -> tuple[Option, ...]:
    hints = [_hints(cast(Any, base)) for base in cls.__mro__]
    options = []
    for field in dataclasses.fields(cls):
        if field.init and not field.name.startswith("_"):
            declared = [_split(each[field.name]) for each in hints if field.name in each]
            option = Option(
                key=field.metadata.get("key", field.name),
                name=field.name,
                type=declared[0][0],
                required=field.default is field.default_factory is dataclasses.MISSING,
                secret=not field.repr,
                default=_default(field),
                doc=next((doc for _, doc in declared if doc), ""),
            )
            options.append(option)
    return tuple(options)


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    """The resolved annotations of this class without its bases, which have other subclasses."""
    body = {"__annotations__": inspect.get_annotations(cls), "__module__": cls.__module__}
    return get_type_hints(type(cls.__name__, (), body), include_extras=True)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()


def _split(hint: Any) -> tuple[Any, str]:
    """An annotation without its Doc, and the sentence of the Doc."""
    metadata = getattr(hint, "__metadata__", ())
    docs = [item.sentence for item in metadata if isinstance(item, Doc)]
    rest = [item for item in metadata if not isinstance(item, Doc)]
    if docs:
        hint = Annotated[(get_args(hint)[0], *rest)] if rest else get_args(hint)[0]
    return hint, "".join(docs[-1:])
