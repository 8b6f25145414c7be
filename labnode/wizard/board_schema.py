"""The JSON Schema of board files, for editors."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from labnode.board.config.board_file import BoardFile, BoardKeys
from labnode.board.config.steps import StepKeys
from labnode.drivers.framework.driver import Driver
from labnode.drivers.framework.registry import load_drivers
from labnode.schema import DIALECT, object_schema, options, parse_yaml

Schema = dict[str, Any]

_NAME = "^[A-Za-z][A-Za-z0-9_]{0,39}$"  # of a device
_WIDTH = 120
_SHARED = 60  # characters of JSON; longer options that repeat are shared


def board_schema(board: BoardFile | None = None) -> Schema:
    """For a whole board file, with the options of all drivers, and of those of `board` itself."""
    drivers = dict(load_drivers())
    if board is not None:
        drivers |= {driver.kind: type(driver) for driver in board.devices.values()}
    keys = object_schema(options(BoardKeys))
    keys["properties"]["devices"] |= _devices({kind: drivers[kind] for kind in sorted(drivers)})
    step = _step(keys["properties"]["sequences"])
    keys["required"] = ["schema"]  # the devices may be in a file that is included
    definitions = {kind: driver_schema(drivers[kind]) for kind in sorted(drivers)}
    shared = _share(definitions)
    return {
        "$schema": DIALECT,
        "title": "A board of labnode",
        **keys,
        "definitions": {"step": step, **definitions, **shared},
    }


def driver_schema(driver: type[Driver]) -> Schema:
    about = first_paragraph(driver)
    kind = {"driver": {"description": about, "const": driver.kind}}
    schema = object_schema(options(driver), kind, about)
    schema |= {"required": ["driver", *schema.get("required", [])], "type": "object"}
    return schema | {"examples": examples(driver)}


def examples(driver: type[Driver]) -> list[Any]:
    """The devices of the driver's own example."""
    text = (inspect.getdoc(driver) or "").partition("Example::")[2]
    found = parse_yaml(inspect.cleandoc(text), f"example of {driver.kind}").value or {}
    return [device for device in found.values() if device.get("driver") == driver.kind]


def first_paragraph(driver: type[Driver]) -> str:
    return re.sub(r"\s+", " ", (inspect.getdoc(driver) or "").partition("\n\n")[0])


def text_of(schema: Schema) -> str:
    """The text of boards/board.schema.json."""
    return _laid_out(schema, 0) + "\n"


def _laid_out(value: Any, depth: int) -> str:
    """JSON with one line for whatever fits: easy to read and to diff."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + depth <= _WIDTH or not isinstance(value, dict | list) or not value:
        return line
    inner, margin = " " * (depth + 1), " " * depth
    if isinstance(value, list):
        parts = [inner + _laid_out(item, depth + 1) for item in value]
        return "[\n" + ",\n".join(parts) + f"\n{margin}]"
    parts = [f"{inner}{json.dumps(k)}: {_laid_out(v, depth + 1)}" for k, v in value.items()]
    return "{\n" + ",\n".join(parts) + f"\n{margin}}}"


def _devices(drivers: dict[str, type[Driver]]) -> Schema:
    """Each device has the options of its driver.

    `markdownEnumDescriptions` is what VS Code and Zed show of each driver while one is chosen.
    """
    kind: Schema = {
        "description": "What kind of device it is.",
        "enum": list(drivers),
        "markdownEnumDescriptions": [first_paragraph(driver) for driver in drivers.values()],
    }
    return {
        "propertyNames": {"pattern": _NAME},
        "additionalProperties": {
            "type": "object",
            "required": ["driver"],
            "properties": {"driver": kind},
            "allOf": [
                {
                    "if": {"properties": {"driver": {"const": name}}, "required": ["driver"]},
                    "then": {"$ref": f"#/definitions/{name}"},
                }
                for name in drivers
            ],
        },
    }


def _step(sequences: Schema) -> Schema:
    """The schema of a step, any one key; all lists of steps become lists of references to it."""
    step = object_schema(options(StepKeys))
    del step["required"]
    inside: list[Any] = [sequences, step]
    while inside:
        part = inside.pop()
        if isinstance(part, dict):
            for name in ("steps", "then", "else"):
                if "items" in (steps := part.get("properties", {}).get(name, {})):
                    steps["items"] = {"$ref": "#/definitions/step"}
        if isinstance(part, dict | list):
            inside += part.values() if isinstance(part, dict) else part
    return step | {"minProperties": 1, "maxProperties": 1}


def _share(definitions: dict[str, Schema]) -> dict[str, Schema]:
    """Move options that several drivers share to one place, and leave references."""
    places: dict[str, list[tuple[Schema, str]]] = {}
    for schema in definitions.values():
        for key, option in schema["properties"].items():
            if key != "driver":
                text = json.dumps([key, option])
                places.setdefault(text, []).append((schema["properties"], key))
    shared: dict[str, Schema] = {}
    for text, found in places.items():
        key, option = json.loads(text)
        if len(found) > 1 and len(text) > _SHARED:
            name = f"option.{key}"
            number = sum(other.startswith(name) for other in shared)
            name = f"{name}.{number + 1}" if number else name
            shared[name] = option
            for properties, _ in found:
                properties[key] = {"$ref": f"#/definitions/{name}"}
    return shared
