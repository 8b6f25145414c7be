"""The documents as tests see them: their pages, links, headings and code blocks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = tuple(sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")))
TEXTS = ("README.md", "CONTRIBUTING.md", *PAGES)

_FENCE = re.compile(r"^( *)```(\S*)(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code: where its first line is, its language, and what it says."""

    path: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@cache
def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str, *languages: str) -> Iterator[Block]:
    """The blocks of a page in these languages, without the indentation of a list."""
    text = read(path)
    for match in _FENCE.finditer(text):
        if match[2] in languages:
            line = text.count("\n", 0, match.start(4)) + 1
            inside = re.sub(rf"^{match[1]}", "", match[4], flags=re.MULTILINE)
            yield Block(path, line, match[2], inside)


def without_code(path: str) -> str:
    return re.sub(r"`[^`\n]+`", "`", _FENCE.sub("", read(path)))


def words(path: str) -> int:
    """Words as a person counts them: rules of tables and marks are none."""
    return sum(bool(re.search(r"\w", word)) for word in read(path).split())


@cache
def anchors(path: str) -> frozenset[str]:
    """What a #link to this page may say, as GitHub and the site make it of its headings."""
    text = _FENCE.sub("", read(path))
    found: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        number = found[slug] = found.get(slug, -1) + 1
        made.add(f"{slug}_{number}" if number else slug)
    return frozenset(made)


def links(path: str) -> list[str]:
    """Where a page's links and pictures lead, without those to other sites."""
    found = re.findall(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)", without_code(path))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def dead(path: str) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for link in links(path):
        target, _, anchor = link.partition("#")
        file = ((ROOT / path).parent / target).resolve() if target else ROOT / path
        if not file.exists():
            wrong.append(link)
        elif anchor and file.suffix == ".md":
            page = file.relative_to(ROOT).as_posix()
            if anchor not in anchors(page):
                wrong.append(link)
    return wrong
