"""English that is left in a page of another language, found by the catalogues themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from html.parser import HTMLParser

from labnode.locale import BUILT_IN, IN_THE_TERMINAL

_QUOTED = (
    r"labnode (?:simulate get|simulate set|\w+)",
    r"No such file or directory",
    r"Visual Studio Code",
    r"sudo timedatectl set-ntp true",
)
_READ_ALOUD = ("aria-label", "title", "placeholder", "alt", "data-sure", "data-offline")


def english_in(texts: Iterable[str], language: str) -> list[str]:
    """Those of `texts` that are in the English catalogue and differ in that of `language`."""
    found = {" ".join(text.split()) for text in texts} - {*BUILT_IN.texts(language).values()}
    return sorted(text for text in found if _english(language).fullmatch(text))


@cache
def _english(language: str) -> re.Pattern[str]:
    """The sentences of the English catalogue that are others in `language`; {…} is any text."""
    own = BUILT_IN.texts(language)
    sentences = {
        key: re.sub(r"\\\{\w+\\\}", r"\\S+" if len(text) < 20 else ".+?", re.escape(text))
        for key, text in BUILT_IN.texts("en").items()
        if key != "language" and not key.startswith(IN_THE_TERMINAL)
    }
    others = [each for key, each in sentences.items() if not re.fullmatch(each, own[key])]
    return re.compile("|".join(others))


def _phrases(text: str) -> Iterator[str]:
    """Every three words of a text that follow each other, without what is quoted."""
    for quoted in _QUOTED:
        text = re.sub(quoted, "0", text)
    for words in re.findall(
        r"[^\W\d_]+(?:['’-][^\W\d_]+)*(?: [^\W\d_]+(?:['’-][^\W\d_]+)*)+", text
    ):
        row = words.split()
        yield from (" ".join(row[at : at + 3]) for at in range(len(row) - 2))


def sentences_left(english: str, other: str) -> list[str]:
    """What three English words, or whole lines of words, `other` still has."""
    same = set(_phrases(english)) & set(_phrases(other))
    lines = {line.strip() for line in english.splitlines() if re.search(r"[a-z] [a-z]", line)}
    return sorted(same | {line for line in lines if line in other.splitlines()})


class Read(HTMLParser):
    """All that a page says to the eye and to a screen reader, as `texts`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.language = ""
        self._silent = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("script", "style")
        named = dict(attrs)
        self.language = named.get("lang") or "" if tag == "html" else self.language
        self.texts += [text for name in _READ_ALOUD if (text := named.get(name))]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._silent and data.strip():
            self.texts.append(data)
