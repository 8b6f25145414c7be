"""English that is left in a page of another language, found by the catalogues themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from html.parser import HTMLParser

from labnode.locale import BUILT_IN

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
        if key != "language" and not key.startswith(("cli.", "doctor."))
    }
    others = [each for key, each in sentences.items() if not re.fullmatch(each, own[key])]
    return re.compile("|".join(others))


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
