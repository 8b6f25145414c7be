"""JSON data: read, copied and checked, and dictionaries that report or refuse changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from labnode.errors import BadInput

_DEEPEST_TEXT = 64  # levels; what is stored is written again, from deeper stacks than read
_DEEPEST = 100  # levels; deeper data may not fit the stack of every thread
_BRACKET = re.compile(r"[\[{}\]]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # never tried again from its middle


class TooDeep(ValueError):
    """A JSON text is nested too deeply."""


def parse(text: str | bytes, **hooks: Any) -> Any:
    """The data of a JSON text from outside; `hooks` are those of `json.loads`.

    A ValueError, which says why, if the text is not JSON; TooDeep if it is nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    refuse_deep(text)
    return json.loads(text, **hooks)


def refuse_deep(text: str) -> None:
    """Raise TooDeep for a text that `json.loads` would need a thread's whole stack for.

    The stack's memory is never given back. Takes linear time, whatever the text is.
    """
    if text.count("[") + text.count("{") <= _DEEPEST_TEXT:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > _DEEPEST_TEXT:
            raise TooDeep(f"nested more than {_DEEPEST_TEXT} levels deep")


def plain(value: Any, what: str) -> Any:
    """A copy of `value` of JSON types only; BadInput, starting with `what`, if impossible."""
    try:
        made = json.loads(json.dumps(value, allow_nan=False))
        if deeper_than(_DEEPEST, made):
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    except (TypeError, ValueError, RuntimeError) as error:  # too deep, or changed meanwhile
        raise BadInput(f"{what} must be JSON data: {error}") from None
    return made


def deeper_than(limit: int, data: Any) -> bool:
    """Whether JSON data is nested more than `limit` levels deep."""
    layer = [data]
    for _ in range(limit + 1):
        inside = [part for part in layer if isinstance(part, dict | list)]
        layer = [x for part in inside for x in (part.values() if isinstance(part, dict) else part)]
        if not layer:
            return False
    return True


class _Attached(dict[str, Any]):
    """A dictionary whose copies are ordinary dictionaries."""

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class JsonDict(_Attached):
    """A dictionary of JSON data that calls `written` after each change.

    Changes inside its values (of a list, say) are not noticed: assign the value again, or `store`.
    """

    def __init__(self, what: str, data: Mapping[str, Any], written: Callable[[], None]) -> None:
        super().__init__(data)
        self._what = what
        self._written = written

    def __setitem__(self, key: str, value: Any) -> None:
        super().update(self._checked({key: value}, f"{self._what}[{key!r}]"))
        self._written()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._written()

    def __ior__(self, other: Any) -> JsonDict:  # type: ignore[misc, override]
        self.update(other)
        return self

    def update(self, *args: Any, **kwargs: Any) -> None:
        super().update(self._checked(dict(*args, **kwargs), self._what))
        self._written()

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, *args: Any) -> Any:
        value = super().pop(*args)
        self._written()
        return value

    def popitem(self) -> tuple[str, Any]:
        item = super().popitem()
        self._written()
        return item

    def clear(self) -> None:
        super().clear()
        self._written()

    def store(self) -> None:
        """Call `written`, after a change inside a value."""
        self._written()

    def replace(self, data: Mapping[str, Any]) -> None:
        """Replace its content by `data`."""
        if not isinstance(data, Mapping):
            raise BadInput(f"{self._what} must be a dictionary, not {data!r}")
        fresh = self._checked(dict(data), self._what)
        super().update(fresh)  # first, so that it is never empty in between
        for key in self.keys() - fresh.keys():
            super().__delitem__(key)
        self._written()

    def _checked(self, data: dict[str, Any], what: str) -> dict[str, Any]:
        for key in data:
            if not isinstance(key, str):  # JSON would turn it into one
                raise BadInput(f"{self._what}: a key must be a string, not {key!r}")
        fresh: dict[str, Any] = plain(data, what)
        return fresh


class Sealed(_Attached):
    """A read-only dictionary; a write raises a TypeError with `reason`."""

    def __init__(self, data: Mapping[str, Any], reason: str) -> None:
        super().__init__(data)
        self._reason = reason

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError(self._reason)

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = store = _refuse
