"""Texts for people, in their language: catalogues of JSON, from keys to texts with {placeholders}.

`en.json` beside this module has every key; another language is one more file. A key begins with
where its text is read: `page.` (sent to a student's page), `site.` (the pages around it), `error.`,
`tool.` and `file.` (why something was refused or failed), `admin.`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

_FOLDER = Path(__file__).parent
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@runtime_checkable
class Wording(Protocol):
    """A text in several languages: a `Message`, or what a lab's author wrote (schema's `Text`)."""

    @property
    def words(self) -> Any:
        """For the page, which picks its own language: JSON."""

    def pick(self, *locales: str | None) -> str:
        """In the first of `locales` ("es", "es_ES") that exists, else in English."""


class Message:
    """A text of the catalogues and its placeholders' values: `Message("file.too-large", size=9)`.

    A value may itself have several languages. str() is the English text, for logs.
    """

    def __init__(self, key: str, /, **values: object) -> None:
        self.key = key
        self.values = values

    @classmethod
    def of_page(cls, words: Mapping[str, Any]) -> Message:
        """The message that has these `words`."""
        values = {name: value for name, value in words.items() if name != "message"}
        return cls(f"page.{words['message']}", **values)

    @property
    def words(self) -> dict[str, object]:
        """The key without "page.", which the page has in its language, and the values."""
        return {"message": self.key.removeprefix("page."), **self.values}

    def pick(self, *locales: str | None) -> str:
        return BUILT_IN.say(self, *locales)

    def __str__(self) -> str:
        return self.pick()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Message({self.key!r}, {self.values!r})"


class Catalogues:
    """The texts in all languages; each language is read when somebody first needs it."""

    def __init__(self) -> None:
        self.languages = tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))
        self._texts: dict[str, dict[str, str]] = {}

    def language(self, locales: Iterable[str | None]) -> str:
        """The first of `locales` ("es", "es_ES.UTF-8", "es-MX") that there is, else "en"."""
        known = {language.lower(): language for language in self.languages}
        for locale in locales:
            tag = re.split("[.@]", (locale or "").strip().lower())[0].replace("_", "-")
            for candidate in (tag, tag.partition("-")[0]):
                if candidate in known:
                    return known[candidate]
        return "en"

    def texts(self, language: str) -> Mapping[str, str]:
        """All texts by their keys in one of `languages`; in English what it lacks."""
        if language not in self._texts:
            own = json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8"))
            self._texts[language] = own if language == "en" else {**self.texts("en"), **own}
        return self._texts[language]

    def section(self, language: str, *names: str) -> dict[str, str]:
        """The texts whose keys begin with "NAME.", by the rest of their keys."""
        starts = [f"{name}." for name in names]
        return {
            key.removeprefix(start): text
            for start in starts
            for key, text in self.texts(language).items()
            if key.startswith(start)
        }

    def say(self, words: str | Wording, *locales: str | None) -> str:
        """`words` in the first of `locales` that exists, else in English."""
        if isinstance(words, str):
            return words
        if not isinstance(words, Message):
            return words.pick(*locales)
        values = {
            name: self.say(value, *locales) if isinstance(value, Wording) else value
            for name, value in words.values.items()
        }
        return fill(self.texts(self.language(locales))[words.key], values)


def fill(text: str, values: Mapping[str, object]) -> str:
    """`text` with its {placeholders} replaced; those that have no value stay."""
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), text)


BUILT_IN = Catalogues()
"""labnode's own texts, without those of a lab."""
