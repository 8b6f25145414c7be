"""`include:` in board files: other YAML files that are parts of the board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from labnode.errors import ConfigError
from labnode.files import lies_in
from labnode.locale import Message
from labnode.schema import (
    Problems,
    Secrets,
    Section,
    load_yaml,
    quoted,
    sentence_of,
    unlike,
    values_in,
)

_KEY = "include"
_MOST = 50  # files


def load_document(
    path: Path, problems: Problems, secrets: Secrets
) -> tuple[Section, tuple[Path, ...]]:
    """A board file with what it includes, and all the files that were read.

    Mappings are merged key by key, and the file that includes has the last word. The lists at the
    top of the files (interlocks, the page's rows) are joined, the included ones first; any other
    list is replaced. Two files that one file includes must not contradict each other.

    ConfigError when one of the files cannot be read: nothing is known about its devices then.
    """
    reader = _Reader(path.parent, problems, secrets)
    before = len(problems)
    document = reader.read(path, ())
    if reader.failed:
        own = Problems()
        own.extend(list(problems)[before:])
        raise own.error()
    return document, tuple(reader.files)


def files_named(board: Path) -> list[Path]:
    """What belongs to a board, relative to its directory.

    That is itself, secrets.yaml, the catalogues in locale, and what they name: every file or
    directory below the board's directory that a value in the board names, or one in a YAML file
    that is named. Mistakes in them do not matter.
    """
    home = board.parent
    found = set[Path]()
    names = [Path(board.name), Path("secrets.yaml"), Path("locale")]
    while names:
        name = names.pop()
        path = home / name
        if name in found or name == Path() or not lies_in(home, name) or not path.exists():
            continue
        if path.is_dir():
            names += [file.relative_to(home) for file in path.rglob("*") if file.is_file()]
            continue
        found.add(name)
        if path.suffix in (".yaml", ".yml"):
            words = (word for word in values_in(path) if word.isprintable() and len(word) < 200)
            names += [Path(word) for word in words]
    return sorted(found)


class _Reader:
    def __init__(self, root: Path, problems: Problems, secrets: Secrets) -> None:
        self._root = root
        self._problems = problems
        self._secrets = secrets
        self.files: list[Path] = []
        self.failed = False

    def read(self, path: Path, above: tuple[Path, ...]) -> Section:
        """The file with everything that it includes; `above` are those that include it."""
        self.files.append(path)
        document = load_yaml(path, self._problems, self._secrets.get)
        if not isinstance(document.content, dict):
            return document
        below = Section({}, document.where, document.key_where)
        for entry in self._entries(document.child(_KEY)):
            included = self._included(entry, path, (*above, path))
            if included is not None:
                self._compare(below, included, "")
                below = _merge(below, included, depth=0)
        own = {key: section for key, section in document.items() if key != _KEY}
        return _merge(below, replace(document, content=own), depth=0)

    def _entries(self, section: Section) -> list[Section]:
        if section.content is None or section.bad:
            return []
        return section.entries() if isinstance(section.content, list) else [section]

    def _included(self, entry: Section, by: Path, above: tuple[Path, ...]) -> Section | None:
        """The content of an included file; None when it is included already, or has a problem."""
        try:
            path = self._path(entry, by, above)
            if path in self.files:
                return None  # two of the included files include it
            document = self.read(path, above)
        except ValueError as error:
            self._problems.add(entry, sentence_of(error))
        except ConfigError as error:
            self._problems.extend(error.problems)
        else:
            if isinstance(document.content, dict):
                content = {key: section for key, section in document.items() if key != "schema"}
                return replace(document, content=content)
            if document.content is None:
                return None
            self._problems.add(document, Message("board.includes-no-mapping"))
        self.failed = True
        return None

    def _path(self, entry: Section, by: Path, above: tuple[Path, ...]) -> Path:
        """The file that an entry of `include` names; ValueError with a sentence."""
        name = entry.content
        if not isinstance(name, str) or entry.hidden is not None:
            raise ValueError(unlike(Message("board.yaml-file"), entry.value))
        relative = Path(name)
        path = by.parent / relative
        if relative.is_absolute() or not lies_in(self._root, path.relative_to(self._root)):
            raise ValueError(_no_file_name(Message("board.yaml-file-below"), name))
        if relative.suffix not in (".yaml", ".yml"):
            raise ValueError(_no_file_name(Message("board.yaml-file-name"), name))
        if path in above:
            circle = " -> ".join(str(file.relative_to(self._root)) for file in (*above, path))
            raise ValueError(Message("board.include-circle", files=circle))
        if path not in self.files and len(self.files) >= _MOST:
            raise ValueError(Message("board.too-many-files", most=_MOST))
        if not path.is_file():
            raise ValueError(Message("board.no-file", path=repr(str(path))))
        return path

    def _compare(self, one: Section, other: Section, path: str) -> None:
        """Add a problem wherever two included files contradict each other."""
        for key, section in other.items():
            if key not in one or section.content is None:
                continue  # or a heading with nothing under it
            inner = f"{path}.{key}".removeprefix(".")
            first = one[key]
            if isinstance(section.content, dict) and isinstance(first.content, dict):
                self._compare(first, section, inner)
            elif not (path == "" and isinstance(section.content, list)):
                twice = Message("board.in-two-files", key=quoted(inner), place=first.key_where)
                self._problems.add(section.key_where, twice)


def _no_file_name(expected: Message, name: str) -> Message:
    return Message("yaml.unlike", expected=expected, value=quoted(name))


def _merge(below: Section, above: Section, depth: int) -> Section:
    """`above` wins; see `load_document`."""
    if isinstance(below.content, list) and isinstance(above.content, list) and depth == 1:
        return replace(above, content=[*below.content, *above.content])
    if isinstance(below.content, dict | list) and above.content is None and not above.bad:
        return below
    if not isinstance(below.content, dict) or not isinstance(above.content, dict):
        return above
    content = dict(below.content)
    for key, section in above.content.items():
        content[key] = _merge(content[key], section, depth + 1) if key in content else section
    return replace(above, content=content)
