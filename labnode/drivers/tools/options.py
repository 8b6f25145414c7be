"""Types of options that programmers share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from labnode.drivers.framework.driver import Ref
from labnode.locale import Message
from labnode.schema import Doc, all_of, unlike


class _PortReader:
    expected = Message("driver.a-port")

    def from_yaml(self, value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(r"/[\x21-\x7e]+", value):
            return value
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z]\w*", value):
            return Ref(value)
        raise ValueError(unlike(self.expected, value))


class _SuffixesReader:
    expected = Message("driver.endings")

    def from_yaml(self, value: Any) -> list[str]:
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, list) or not entries:
            raise ValueError(unlike(self.expected, value))
        for entry in entries:
            if not isinstance(entry, str) or not re.fullmatch(r"\.[a-z0-9]{1,10}", entry):
                raise ValueError(unlike(self.expected, entry))
        return list(entries)


class _WordReader:
    expected = Message("driver.a-word")

    def from_yaml(self, value: Any) -> str:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not re.fullmatch(
            r"[A-Za-z0-9_][\w./+:,-]*", text, re.ASCII
        ):
            raise ValueError(unlike(self.expected, value))
        return text


Port = Annotated[str, _PortReader()]
"""A serial port: a path, or (as a Ref) the serial device that lends it."""

Suffixes = Annotated[list[str], _SuffixesReader()]
"""Kinds of files, by their endings."""

Word = Annotated[str, _WordReader()]
"""An argument of a program that cannot be taken for an option or a script."""

Target = Annotated[
    Literal["flash", "sram"], Doc("Where files go; what is in sram is lost at power-off.")
]


def takes(program: str, *kinds: str) -> Message:
    """That files of other kinds are not accepted."""
    return Message("driver.takes", program=program, kinds=all_of(kinds))
