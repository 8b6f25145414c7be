"""The rows of `page:`: devices by their names, and between them texts, plots and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from labnode.board.config.devices import Lookup
from labnode.schema import Between, Doc, Duration, Section, Text, build, did_you_mean, shown


@dataclass(frozen=True, kw_only=True)
class TextBlock:
    """`{text: ...}`: text for the student; an empty line begins a paragraph."""

    text: Annotated[Text, Doc("Words for the student, in one language or several.")]
    label: Annotated[Text | None, Doc("A heading.")] = None

    def describe(self, locales: Sequence[str | None]) -> dict[str, Any]:
        return {"text": self.text.pick(*locales), "label": _words(self.label, locales)}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """`{plot: [temp, heater]}`: what devices have shown over time."""

    plot: Annotated[list[str], Doc("The devices whose values are drawn.")]
    span: Annotated[Duration, Between(2, 86400), Doc("How much time is seen at first.")] = 120.0
    label: Annotated[Text | None, Doc("A heading.")] = None

    def __post_init__(self) -> None:
        if not self.plot:
            raise ValueError("a plot needs the name of one device at least")

    def describe(self, locales: Sequence[str | None]) -> dict[str, Any]:
        label = _words(self.label, locales)
        return {"plot": list(self.plot), "span": self.span, "label": label}


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """`{task: heat}`: a task of the lab's module, with its button and its progress."""

    task: Annotated[str, Doc("A task of the lab's module that has a label.")]

    def describe(self, _locales: Sequence[str | None]) -> dict[str, Any]:
        return {"task": self.task}


Item = str | TextBlock | Plot | TaskCard
Page = tuple[tuple[Item, ...], ...]

_KINDS: dict[str, type[TextBlock | Plot | TaskCard]] = {
    "text": TextBlock,
    "plot": Plot,
    "task": TaskCard,
}


def read_page(section: Section, lookup: Lookup) -> Page:
    """The rows; a device or a task is on the page once."""
    reader = _PageReader(lookup)
    rows = (map(reader.read, row.entries()) for row in section.entries())
    return tuple(tuple(item for item in row if item is not None) for row in rows)


def describe_page(page: Page, locales: Sequence[str | None]) -> list[list[Any]]:
    """The rows as JSON: the names of devices, and mappings as in the file, in one language."""
    return [
        [item if isinstance(item, str) else item.describe(locales) for item in row] for row in page
    ]


def devices_of(page: Page) -> list[str]:
    """The devices that have a card in the rows."""
    return [item for row in page for item in row if isinstance(item, str)]


def check_page(page: Page, tasks: Mapping[str, Any]) -> list[str]:
    """A sentence for each task on the page that students cannot start; `tasks` are all by name."""
    names = [item.task for row in page for item in row if isinstance(item, TaskCard)]
    labelled = {name for name, task in tasks.items() if task.label is not None}
    sentences = []
    for name in names:
        if name not in tasks:
            hint = did_you_mean(name, labelled)
            sentences.append(f"the page has the task {name!r}, which the lab does not have{hint}")
        elif name not in labelled:
            sentences.append(f"the task {name!r} on the page needs a label: @lab.task(label=...)")
    return sentences


class _PageReader:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._problems = lookup.problems
        self._seen: set[str] = set()

    def read(self, entry: Section) -> Item | None:
        if isinstance(entry.content, str):
            known = self._lookup.visible(entry.content, entry, "page")
            self._check_once(entry.content, entry)
            return entry.content if known else None
        kind = next((kind for key, kind in _KINDS.items() if key in entry), None)
        if kind is None:
            if not entry.bad:
                self._problems.add(
                    entry,
                    "expected the name of a device, or {text: ...}, {plot: [...]} or {task: ...},"
                    f" not {shown(entry.value)}",
                )
            return None
        item = build(kind, entry, self._problems, name="this part of the page")
        if isinstance(item, Plot):
            for name in entry.child("plot").entries():
                self._lookup.visible(str(name.content), name, "page")
                _check_number(str(name.content), name, self._lookup)
        if isinstance(item, TaskCard):
            self._check_once(item.task, entry)
        return item

    def _check_once(self, name: str, place: Section) -> None:
        if name in self._seen:
            self._problems.add(place, f"'{name}' is on the page twice")
        self._seen.add(name)


def _words(text: Text | None, locales: Sequence[str | None]) -> str | None:
    return None if text is None else text.pick(*locales)


@dataclass(frozen=True, kw_only=True)
class RecordSpec:
    """The keys under `record:`."""

    devices: Annotated[list[str], Doc("The devices whose values are written down.")]
    every: Annotated[Duration, Between(0.1, 3600), Doc("How often, while a session lasts.")] = 1.0
    keep: Annotated[
        Duration, Between(60), Doc("How long what was recorded in a session is kept after it.")
    ] = 30 * 86400.0

    def __post_init__(self) -> None:
        if not self.devices:
            raise ValueError("a recording needs the name of one device at least")
        if len(set(self.devices)) < len(self.devices):
            raise ValueError("a device is recorded once")


def check_record(spec: RecordSpec | None, section: Section, lookup: Lookup) -> None:
    """The devices have to exist, and students have to have access to them."""
    for name in spec.devices if spec is not None else ():
        lookup.visible(name, section, "recording")
        _check_number(name, section, lookup)


def _check_number(name: str, where: Section, lookup: Lookup) -> None:
    """What is drawn over time, or written down, is one value and not an array."""
    driver = lookup.devices.get(name)
    if driver is not None and driver.widget == "samples":
        lookup.problems.add(
            where, f"the value of '{name}' is an array, which has a plot and a CSV file of its own"
        )
