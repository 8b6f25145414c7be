"""`page:`: rows of devices, texts, plots and tasks, and the stage that stays in view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from labnode.board.config.devices import Lookup
from labnode.locale import Message
from labnode.schema import (
    Between,
    Doc,
    Duration,
    Like,
    Section,
    Text,
    build,
    did_you_mean,
    unlike,
)

_NO_PAGE = Message("board.no-page")
_NO_RECORDING = Message("board.no-recording")


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
            raise ValueError(Message("board.empty-plot"))

    def describe(self, locales: Sequence[str | None]) -> dict[str, Any]:
        label = _words(self.label, locales)
        return {"plot": list(self.plot), "span": self.span, "label": label}


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """`{task: heat}`: a task of the lab's module, with its button and its progress."""

    task: Annotated[str, Doc("A task of the lab's module that has a label.")]

    def describe(self, _locales: Sequence[str | None]) -> dict[str, Any]:
        return {"task": self.task}


@dataclass(frozen=True)
class Wide:
    """`{heater: 2}`: a device whose card is as wide as several columns."""

    device: str
    columns: int

    def describe(self, _locales: Sequence[str | None]) -> dict[str, Any]:
        return {"device": self.device, "columns": self.columns}


@dataclass(frozen=True)
class BoardPicture:
    """`picture` on the stage: the board's picture."""

    def describe(self, _locales: Sequence[str | None]) -> dict[str, Any]:
        return {"picture": True}


_MOST_COLUMNS = 4
Item = str | TextBlock | Plot | TaskCard
Page = tuple[tuple[Item | Wide, ...], ...]
Layout = Literal["tabs", "beside"]


@dataclass(frozen=True, kw_only=True)
class StageKeys:
    """`{stage: [picture, camera]}`, an entry of `page:` beside its rows."""

    stage: Annotated[
        list[Section],
        Like(list[Item]),
        Doc("What stays in view while the cards scroll: `picture`, a camera, a plot ..."),
    ]
    layout: Annotated[Layout, Doc("Several of them one at a time, or beside each other.")] = "tabs"


@dataclass(frozen=True)
class StageSpec:
    """What stays in view."""

    items: tuple[Item | BoardPicture, ...]
    layout: Layout = "tabs"

    def describe(self, locales: Sequence[str | None]) -> dict[str, Any]:
        return {"items": _described(self.items, locales), "layout": self.layout}


_KINDS: dict[str, type[TextBlock | Plot | TaskCard]] = {
    "text": TextBlock,
    "plot": Plot,
    "task": TaskCard,
}


def read_page(section: Section, lookup: Lookup, *, picture: bool) -> tuple[Page, StageSpec | None]:
    """The rows and the stage; a device or a task is on the page once.

    With a `picture` of the board that is the stage, unless the page has one of its own.
    """
    reader = _PageReader(lookup, picture)
    entries = section.entries()
    stages = [entry for entry in entries if is_stage(entry)]
    for entry in stages[1:]:
        lookup.problems.add(entry, Message("board.one-stage"))
    stage = reader.stage(stages[0]) if stages else None
    rows = (map(reader.read, row.entries()) for row in entries if not is_stage(row))
    page = tuple(tuple(item for item in row if item is not None) for row in rows)
    return page, StageSpec((BoardPicture(),)) if picture and not stages else stage


def is_stage(entry: Section) -> bool:
    """Whether an entry of `page:` is the stage, and no row."""
    return "stage" in entry


def describe_page(page: Page, locales: Sequence[str | None]) -> list[list[Any]]:
    """The rows as JSON: the names of devices, and mappings as in the file, in one language."""
    return [_described(row, locales) for row in page]


def devices_of(page: Page) -> list[str]:
    """The devices that have a card in the rows."""
    devices = (item.device if isinstance(item, Wide) else item for row in page for item in row)
    return [name for name in devices if isinstance(name, str)]


def check_page(page: Page, stage: StageSpec | None, tasks: Mapping[str, Any]) -> list[Message]:
    """A sentence for each task on the page that students cannot start; `tasks` are all by name."""
    shown = [*(item for row in page for item in row), *(stage.items if stage else ())]
    names = [item.task for item in shown if isinstance(item, TaskCard)]
    labelled = {name for name, task in tasks.items() if task.label is not None}
    sentences = []
    for name in names:
        if name not in tasks:
            hint = did_you_mean(name, labelled)
            sentences.append(Message("board.page-no-task", name=repr(name), hint=hint))
        elif name not in labelled:
            sentences.append(Message("board.page-task-label", name=repr(name)))
    return sentences


class _PageReader:
    def __init__(self, lookup: Lookup, picture: bool) -> None:
        self._lookup = lookup
        self._picture = picture
        self._problems = lookup.problems
        self._seen: set[str] = set()

    def stage(self, entry: Section) -> StageSpec | None:
        keys = build(StageKeys, entry, self._problems, name=Message("board.stage"))
        if keys is None:
            return None
        items = [self._on_stage(item) for item in keys.stage]
        if not items:
            self._problems.add(entry, Message("board.empty-stage"))
        return StageSpec(tuple(item for item in items if item is not None), keys.layout)

    def _on_stage(self, entry: Section) -> Item | BoardPicture | None:
        if entry.content != "picture":
            item = self.read(entry)
            return item.device if isinstance(item, Wide) else item
        self._check_once("picture", entry)
        if not self._picture and "picture" in self._lookup.devices:
            return "picture"
        if not self._picture:
            self._problems.add(entry, Message("board.no-picture"))
        return BoardPicture()

    def read(self, entry: Section) -> Item | Wide | None:
        if isinstance(entry.content, str):
            return entry.content if self._device(entry.content, entry) else None
        kind = next((kind for key, kind in _KINDS.items() if key in entry), None)
        if kind is None and len(entry.items()) == 1:
            ((key, columns),) = entry.items()
            if key in self._lookup.devices or isinstance(columns.content, int):
                return self._wide(key, columns)
        if kind is None:
            if not entry.bad:
                self._problems.add(entry, unlike(Message("board.page-item"), entry.value))
            return None
        item = build(kind, entry, self._problems, name=Message("board.part-of-page"))
        if isinstance(item, Plot):
            for name in entry.child("plot").entries():
                self._lookup.visible(str(name.content), name, _NO_PAGE)
                _check_number(str(name.content), name, self._lookup)
        if isinstance(item, TaskCard):
            self._check_once(item.task, entry)
        return item

    def _device(self, name: str, place: Section) -> bool:
        self._check_once(name, place)
        return self._lookup.visible(name, place, _NO_PAGE)

    def _wide(self, name: str, columns: Section) -> Wide | None:
        """`{heater: 2}`."""
        known = self._device(name, columns)
        what = Message("board.columns-of", name=name)
        number = build(int, columns, self._problems, name=what)
        if number is not None and not 1 <= number <= _MOST_COLUMNS:
            self._problems.add(columns, Message("board.too-wide", most=_MOST_COLUMNS))
        return Wide(name, number) if known and number is not None else None

    def _check_once(self, name: str, place: Section) -> None:
        if name in self._seen:
            self._problems.add(place, Message("board.twice-on-page", name=name))
        self._seen.add(name)


def _described(
    items: Sequence[Item | Wide | BoardPicture], locales: Sequence[str | None]
) -> list[Any]:
    return [item if isinstance(item, str) else item.describe(locales) for item in items]


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
            raise ValueError(Message("board.empty-recording"))
        if len(set(self.devices)) < len(self.devices):
            raise ValueError(Message("board.recorded-twice"))


def check_record(spec: RecordSpec | None, section: Section, lookup: Lookup) -> None:
    """The devices have to exist, and students have to have access to them."""
    for name in spec.devices if spec is not None else ():
        lookup.visible(name, section, _NO_RECORDING)
        _check_number(name, section, lookup)


def _check_number(name: str, where: Section, lookup: Lookup) -> None:
    """What is drawn over time, or written down, is one value and not an array."""
    driver = lookup.devices.get(name)
    if driver is not None and driver.widget == "samples":
        lookup.problems.add(where, Message("board.array", name=name))
