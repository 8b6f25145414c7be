"""A lab's own catalogues: `locale/eu.json` beside its board adds a language, or changes texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labnode.errors import Problem
from labnode.files import lies_in
from labnode.locale import BUILT_IN, IN_THE_TERMINAL, Message, placeholders
from labnode.schema import did_you_mean

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_MOST_BYTES = 1_000_000

Texts = Mapping[str, Mapping[str, str]]  # by language and key


def read_own(board: Path) -> tuple[Texts, tuple[Path, ...], list[Problem]]:
    """The texts of a lab, the files that they are in, and what is wrong with them."""
    folder = board.parent / "locale"
    files = tuple(sorted(folder.glob("*.json"))) if folder.is_dir() else ()
    texts: dict[str, Mapping[str, str]] = {}
    problems: list[Problem] = []
    for file in files:
        wrong, found = _read(file, board.parent)
        problems += wrong
        texts[file.stem] = found
    return texts, files, problems


def lacking(own: Texts) -> Iterator[Message]:
    """A sentence for each new language that has not all texts: those are in English."""
    theirs = ("admin.", *IN_THE_TERMINAL)  # an operator's
    needed = [key for key in BUILT_IN.texts("en") if not key.startswith(theirs)]
    for code, texts in own.items():
        missing = [key for key in needed if key not in texts]
        if code not in BUILT_IN.languages and missing:
            yield Message(
                "board.texts-lacking",
                file=f"locale/{code}.json",
                name=repr(missing[0]),
                count=len(missing),
            )


class _Wrong(Exception):
    """Nothing of a file can be used: its line, and why."""


def _read(file: Path, home: Path) -> tuple[list[Problem], Mapping[str, str]]:
    try:
        text = _text(file, home)
        data, doubled = _parsed(text)
    except _Wrong as problem:
        line, message = problem.args
        return [Problem(f"{file}:{line}", message)], {}
    mistakes = [(key, Message("board.texts-twice", name=repr(key))) for key in doubled]
    mistakes += [(key, why) for key, value in data.items() if (why := _mistake(key, value))]
    if not mistakes and file.stem not in BUILT_IN.languages and "language" not in data:
        mistakes = [("", Message("board.texts-language"))]
    wrong = [Problem(f"{file}:{_line(text, key)}", message) for key, message in mistakes]
    return wrong, {} if wrong else data


def _text(file: Path, home: Path) -> str:
    if not _LANGUAGE.fullmatch(file.stem):
        raise _Wrong(1, Message("board.texts-file", name=file.name))
    if not lies_in(home, file.relative_to(home)):
        raise _Wrong(1, Message("board.texts-elsewhere"))
    try:
        with file.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise _Wrong(1, Message("yaml.unreadable", why=str(error.strerror))) from None
    except UnicodeDecodeError as error:
        raise _Wrong(1, Message("board.texts-no-utf8", byte=error.start)) from None
    if len(text) > _MOST_BYTES:
        raise _Wrong(1, Message("board.texts-too-large", most=_MOST_BYTES))
    return text


def _parsed(text: str) -> tuple[dict[str, Any], list[str]]:
    """The object, and the keys that are in it twice."""
    doubled: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        doubled.extend(sorted({name for name in names if names.count(name) > 1}))
        return dict(pairs)

    try:
        data = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise _Wrong(error.lineno, Message("board.texts-no-json", why=error.msg)) from None
    except RecursionError:
        data = None
    if not isinstance(data, dict):
        raise _Wrong(1, Message("board.texts-no-object"))
    return data, doubled


def _mistake(key: str, value: Any) -> Message | None:
    english = BUILT_IN.texts("en")
    if key not in english:
        hint = did_you_mean(key, english)
        return Message("board.texts-unknown", name=repr(key), hint=hint)
    if not isinstance(value, str) or not value.strip():
        shown = json.dumps(value, ensure_ascii=False)[:60]
        return Message("board.texts-no-text", name=repr(key), value=shown)
    needed, found = placeholders(english[key]), placeholders(value)
    if needed == found:
        return None
    names = ", ".join(f"{{{name}}}" for name in needed) or Message("board.texts-no-placeholders")
    others = ", ".join(f"{{{name}}}" for name in found) or Message("board.texts-none")
    text = repr(english[key])
    return Message(
        "board.texts-placeholders", name=repr(key), needed=names, text=text, found=others
    )


def _line(text: str, key: str) -> int:
    """The line of a key, 1 for none and where it is written with escapes."""
    at = text.rfind(json.dumps(key, ensure_ascii=False)) if key else 0
    return text.count("\n", 0, max(0, at)) + 1
