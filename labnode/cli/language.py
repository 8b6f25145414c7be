"""What commands say, in the language of the terminal."""

# ruff: noqa: PLC0415 - `labnode --help` needs no catalogue
from __future__ import annotations

import os
from collections.abc import Mapping


def locales(environ: Mapping[str, str]) -> list[str]:
    """The languages that an environment asks for, the best first, as gettext(3) reads it."""
    asked = (environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next(filter(None, asked), "C")
    if locale.partition(".")[0] in ("C", "POSIX"):
        return []
    return [*environ.get("LANGUAGE", "").split(":"), locale]


def said(key: str, /, **values: object) -> str:
    """A text of the catalogues with its {placeholders} filled."""
    from labnode.locale import Message

    return told(Message(key, **values))


def told(words: object) -> str:
    """A text, or what has it in several languages (`Wording`), for the terminal's reader."""
    from labnode.locale import BUILT_IN, Wording

    if not isinstance(words, Wording):
        return str(words)
    return BUILT_IN.best(locales(os.environ)).say(words)


def counted(key: str, number: int, /, **values: object) -> str:
    """The text KEY-one or KEY-many, about a number of things."""
    return said(f"{key}-one", **values) if number == 1 else said(f"{key}-many", n=number, **values)
