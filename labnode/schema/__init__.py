"""YAML files read into dataclasses: every problem at once, with its file and line.

One file, one dataclass::

    spec = build(Spec, load_yaml(path))             # raises ConfigError with all problems

One file, several dataclasses, still one list of problems::

    with Problems() as problems:                    # the end of the block raises ConfigError
        document = load_yaml(path, problems)
        head = build(Head, document, problems)      # None where something is wrong
        for name, section in document.child("devices").items():
            cls = registry.get(str(section.child("driver").value))
            if cls is None:
                problems.add(section.child("driver"), "unknown driver")
            else:
                build(cls, section, problems, name=f"device {name!r}", ignore={"driver"})

A field of `Head` may be a `Section` (`devices: dict[str, Section]`): it is left as it is, to be
built later.
"""

from labnode.schema.codecs import (
    DIALECT,
    build,
    codec_of,
    default_of,
    json_schema,
    object_schema,
)
from labnode.schema.options import Option, options
from labnode.schema.secrets import Secrets
from labnode.schema.section import (
    Problems,
    Section,
    all_of,
    any_of,
    did_you_mean,
    nearest,
    quoted,
    sentence_of,
    shown,
    unlike,
)
from labnode.schema.types import Between, Doc, Duration, Like, Size, Text
from labnode.schema.yaml_text import load_yaml, parse_yaml, read_scalar, values_in

__all__ = [
    "DIALECT",
    "Between",
    "Doc",
    "Duration",
    "Like",
    "Option",
    "Problems",
    "Secrets",
    "Section",
    "Size",
    "Text",
    "all_of",
    "any_of",
    "build",
    "codec_of",
    "default_of",
    "did_you_mean",
    "json_schema",
    "load_yaml",
    "nearest",
    "object_schema",
    "options",
    "parse_yaml",
    "quoted",
    "read_scalar",
    "sentence_of",
    "shown",
    "unlike",
    "values_in",
]
