"""The fields in a request's body, a JSON object or a form, and checks for each."""

from __future__ import annotations

import json
import math
import sys
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from labnode.errors import BadInput
from labnode.jsondata import TooDeep, parse

MAX_BODY = 1 << 20  # bytes
_MAX_FIELDS = 100
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def read_body(body: bytes) -> dict[str, Any]:
    """The fields of a JSON object or of a form (whose values are strings).

    The content type is ignored: WebLab-Deusto calls with urllib, whose default is "form" for any
    body. Raises BadInput.
    """
    try:
        content = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadInput(f"The body is not UTF-8 (byte {error.start}).") from None
    if not content.startswith(("{", "[")):
        return _form(content)
    fields = read_json(content, "The body")
    if not isinstance(fields, dict):
        raise BadInput("The body must be a JSON object or a form, not a list.")
    return fields


def read_json(content: str, what: str) -> Any:
    """The data of a JSON text, fit to be stored and sent on; BadInput, naming `what`, if not."""
    try:
        data = parse(
            content,
            object_pairs_hook=_without_repetition,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except TooDeep as error:
        raise BadInput(f"{what} is {error}.") from None
    except ValueError as error:  # also integers of more digits than Python converts
        raise BadInput(f"{what} is not JSON: {error}.") from None
    return _whole_characters(data)


def get_object(fields: dict[str, Any], key: str) -> dict[str, Any]:
    """The object of `key`, which forms and API version 0 send as JSON text; {} if missing."""
    value = fields.get(key)
    if isinstance(value, str):
        value = read_json(value, key) if value.strip() else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadInput(f"{key} must be an object or its JSON text, not {shown(value)}.")
    return value


def get_number(fields: dict[str, Any], key: str) -> float | None:
    """The number of `key`, which may be written as a string; None if it is missing."""
    if (value := fields.get(key)) in (None, ""):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"{key} must be a number, not {shown(value)}.")
    return number


def get_text(fields: dict[str, Any], key: str) -> str | None:
    """The string of `key`; None if it is missing or empty."""
    if (value := fields.get(key)) in (None, ""):
        return None
    if not isinstance(value, str) or "\0" in value:
        raise BadInput(f"{key} must be a string, not {shown(value)}.")
    return value


def get_flag(fields: dict[str, Any], key: str, default: bool) -> bool:
    """The boolean of `key`; `default` if it is missing."""
    if (value := fields.get(key)) in (None, ""):
        return default
    flag = _FLAGS.get(str(value).lower()) if isinstance(value, bool | int | str) else None
    if flag is None:
        raise BadInput(f"{key} must be true or false, not {shown(value)}.")
    return flag


def shown(value: Any) -> str:
    """A wrong value as an error message shows it: short, in ASCII."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case _:
            return ascii(value)[:60]


def _form(content: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            content, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
        return _without_repetition(pairs)
    except UnicodeDecodeError:
        raise BadInput("The form is not UTF-8.") from None
    except ValueError as error:
        raise BadInput(f"The body is neither JSON nor a form: {error}.") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, value in pairs:
        if name in data:
            raise ValueError(f"{shown(name)} appears twice")
        data[sys.intern(name)] = value  # all sessions have the same names: each is kept once
    return data


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is out of range")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _whole_characters(data: Any) -> Any:
    """`data` with U+FFFD for half surrogate pairs, which no file and no page can hold.

    They come from names cut in the middle of an emoji: no reason to refuse a student.
    """
    content = json.dumps(data, ensure_ascii=False)
    try:
        content.encode()
    except UnicodeEncodeError:
        whole = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return json.loads(whole)
    return data
