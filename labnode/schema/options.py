"""The fields of a dataclass as the options that people write in YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Option:
    """One field, as the people who write YAML see it."""

    key: str  # in YAML: the field's name, or its metadata["key"]
    name: str  # of the field
    type: Any  # the annotation, resolved, with its Annotated
    required: bool
    secret: bool  # the field has repr=False: its values never appear in a problem
    doc: str  # the field's metadata["doc"]


@cache
def options(cls: type) -> tuple[Option, ...]:
    """The options of a dataclass: its fields, without init=False and those that begin with "_"."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        Option(
            key=field.metadata.get("key", field.name),
            name=field.name,
            type=hints[field.name],
            required=field.default is field.default_factory is dataclasses.MISSING,
            secret=not field.repr,
            doc=field.metadata.get("doc", ""),
        )
        for field in dataclasses.fields(cls)
        if field.init and not field.name.startswith("_")
    )
