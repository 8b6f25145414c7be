"""Texts for people, in their language: catalogues of JSON, from keys to texts with {placeholders}.

`en.json` beside this module has every key; another language is one more file. A key begins with
where its text is read: `page.` (sent to a student's page), `site.` (the pages around it), `error.`,
`tool.` and `file.` (why something was refused or failed), `admin.`, `cli.` and `doctor.` (in the
terminal), `yaml.`, `board.`, `driver.` and `setting.` (what is wrong with a file); `language` is
what the language calls itself.

`help/` has what `--help` says: the English texts, which are in the code, with their translations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

IN_THE_TERMINAL = ("cli.", "doctor.", "yaml.", "board.", "driver.", "setting.")
FOLDER = Path(__file__).parent
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@runtime_checkable
class Wording(Protocol):
    """A text in several languages: a `Message`, or what a lab's author wrote (schema's `Text`)."""

    @property
    def words(self) -> Any:
        """As JSON, for `Language.read` and for a page, which picks its own language."""

    def pick(self, *locales: str | None) -> str:
        """In the first of `locales` ("es", "es_ES") that exists, else in English."""


Say = Callable[[str | Wording], str]
"""Puts a text into somebody's language, as `Language.say` does; `str` into English."""


class Message:
    """A text of the catalogues and its placeholders' values: `Message("file.too-large", size=9)`.

    A value may itself have several languages. str() is the English text, for logs.
    """

    def __init__(self, key: str, /, **values: object) -> None:
        self.key = key
        self.values = values

    @property
    def words(self) -> dict[str, object]:
        values = {
            name: value.words if isinstance(value, Wording) else value
            for name, value in self.values.items()
        }
        return {"message": self.key, **values}

    def pick(self, *locales: str | None) -> str:
        return BUILT_IN.best(locales).say(self)

    def __str__(self) -> str:
        return self.pick()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Message({self.key!r}, {self.values!r})"


class Joined:
    """Texts one after the other: `Joined("boards/x.yaml:12", Message(…), between=": ")`."""

    def __init__(self, *parts: str | Wording, between: str = "") -> None:
        self.parts = [part for each in parts for part in (between, each)][1:]

    @property
    def words(self) -> list[Any]:
        return [part if isinstance(part, str) else part.words for part in self.parts]

    def pick(self, *locales: str | None) -> str:
        return BUILT_IN.best(locales).say(self)

    def __str__(self) -> str:
        return self.pick()


@dataclass(frozen=True)
class Retold:
    """What was stored as the JSON of `Wording.words`."""

    words: Any

    def pick(self, *locales: str | None) -> str:
        return str(BUILT_IN.best(locales).read(self.words))

    def __str__(self) -> str:
        return self.pick()


class Language:
    """The texts in the language that suits somebody best.

    `locales` are all that they read, the best first, for texts that exist in other languages.
    """

    def __init__(self, catalogues: Catalogues, code: str, locales: Iterable[str]) -> None:
        self.code = code
        self.texts = catalogues.texts(code)
        self.locales = tuple(dict.fromkeys((*locales, code)))
        self._catalogues = catalogues

    @property
    def tags(self) -> list[str]:
        """What a text in several languages is looked for by: ["es-mx", "es", "en"]."""
        exact = [_tag(locale) for locale in (*self.locales, "en")]
        return list(dict.fromkeys(part for tag in exact for part in (tag, tag.partition("-")[0])))

    @property
    def all_names(self) -> Mapping[str, str]:
        """What each language that there is calls itself, by its code."""
        return self._catalogues.names

    def section(self, *names: str) -> Mapping[str, str]:
        """The texts whose keys begin with "NAME.", by the rest of their keys."""
        return self._catalogues.section(self.code, names)

    def say(self, words: str | Wording) -> str:
        """A text in this language, or in the first of `locales` that it has, else in English."""
        return words if isinstance(words, str) else str(self.read(words.words))

    def read(self, words: Any) -> Any:
        """The text of `Wording.words`; what is none (a number) stays as it is."""
        if isinstance(words, list):
            return "".join(str(self.read(part)) for part in words)
        if not isinstance(words, Mapping):
            return words
        if "message" not in words:
            return pick(words, *self.locales)
        values = {name: self.read(value) for name, value in words.items() if name != "message"}
        return fill(self.texts.get(words["message"], ""), values)


class Catalogues:
    """The texts in all languages; each language is read when somebody first needs it."""

    def __init__(self, own: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """`own`: a lab's texts by language and key, which come before labnode's."""
        self.own = own or {}
        self._texts: dict[str, Mapping[str, str]] = {}
        self._sections: dict[tuple[str, tuple[str, ...]], Mapping[str, str]] = {}

    @cached_property
    def languages(self) -> tuple[str, ...]:
        return tuple(sorted({*(path.stem for path in FOLDER.glob("*.json")), *self.own}))

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What each language calls itself."""
        return {
            code: self.own.get(code, {}).get("language") or _read(code).get("language", code)
            for code in self.languages
        }

    def best(self, locales: Iterable[str | None] = ()) -> Language:
        """The first of `locales` ("es", "es_ES.UTF-8", "es-MX") that there is, else English."""
        wanted = [locale for locale in locales if locale]
        known = {code.lower(): code for code in self.languages}
        for locale in wanted:
            for candidate in (_tag(locale), _tag(locale).partition("-")[0]):
                if candidate in known:
                    return Language(self, known[candidate], wanted)
        return Language(self, "en", wanted)

    def texts(self, code: str) -> Mapping[str, str]:
        """All texts by their keys in one of `languages`; in English what it lacks."""
        if code not in self._texts:
            above = {} if code == "en" else self.texts("en")
            self._texts[code] = {**above, **_read(code), **self.own.get(code, {})}
        return self._texts[code]

    def section(self, code: str, names: tuple[str, ...]) -> Mapping[str, str]:
        """See Language.section; sorted out once, since every page needs it."""
        if (code, names) not in self._sections:
            self._sections[code, names] = {
                key.removeprefix(f"{name}."): text
                for name in names
                for key, text in self.texts(code).items()
                if key.startswith(f"{name}.")
            }
        return self._sections[code, names]


def fill(text: str, values: Mapping[str, object]) -> str:
    """`text` with its {placeholders} replaced; those that have no value stay."""
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), text)


def reworded(words: str | Wording, change: Callable[[str], str]) -> str | Wording:
    """The same text with what is said in it (not what labnode says) changed by a function."""
    return change(words) if isinstance(words, str) else Retold(_reworded(words.words, change))


def _reworded(words: Any, change: Callable[[str], str]) -> Any:
    if isinstance(words, str):
        return change(words)
    if isinstance(words, list):
        return [_reworded(part, change) for part in words]
    if not isinstance(words, Mapping):
        return change(str(words))
    return {
        name: value if name == "message" else _reworded(value, change)
        for name, value in words.items()
    }


def placeholders(text: str) -> list[str]:
    """The names of the {placeholders} in a text, each once."""
    return sorted(set(_PLACEHOLDER.findall(text)))


def pick(words: Mapping[str, str], *locales: str | None) -> str:
    """The text in the first of `locales` ("es", "es_ES") that exists, else in English."""
    known = {_tag(code): text for code, text in words.items()}
    for locale in (*locales, "en"):
        for tag in (_tag(locale or ""), _tag(locale or "").partition("-")[0]):
            if tag in known:
                return known[tag]
    return next(iter(words.values()), "")


def help_texts(code: str) -> Mapping[str, str]:
    """What `--help` of the commands says in a language, by the English texts; none in English."""
    return _read(f"help/{code}")


def _tag(locale: str) -> str:
    return re.split("[.@]", locale.strip(), maxsplit=1)[0].replace("_", "-").lower()


def _read(code: str) -> dict[str, str]:
    file = FOLDER / f"{code}.json"
    if not file.is_file():
        return {}
    texts: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return texts


BUILT_IN = Catalogues()
"""labnode's own texts, without those of a lab."""
